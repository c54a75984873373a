"""The server's packets to sound, as they arrive."""

from __future__ import annotations

import logging

from avatar.opus.packets import PacketDecoder, PacketError
from core.dialogue.xiaozhi.framing import Frame
from core.frames import Pcm

log = logging.getLogger(__name__)

_TOLD_EVERY = 10


class Downlink:
    """One streaming decoder for one session, at the rate that the server announced. Raises as `PacketDecoder`."""

    def __init__(self, rate: int) -> None:
        self._decoder = PacketDecoder(rate)
        self.packets = 0
        self.concealed = 0
        """Packets that could not be decoded: sound was made up in their place."""

    def sound(self, frame: Frame) -> Pcm:
        """Of the next packet; never fails. Broken packets are concealed."""
        try:
            pcm = self._decoder.decode(frame.payload)
        except PacketError as error:
            self.concealed += 1
            log.debug("xiaozhi: %s", str(error))
            pcm = self._decoder.conceal(frame.payload)
        self.packets += 1
        if self.packets % _TOLD_EVERY == 0:
            log.debug("xiaozhi: %d packets, %d concealed", self.packets, self.concealed)
        return pcm

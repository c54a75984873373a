"""Which of a session's microphones is heard: one at a time, the one that was opened last."""

from __future__ import annotations

from collections.abc import Callable
from enum import StrEnum
from typing import Protocol

from core.frames import Samples


class MicrophoneKind(StrEnum):
    """How its sound comes."""

    WEBRTC = "webrtc"
    WEBSOCKET = "websocket"
    """`open_audio`."""
    RECOGNITION = "recognition"
    """`start_asr_recognition`."""
    DEVICE = "device"


class Hearing(Protocol):
    """The part of `core.parts.Ears` that microphones need."""

    def hear(self, samples: Samples) -> None:
        """int16, shape (n,), 16 kHz."""

    def rest(self) -> None:
        """What was being said has no end."""


class Microphone:
    """One of them, until `close`. Made by `Microphones.open`."""

    def __init__(self, kind: MicrophoneKind, all_: Microphones, told: Callable[[bool, str], None]) -> None:
        self.kind = kind
        self.told = told
        self._all = all_

    @property
    def heard(self) -> bool:
        """Whether it is the one."""
        return self._all.heard is self

    def hear(self, samples: Samples) -> None:
        """Sound of it: int16, shape (n,), 16 kHz. Left out while another one is heard."""
        if self.heard:
            self._all.ears.hear(samples)

    def close(self, *, finished: bool = False) -> None:
        """It is gone; the one that was opened before it is heard again. Idempotent.

        What it was saying is dropped, unless that is `finished`.
        """
        self._all.close(self, finished=finished)


class Microphones:
    """Those of one session.

    Each is told when it falls silent for another, or is heard again; a device's goes before all others.
    """

    def __init__(self, ears: Hearing) -> None:
        self.ears = ears
        self._open: list[Microphone] = []
        """Least important first."""

    @property
    def heard(self) -> Microphone | None:
        """The one that is heard."""
        return self._open[-1] if self._open else None

    def open(
        self,
        kind: MicrophoneKind,
        told: Callable[[bool, str], None] = lambda heard, by: None,
        instead_of: Microphone | None = None,
    ) -> Microphone:
        """It is heard from now on, unless a device leads. `told(heard, by)`: it is heard or not; by which kind.

        `instead_of`: its own earlier one, which is closed without another being heard between them.
        """
        before = self.heard
        self._open = [one for one in self._open if one is not instead_of]
        microphone = Microphone(kind, self, told)
        behind = kind is not MicrophoneKind.DEVICE and any(one.kind is MicrophoneKind.DEVICE for one in self._open)
        self._open.insert(len(self._open) - int(behind), microphone)
        self._rest(before)
        if self.heard is not microphone:
            told(False, self._kind)
        elif before is not None and before is not instead_of:
            before.told(False, self._kind)
        return microphone

    def close(self, microphone: Microphone, *, finished: bool = False) -> None:
        """See `Microphone.close`."""
        before = self.heard
        self._open = [one for one in self._open if one is not microphone]
        if not finished:
            self._rest(before)
        if before is microphone and self.heard is not None:
            self.heard.told(True, self._kind)

    def _rest(self, before: Microphone | None) -> None:
        """Half a sentence of one does not go on with another's."""
        if before is not None and before is not self.heard:
            self.ears.rest()

    @property
    def _kind(self) -> str:
        return self.heard.kind if self.heard is not None else ""

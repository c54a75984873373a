"""Which STUN and TURN servers a peer connection is given.

aioice waits up to 5 s per interface for a STUN server that does not answer, before the offer can be
answered at all. So servers are probed in the background, and only those that answer are used; host
candidates never wait.
"""

from __future__ import annotations

import asyncio
import logging
import socket
from collections.abc import Sequence
from dataclasses import dataclass

from aioice import stun
from aiortc import RTCIceServer
from aiortc.rtcicetransport import parse_stun_turn_uri

logger = logging.getLogger(__name__)

STUN_PATIENCE_S = 0.4
"""One round trip."""
RELAY_PATIENCE_S = 2.0
"""Allocating a relay takes several, with TCP and TLS before."""


@dataclass(frozen=True, slots=True)
class IceServerConfig:
    """One server of the settings: `urls` as in WebRTC ("stun:host:port", "turn:host:port?transport=udp")."""

    urls: str
    username: str | None = None
    credential: str | None = None


class IceServers:
    """The configured servers and which of them answer. `run()` keeps that up to date."""

    def __init__(self, configured: Sequence[IceServerConfig], *, timeout_s: float, interval_s: float) -> None:
        self.configured = tuple(configured)
        self._timeout = timeout_s
        self._interval = interval_s
        self._answering: frozenset[IceServerConfig] = frozenset()

    def usable(self) -> list[RTCIceServer]:
        """The servers that answered lately. Never None: aiortc would then ask a public server."""
        return [
            RTCIceServer(urls=server.urls, username=server.username, credential=server.credential)
            for server in self.configured
            if server in self._answering
        ]

    def patience_s(self, servers: Sequence[RTCIceServer]) -> float | None:
        """How long gathering candidates from these may take before one of them counts as dead; None without any."""
        relays = any(str(server.urls).startswith("turn") for server in servers)
        return (RELAY_PATIENCE_S if relays else STUN_PATIENCE_S) if servers else None

    def distrust(self) -> None:
        """A server that answered the last probe did not answer now: use none until the next probe."""
        logger.warning("an ICE server stopped answering: none is used until the next probe")
        self._answering = frozenset()

    async def run(self) -> None:
        """Probe at once, then at every interval, until cancelled."""
        while self.configured:
            await self.probe()
            await asyncio.sleep(self._interval)

    async def probe(self) -> None:
        """Ask every server once, all at the same time; takes at most the probe timeout."""
        answers = await asyncio.gather(*(self._answers(server) for server in self.configured))
        now = frozenset(server for server, ok in zip(self.configured, answers, strict=True) if ok)
        for server in now ^ self._answering:
            logger.info("ICE server %s %s", server.urls, "answers" if server in now else "stopped answering")
        self._answering = now

    async def _answers(self, server: IceServerConfig) -> bool:
        try:
            uri = parse_stun_turn_uri(server.urls)
            async with asyncio.timeout(self._timeout):
                if uri.get("transport") == "tcp":
                    _, writer = await asyncio.open_connection(uri["host"], uri["port"])
                    writer.close()
                    return True
                return await _binding(uri["host"], uri["port"])
        except (TimeoutError, OSError, ValueError, OverflowError) as error:
            logger.warning("ICE server %s does not answer (%s): left out", server.urls, error or "timeout")
            return False


class _Answer(asyncio.DatagramProtocol):
    def __init__(self) -> None:
        self.received: asyncio.Future[bool] = asyncio.get_running_loop().create_future()

    def datagram_received(self, data: bytes, addr: tuple[str, int]) -> None:
        if not self.received.done():
            self.received.set_result(True)

    def error_received(self, exc: Exception) -> None:
        if not self.received.done():
            self.received.set_exception(exc)


async def _binding(host: str, port: int) -> bool:
    """One STUN binding request (RFC 8489), to which STUN and TURN servers alike answer."""
    loop = asyncio.get_running_loop()
    # create_datagram_endpoint resolves the name off the loop
    transport, protocol = await loop.create_datagram_endpoint(_Answer, remote_addr=(host, port), family=socket.AF_INET)
    try:
        request = stun.Message(message_method=stun.Method.BINDING, message_class=stun.Class.REQUEST)
        while True:
            transport.sendto(bytes(request))
            done, _ = await asyncio.wait({protocol.received}, timeout=0.15)
            if done:
                return protocol.received.result()
    finally:
        transport.close()

"""STUN and TURN servers: the ones that answer are used, the others never delay an offer."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import cast

import pytest
from aioice import stun

from avatar.ice import IceServerConfig, IceServers
from tests.conftest import Serve
from tests.offers import Api, real_offer

MAPPED = ("203.0.113.7", 40_000)
"""What the test's STUN server claims to see (an address for documentation, RFC 5737)."""


class StunServer(asyncio.DatagramProtocol):
    """Answers binding requests while `awake`; a black hole otherwise."""

    def __init__(self) -> None:
        self.awake = True
        self.asked = 0
        self.port = 0
        self._transport: asyncio.DatagramTransport | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.DatagramTransport, transport)
        self.port = transport.get_extra_info("sockname")[1]

    def datagram_received(self, data: bytes, addr: tuple[str, int]) -> None:
        self.asked += 1
        request = stun.parse_message(data)
        if self.awake and self._transport is not None:
            answer = stun.Message(
                message_method=stun.Method.BINDING,
                message_class=stun.Class.RESPONSE,
                transaction_id=request.transaction_id,
            )
            answer.attributes["XOR-MAPPED-ADDRESS"] = MAPPED
            self._transport.sendto(bytes(answer), addr)

    def config(self) -> IceServerConfig:
        return IceServerConfig(f"stun:127.0.0.1:{self.port}")

    @property
    def setting(self) -> str:
        return f'[{{urls: "stun:127.0.0.1:{self.port}"}}]'


@asynccontextmanager
async def listening() -> AsyncIterator[StunServer]:
    loop = asyncio.get_running_loop()
    transport, server = await loop.create_datagram_endpoint(StunServer, local_addr=("0.0.0.0", 0))
    try:
        yield server
    finally:
        transport.close()


def of(*servers: IceServerConfig, timeout_s: float = 0.3) -> IceServers:
    return IceServers(servers, timeout_s=timeout_s, interval_s=0.05)


async def test_without_servers_none_is_used_and_nothing_runs() -> None:
    servers = of()
    assert servers.usable() == []  # and not None, which would mean a public server
    await asyncio.wait_for(servers.run(), 1)


async def test_a_server_that_answers_is_used_and_loses_its_place_when_it_stops() -> None:
    async with listening() as server:
        servers = of(server.config())
        assert servers.usable() == []  # not before it has answered
        await servers.probe()
        assert [item.urls for item in servers.usable()] == [server.config().urls]
        server.awake = False
        await servers.probe()
        assert servers.usable() == []
        server.awake = True
        probing = asyncio.create_task(servers.run())
        async with asyncio.timeout(3):
            while not servers.usable():
                await asyncio.sleep(0.01)
        probing.cancel()


async def test_a_lost_request_is_repeated() -> None:
    async with listening() as server:
        server.awake = False
        asyncio.get_running_loop().call_later(0.2, setattr, server, "awake", True)
        servers = of(server.config(), timeout_s=2)
        await servers.probe()
        assert servers.usable()
        assert server.asked >= 2


async def test_credentials_are_handed_on() -> None:
    async with listening() as server:
        servers = of(IceServerConfig(f"turn:127.0.0.1:{server.port}", "user", "word"))
        await servers.probe()
        (used,) = servers.usable()
        assert (used.username, used.credential) == ("user", "word")


@pytest.mark.parametrize(
    "urls",
    [
        "stun:127.0.0.1:1",
        "turn:127.0.0.1:1?transport=tcp",
        "turns:127.0.0.1:1",
        "stun:",
        "stun:127.0.0.1:99999",
        "stun:no.such.name.invalid:3478",
        "stun:" + "x" * 300 + ":1",
        "stun:[::1]:1",
        "http://127.0.0.1",
    ],
)
async def test_one_that_can_not_be_asked_is_left_out(urls: str) -> None:
    async with listening() as good:
        servers = of(IceServerConfig(urls), good.config())
        await servers.probe()
        assert [item.urls for item in servers.usable()] == [good.config().urls]


async def test_an_unreachable_server_does_not_delay_the_answer(serving: Serve) -> None:
    async with listening() as hole:
        hole.awake = False
        async with serving(ice__servers=hole.setting, ice__probe_timeout_s="0.2") as server, Api(server) as api:
            assert hole.asked
            begun = time.monotonic()
            answer = await api.offer(await real_offer())
            assert time.monotonic() - begun < 2  # aioice waits five seconds for a server that is silent
            assert " typ host" in answer["sdp"]
            assert " typ srflx" not in answer["sdp"]


async def test_a_reachable_server_is_used(serving: Serve) -> None:
    async with (
        listening() as stun_server,
        serving(ice__servers=stun_server.setting) as server,
        Api(server) as api,
    ):
        answer = await api.offer(await real_offer())
        assert f" {MAPPED[0]} {MAPPED[1]} typ srflx" in answer["sdp"]


async def test_a_server_that_dies_between_probes_delays_one_offer_a_little(serving: Serve) -> None:
    async with (
        listening() as stun_server,
        serving(ice__servers=stun_server.setting, ice__probe_interval_s="600") as server,
        Api(server) as api,
    ):
        assert server.ice.usable()
        stun_server.awake = False
        begun = time.monotonic()
        answer = await api.offer(await real_offer())
        assert time.monotonic() - begun < 2  # aioice waits five seconds for a server that is silent
        assert " typ host" in answer["sdp"]
        assert not server.ice.usable()

"""Several devices at one running server, and what it counts of them."""

from __future__ import annotations

import asyncio
import logging

import aiohttp
import pytest
from aiohttp import web
from aiohttp.test_utils import TestServer

from config.wiring import device_door, device_options
from core.devices.endpoint import DeviceEndpoint
from core.frames import Utterance
from server import Server
from tests.conftest import Serve
from tests.device_served import mac, nothing_left, serve_fast, url_of
from tests.simulators.xiaozhi_device import XiaozhiDevice


@pytest.fixture
def serving() -> Serve:
    """Servers with a voice that speaks fast."""
    return serve_fast


async def test_h1_when_the_server_stops(serving: Serve) -> None:
    async with serving() as server:
        devices = [XiaozhiDevice(url_of(server), device_id=mac(number)) for number in range(3)]
        for device in devices:
            await device.open()
        await devices[0].detect("hello")
        await devices[0].message("tts", state="start")
        stopping = asyncio.create_task(server.stop())
        assert [await device.closed() for device in devices] == [1001] * 3
        await stopping
        assert not server.devices.lines


async def test_h1_a_full_server_says_so(serving: Serve) -> None:
    async with serving(limits__max_sessions="1") as server:
        async with XiaozhiDevice(url_of(server)):
            second = XiaozhiDevice(url_of(server), device_id=mac(2))
            await second.plug()
            second.rules.session_id = ""
            assert second.socket is not None
            await second.send(**second.hello)
            assert await second.closed() == 1013
            await second.close()
            assert "before hello" in str(second.refusal)  # the alert comes in place of a hello
        assert len(server.sessions) == 1


async def test_k1_sessions_that_devices_begin_count_as_offers(serving: Serve) -> None:
    async with serving(limits__offers_per_minute="2") as server:
        for number in (1, 2, 1, 2):  # who comes back begins none
            async with XiaozhiDevice(url_of(server), device_id=mac(number)):
                pass
        third = XiaozhiDevice(url_of(server), device_id=mac(3))
        await third.plug()
        await third.send(**third.hello)
        assert await third.closed() == 1013
        await third.close()
        assert len(server.sessions) == 2
        async with aiohttp.ClientSession() as http:
            answer = await http.post(f"{server.url}/offer", json={"type": "websocket"})
            assert answer.status == 429


async def test_h1_an_operator_ends_the_session(serving: Serve) -> None:
    async with serving() as server, XiaozhiDevice(url_of(server)) as device, aiohttp.ClientSession() as http:
        await http.post(server.url + "/api/admin/stop", json={"sessionid": device.rules.session_id})
        await device.message("goodbye")
        assert await device.closed() == 1000
        assert len(server.sessions) == 0


async def test_h1_ten_devices_at_once(serving: Serve) -> None:
    async def turn(server: Server, number: int) -> str:
        async with XiaozhiDevice(url_of(server), device_id=mac(number), version=1 + number % 3) as device:
            await device.detect(f"number {number}")
            await device.message("tts", state="stop", timeout=40)
            assert device.said("stt")[0][1]["text"] == f"number {number}"
            assert 10 <= len(device.heard) < 30  # a starved voice makes pauses
            return device.rules.session_id

    async with serving(limits__max_sessions="10") as server:
        assert len(set(await asyncio.gather(*(turn(server, number) for number in range(10))))) == 10
        await nothing_left(server)


async def test_h1_a_device_that_takes_long_to_come_in_holds_up_no_other(serving: Serve) -> None:
    asked, gate = asyncio.Event(), asyncio.Event()

    async def recall(session_id: str) -> tuple[Utterance, ...]:
        asked.set()
        await gate.wait()
        return ()

    async with serving() as server:
        door, options = device_door(server.settings, server.access), device_options(server.settings)
        application = web.Application()
        application.add_routes(DeviceEndpoint(server.sessions, server.cast, door, options, recall).routes())
        async with TestServer(application) as served:
            url = str(served.make_url("/xiaozhi/v1/")).replace("http", "ws")
            async with XiaozhiDevice(url) as device:
                await server.sessions.close(server.sessions.find(device.rules.session_id))
            late = [XiaozhiDevice(url) for _ in range(2)]
            opening = [asyncio.create_task(device.open()) for device in late]
            await asked.wait()
            async with asyncio.timeout(20), XiaozhiDevice(url, device_id=mac(2)):
                assert not any(task.done() for task in opening)
            gate.set()
            await asyncio.gather(*opening)
            assert late[0].rules.session_id == late[1].rules.session_id, "of one device there is one session"
            for device in late:
                await device.close()


async def test_k2_what_was_lost_of_a_devices_sound_is_shown(serving: Serve, caplog: pytest.LogCaptureFixture) -> None:
    def figures() -> dict[str, str]:
        lines = server.metrics.exposition().decode().splitlines()
        return dict(line.rsplit(" ", 1) for line in lines if line.startswith("eman_device"))

    with caplog.at_level(logging.INFO):
        async with serving() as server:
            assert figures()["eman_devices"] == "0.0"
            async with XiaozhiDevice(url_of(server)) as device:
                await device.listen("realtime")
                for packet in (b"", b"\xff" * 7):
                    await device.send_packet(packet)
                await device.detect("one two")
                await device.message("tts", state="stop")
                assert figures() == {
                    "eman_devices": "1.0",
                    'eman_device_packets_lost_total{reason="unusable"}': "2.0",
                    'eman_device_packets_lost_total{reason="early"}': "0.0",
                    'eman_device_packets_lost_total{reason="unread"}': "0.0",
                }
            await nothing_left(server)
            assert figures()["eman_devices"] == "0.0"
            assert figures()['eman_device_packets_lost_total{reason="unusable"}'] == "2.0", "they stay counted"
    (line,) = [r.getMessage() for r in caplog.records if " left session " in r.getMessage()]
    assert line.endswith("packets lost: 2 unusable, 0 too early, 0 not read in time")

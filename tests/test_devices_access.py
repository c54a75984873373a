"""Which devices a running server lets in, and at which addresses."""

from __future__ import annotations

import contextlib

import aiohttp
import pytest

from core.errors import SettingsError
from tests.conftest import Serve
from tests.device_served import AUTH, mac, nothing_left, ota, serve_fast, url_of
from tests.simulators.xiaozhi_device import DEVICE, XiaozhiDevice


@pytest.fixture
def serving() -> Serve:
    """Servers with a voice that speaks fast."""
    return serve_fast


async def refused(url: str, token: str = "") -> int | None:
    device = XiaozhiDevice(url, token=token)
    await device.plug()
    with contextlib.suppress(Exception):
        await device.send(**device.hello)
    code = await device.closed()
    await device.close()
    return code


async def test_h1_discovery_leads_to_the_socket(serving: Serve) -> None:
    async with serving() as server:
        answer = await ota(server)
        assert answer["firmware"]["version"] == "1.2.3"
        assert answer["websocket"] == {"url": url_of(server), "token": "", "version": 1}
        async with XiaozhiDevice(answer["websocket"]["url"]):
            pass


async def test_k1_with_auth_on_only_tokens_come_in(serving: Serve) -> None:
    async with serving(**AUTH) as server:
        token = (await ota(server))["websocket"]["token"]
        async with XiaozhiDevice(url_of(server), token=token) as device:
            await device.detect("hello")
            await device.message("tts", state="stop")
        assert await refused(url_of(server)) == 1008
        assert await refused(url_of(server), token[:-1]) == 1008
        other = await ota(server, **{"Device-Id": mac(5)})
        assert await refused(url_of(server), other["websocket"]["token"]) == 1008
        assert len(server.sessions) == 1
        await nothing_left(server)


async def test_k1_with_api_keys_only_known_devices_get_a_token(serving: Serve) -> None:
    key, shared = "a-key-of-a-program-000", "shared-by-all-devices-0"
    settings = {"auth__api_keys": f'["{key}"]', "xiaozhi__token": shared, "xiaozhi__devices": f'["{mac(1).upper()}"]'}
    async with serving(**AUTH, **settings) as server:
        assert (await ota(server))["websocket"]["token"] == ""
        assert (await ota(server, **{"Device-Id": mac(1)}))["websocket"]["token"]
        for secret in (key, shared):
            assert (await ota(server, Authorization=f"Bearer {secret}"))["websocket"]["token"]
            async with XiaozhiDevice(url_of(server), token=secret):
                pass
        assert await refused(url_of(server), "something-else-entirely") == 1008


async def test_k1_pages_of_other_sites_may_not_pose_as_devices(serving: Serve) -> None:
    async with serving() as server, aiohttp.ClientSession() as http:
        headers = {"Device-Id": DEVICE, "Origin": "https://evil.example"}
        async with http.get(
            url_of(server).replace("ws", "http"), headers={**headers, "Upgrade": "websocket"}
        ) as answer:
            assert answer.status == 403
        with pytest.raises(aiohttp.WSServerHandshakeError, match="403"):
            await http.ws_connect(url_of(server), headers=headers)
        async with http.post(server.url + "/xiaozhi/ota/", json={}, headers=headers) as answer:
            assert answer.status == 403


async def test_h1_addresses(serving: Serve) -> None:
    paths = {"xiaozhi__paths": '["/talk", "/xiaozhi/v1/"]', "xiaozhi__ota_paths": '["/ota/", "/api/ota"]'}
    async with serving(**paths) as server, aiohttp.ClientSession() as http:
        for path in ("/talk", "/talk/", "/xiaozhi/v1", "/ota", "/ota/", "/api/ota/"):
            async with http.get(server.url + path) as answer:
                assert (answer.status, "/talk" in await answer.text()) == (200, True)
        async with http.post(server.url + "/ota", json={}) as answer:
            assert answer.status == 400
        async with XiaozhiDevice(url_of(server, "/talk/")):
            pass
    async with (
        serving(xiaozhi__enabled="false") as server,
        aiohttp.ClientSession() as http,
        http.get(server.url + "/xiaozhi/v1/") as answer,
    ):
        assert answer.status == 404
    async with serving(xiaozhi__url="wss://example.org/x/") as server:
        assert (await ota(server))["websocket"]["url"] == "wss://example.org/x/"


@pytest.mark.parametrize(
    ("setting", "paths", "own"),
    [
        ("xiaozhi__paths", '["/xiaozhi/v1/", "/ws"]', "/ws is the server's own address /ws"),
        ("xiaozhi__ota_paths", '["/offer/"]', "/offer/ is the server's own address /offer"),
        ("xiaozhi__paths", '["/api/presenters/mira/mouths.json"]', "address /api/presenters/{name}/mouths.json"),
        ("xiaozhi__paths", '["/"]', "/ is the server's own address /"),
        ("xiaozhi__ota_paths", '["/js/app.js"]', "address /js/app.js"),
        ("xiaozhi__ota_paths", '["/dashboard.html"]', "address /dashboard.html"),
        ("xiaozhi__ota_paths", '["/xiaozhi/v1"]', "/xiaozhi/v1 is in xiaozhi.paths, too"),
    ],
)
async def test_h1_an_address_that_would_hide_another_stops_the_start(
    serving: Serve, setting: str, paths: str, own: str
) -> None:
    with pytest.raises(SettingsError) as caught:
        async with serving(**{setting: paths}):
            pass
    assert str(caught.value).startswith(setting.replace("__", ".") + ": ")
    assert own in str(caught.value)
    assert "choose another one" in str(caught.value)

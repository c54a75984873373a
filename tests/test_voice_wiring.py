"""A voice service in the settings, in offers, and in what operators see."""

from __future__ import annotations

from typing import Any

import pytest
import yaml

from app import doctor
from config.layers import load_settings
from config.secrets import public_view
from core.errors import DialogueError, SettingsError
from core.events import LineChanged, LineState
from core.listener import Listener
from core.messages import messages_for
from core.relay_ears import RelayEars
from core.voice_line import VoiceLine
from server import Server
from tests.conftest import FAKES, serve
from tests.offers import Api
from tests.simulators.xiaozhi import CLIENT, DEVICE, TOKEN, XiaozhiServer
from tests.voice_fakes import FakeService

FAKE = {"voice__engine": "tests.voice_fakes:FakeService"}


async def offered(api: Api, **more: Any) -> dict[str, Any]:
    return await api.post("/offer", type="websocket", **more)


def test_h1_without_an_engine_there_is_no_voice_service() -> None:
    assert Server(load_settings(overrides=FAKES, env={})).engines.voice is None


@pytest.mark.parametrize(
    ("key", "value", "said"),
    [
        ("voice.sessions", "some", "'all' or 'asked'"),
        ("voice.xiaozhi.url", "http://x", "voice.xiaozhi.url"),
        ("voice.xiaozhi.ota_url", "ws://x", "voice.xiaozhi.ota_url"),
        ("voice.xiaozhi.mode", "both", "'manual', 'auto' or 'realtime'"),
        ("voice.xiaozhi.device_id", "AA:BB", "voice.xiaozhi.device_id"),
        ("voice.xiaozhi.frame_ms", "50", "voice.xiaozhi.frame_ms"),
    ],
)
def test_h1_wrong_settings_name_their_key(key: str, value: str, said: str) -> None:
    with pytest.raises(SettingsError, match=said):
        load_settings(overrides={key: value}, env={})


def test_h1_an_unknown_engine_is_refused_with_those_that_are() -> None:
    with pytest.raises(SettingsError, match="xiaozhi"):
        Server(load_settings(overrides={**FAKES, "voice.engine": "nobody"}, env={}))


async def test_h1_a_service_without_an_address_stops_the_start() -> None:
    with pytest.raises(DialogueError, match="ota_url"):
        async with serve(voice__engine="xiaozhi"):
            pass


def test_h1_the_token_is_never_shown() -> None:
    settings = load_settings(overrides={"voice.xiaozhi.token": "very-secret"}, env={})
    assert "very-secret" not in yaml.safe_dump(public_view(settings))
    with pytest.raises(SettingsError) as caught:
        load_settings(overrides={"voice.xiaozhi.token": "[very-secret]"}, env={})
    assert "very-secret" not in str(caught.value)


@pytest.mark.parametrize(
    ("sessions", "offer", "led"),
    [("all", {}, True), ("all", {"voice": False}, False), ("asked", {}, False), ("asked", {"voice": True}, True)],
)
async def test_h1_settings_and_offer_say_which_sessions_are_led(
    sessions: str, offer: dict[str, Any], led: bool
) -> None:
    async with serve(**FAKE, voice__sessions=sessions) as server, Api(server) as api:
        answer = await offered(api, **offer)
        assert answer["voice"] is led
        session = server.sessions.find(answer["sessionid"])
        assert isinstance(session.line, VoiceLine) is led
        assert isinstance(server.engines.voice, FakeService)
        assert (session.id in server.engines.voice.calls) is led
        again = await offered(api, sessionid=session.id, token=answer["token"], voice=not led)
        assert again["voice"] is led, "a session keeps what it has"
        await server.sessions.close(session)
        assert all(call.closed for call in server.engines.voice.calls.values())


async def test_h1_offers_that_can_not_be_met_are_refused() -> None:
    async with serve() as server, Api(server) as api:
        assert (await offered(api))["voice"] is False
        assert (await offered(api, voice=True))["error"] == "no_voice_service"
        assert (await offered(api, voice="yes"))["error"] == "bad_request"
        assert len(server.sessions) == 1


@pytest.mark.parametrize(("turns", "ears"), [("ours", Listener), ("service", RelayEars), ("open", RelayEars)])
async def test_h1_whose_turns_they_are_decides_who_listens(turns: str, ears: type[Any]) -> None:
    async with serve(**FAKE, voice__options=f"{{turns: {turns}}}") as server, Api(server) as api:
        answer = await offered(api)
        assert isinstance(server.sessions.find(answer["sessionid"]).ears, ears)


async def test_k2_operators_see_it() -> None:
    async with serve(**FAKE) as server, Api(server) as api:
        assert "voice" in server.engines.by_stage
        assert server.readiness.ready
        assert b'voice="fake"' in server.metrics.exposition()
        assert (await server.monitor.snapshot())["server"]["adapters"]["voice"] == "fake"
        status, answer = await api.raw("GET", "/api/config")
        assert (status, answer["data"]["voice"]) == (200, {"engine": "fake", "sessions": "all"})


async def test_h1_doctor_connects_once(capsys: pytest.CaptureFixture[str]) -> None:
    async with XiaozhiServer() as service:
        place = {"url": service.url, "token": TOKEN, "device_id": DEVICE, "client_id": CLIENT}
        overrides = {**FAKES, "voice.engine": "xiaozhi", **{f"voice.xiaozhi.{key}": v for key, v in place.items()}}
        assert await doctor(load_settings(overrides=overrides, env={})) == 0
        assert "xiaozhi: answers" in capsys.readouterr().out
        service.statuses = [401]
        assert await doctor(load_settings(overrides=overrides, env={})) == 1
        said = capsys.readouterr().out
        assert "check token" in said
        assert TOKEN not in said


def test_h1_pages_are_told_of_the_line() -> None:
    (message,) = messages_for(LineChanged(LineState.FAILED, "fake", "fake_refused", "check the token"), "7", "Eman")
    assert message == {
        "type": "voice_line", "session_id": "7", "state": "failed", "code": "fake_refused", "text": "check the token",
    }  # fmt: skip
    (message,) = messages_for(LineChanged(LineState.UP, "fake"), "7", "Eman")
    assert message == {"type": "voice_line", "session_id": "7", "state": "up"}

"""Timed mouths for other figures: formats, times, cancellation, who is told, and what it costs the others."""

from __future__ import annotations

import asyncio
import json
from typing import Any

import aiohttp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from avatar.lip_preview import LIPS_AHEAD
from avatar.lipsync.mouth import mouth_between
from avatar.speech import Speech
from avatar.stage import SpeechStage
from core.acts import Act, Deed
from core.frames import AUDIO_FRAME, MEDIA_RATE, VISEMES, Expression, Gesture, VisemeFrames
from core.viseme_feed import VisemeFeed
from core.visemes import NAMES, LipPiece, VisemeFormat, clear_message, viseme_message
from tests.avatar_client import AvatarClient
from tests.conftest import Serve
from tests.test_stage import Log, play

OVR, ARKIT, FAY = VisemeFormat
ROW_S = 0.01


def rows(*names: str) -> VisemeFrames:
    """10 ms each, one viseme alone."""
    frames = np.zeros((len(names), 15), np.float32)
    for frame, name in zip(frames, names, strict=True):
        frame[VISEMES.index(name)] = 1
    return frames


def told(at: float, frames: VisemeFrames, form: VisemeFormat = OVR) -> dict[str, Any] | None:
    return viseme_message(LipPiece("r1", 2, at, frames), form, "7", mouth_between)


# -- formats


def test_f5_ovr_weights_have_the_fifteen_names_and_the_pieces_time() -> None:
    message = told(0.4, rows(*["aa"] * 8, *["ou"] * 8))
    assert message is not None
    frames = message.pop("frames")
    assert message == {
        "type": "visemes", "session_id": "7", "reply": "r1", "index": 2, "at_ms": 400, "format": "ovr", "step_ms": 40,
        "names": list(VISEMES),
    }  # fmt: skip
    assert len(frames) == 4
    assert all(abs(sum(frame) - 1) < 0.01 for frame in frames)
    assert frames[0][VISEMES.index("aa")] == 1
    assert frames[3][VISEMES.index("ou")] == 1


def test_f5_fays_lips_are_run_lengths_of_33_ms() -> None:
    message = told(0.0, rows(*["sil"] * 10, *["aa"] * 20, *["ou"] * 3), FAY)
    assert message is not None
    assert message["Lips"] == [{"Lip": "sil", "Time": 99}, {"Lip": "aa", "Time": 198}, {"Lip": "ou", "Time": 33}]
    assert message["step_ms"] == 33
    assert "frames" not in message


def test_arkit_closes_the_lips_as_far_as_the_jaw_is_open() -> None:
    message = told(0.0, rows(*["aa"] * 8, *["PP"] * 8), ARKIT)
    assert message is not None
    first, last = (dict(zip(message["names"], message["frames"][n], strict=True)) for n in (0, -1))
    assert first["jawOpen"] > 0.3
    assert first["mouthClose"] == 0
    assert last["mouthClose"] == last["jawOpen"] > 0
    assert last["mouthPressLeft"] == last["mouthPressRight"] > 0.5
    assert tuple(message["names"]) == NAMES[ARKIT]


@pytest.mark.parametrize("form", [OVR, ARKIT, FAY])
def test_a_closure_of_20_ms_is_in_some_frame(form: VisemeFormat) -> None:
    for start in range(4, 20):
        frames = rows(*["aa"] * start, "PP", "PP", *["aa"] * (24 - start))
        message = told(0.0, frames, form)
        assert message is not None
        if form is FAY:
            assert "PP" in [run["Lip"] for run in message["Lips"]]
        elif form is OVR:
            assert max(frame[1] for frame in message["frames"]) == 1
        else:
            assert min(abs(frame[0] - frame[1]) for frame in message["frames"]) < 0.01


@settings(max_examples=100, deadline=None)
@given(st.lists(st.integers(1, 40), min_size=1, max_size=20), st.integers(0, 3000), st.sampled_from(list(VisemeFormat)))
def test_frames_of_any_pieces_lie_on_one_grid_without_gap_or_overlap(
    lengths: list[int], start_ms: int, form: VisemeFormat
) -> None:
    step = 33 if form is FAY else 40
    times, at = [], start_ms / 1000
    for length in lengths:
        message = told(at, rows(*["aa"] * length), form)
        at += length * ROW_S
        if message is not None:
            count = len(message["frames"]) if form is not FAY else sum(run["Time"] for run in message["Lips"]) // 33
            times += [message["at_ms"] + n * step for n in range(count)]
            assert json.dumps(message)
    first = -(-start_ms // step) * step
    assert times == list(range(first, round(at * 1000), step))


# -- from the stage


class Viewer:
    def __init__(self) -> None:
        self.pieces: list[LipPiece] = []
        self.cleared: list[tuple[str, float]] = []
        self.acts: list[tuple[str, float, Deed]] = []

    def lips(self, piece: LipPiece) -> None:
        self.pieces.append(piece)

    def lips_cleared(self, reply_id: str, at: float) -> None:
        self.cleared.append((reply_id, at))

    def acted(self, reply_id: str, at: float, deed: Deed) -> None:
        self.acts.append((reply_id, at, deed))


def staged(*seconds: float) -> tuple[SpeechStage, Viewer]:
    """One utterance in pieces."""
    stage, viewer = SpeechStage(Log()), Viewer()
    stage.watch_lips(viewer)
    play(stage, 10)
    stage.open("r1")
    for number, length in enumerate(seconds):
        samples = np.full(int(length * MEDIA_RATE), 1000, np.int16)
        frames = rows(*["aa"] * int(length * 100))
        stage.put(Speech("r1", 0, "u", samples, frames, number == 0, number == len(seconds) - 1))
    return stage, viewer


def test_pieces_are_told_shortly_before_they_are_seen() -> None:
    stage, viewer = staged(0.2, 0.2, 0.2, 0.2)
    play(stage, 1, start=10)
    assert [piece.at for piece in viewer.pieces] == [0.0, 0.2]
    for frame in range(1, 40):
        play(stage, 1, start=10 + frame)
        played = (frame + 1) * AUDIO_FRAME
        assert all(piece.at * MEDIA_RATE < played + LIPS_AHEAD for piece in viewer.pieces)
        assert len(viewer.pieces) * 0.2 * MEDIA_RATE >= min(played, int(0.8 * MEDIA_RATE))
    assert [round(piece.at, 3) for piece in viewer.pieces] == [0.0, 0.2, 0.4, 0.6]
    stage.finish("r1")
    stage.clear()
    assert viewer.cleared == []


def test_an_interruption_cancels_what_was_told() -> None:
    stage, viewer = staged(0.2, 0.2, 0.2, 0.2)
    play(stage, 15, start=10)
    stage.clear()
    assert viewer.cleared == [("r1", 0.3)]
    play(stage, 50, start=25)
    assert len(viewer.pieces) == 3


def test_what_is_held_is_cancelled_and_told_again_with_its_new_times() -> None:
    stage, viewer = staged(0.2, 0.2, 0.2, 0.2)
    play(stage, 15, start=10)
    stage.hold()
    assert viewer.cleared == [("r1", 0.3)]
    play(stage, 50, start=25)
    before = len(viewer.pieces)
    stage.resume()
    play(stage, 50, start=75)
    again = viewer.pieces[before:]
    assert round(again[0].at, 3) == 1.3
    ends = [piece.at + len(piece.frames) * ROW_S for piece in again]
    assert [round(piece.at, 3) for piece in again[1:]] == [round(end, 3) for end in ends[:-1]]
    assert 0.5 + 0.1 <= ends[-1] - 1.3 <= 0.5 + 0.36, "the rest, and what is said once more"
    stage.hold()
    stage.clear()
    assert len(viewer.cleared) == 1, "silent already"


def test_acts_are_told_with_their_place_in_the_reply() -> None:
    stage, viewer = SpeechStage(Log()), Viewer()
    stage.watch_lips(viewer)
    play(stage, 10)
    stage.open("r1")
    sound, acts = np.full(MEDIA_RATE, 1000, np.int16), (Act(Expression.HAPPY, 0.0), Act(Gesture.NOD, 0.5))
    stage.put(Speech("r1", 0, "one two", sound, rows(*["aa"] * 100), True, True, acts))
    play(stage, 20, start=10)
    assert [(reply, deed) for reply, _, deed in viewer.acts] == [("r1", Expression.HAPPY)]
    play(stage, 35, start=30)
    stage.finish("r1")
    assert [(reply, round(at, 1), deed) for reply, at, deed in viewer.acts] == [
        ("r1", 0.0, Expression.HAPPY), ("r1", 0.5, Gesture.NOD), ("r1", 1.5, Expression.NEUTRAL),
    ]  # fmt: skip


def test_e1_an_interruption_ends_the_expression_at_once() -> None:
    stage, viewer = SpeechStage(Log()), Viewer()
    stage.watch_lips(viewer)
    stage.open("r1")
    sound = np.full(MEDIA_RATE, 1000, np.int16)
    stage.put(Speech("r1", 0, "u", sound, rows(*["aa"] * 100), True, True, (Act(Expression.SAD, 0.0),)))
    play(stage, 10)
    stage.clear()
    assert [(reply, deed) for reply, _, deed in viewer.acts] == [("r1", Expression.SAD), ("", Expression.NEUTRAL)]


# -- who is told


def test_each_subscriber_is_told_in_its_format_and_nobody_else() -> None:
    feed = VisemeFeed(mouth_between)
    one, two, other = [], [], []  # type: ignore[var-annotated]
    ends = [
        feed.subscribe("7", OVR, one.append),
        feed.subscribe("7", FAY, two.append),
        feed.subscribe("8", OVR, other.append),
    ]
    feed.viewer("7").lips(LipPiece("r1", 0, 0.0, rows(*["aa"] * 20)))
    feed.viewer("7").lips_cleared("r1", 0.1)
    assert [message["type"] for message in one] == ["visemes", "visemes_clear"]
    assert (one[0]["format"], two[0]["format"]) == ("ovr", "fay")
    assert one[1] == two[1] == clear_message("r1", 0.1, "7")
    assert other == []
    for end in ends:
        end()
        end()
    feed.viewer("7").lips(LipPiece("r1", 0, 0.0, rows(*["aa"] * 20)))
    assert len(one) == 2
    assert feed.subscribers == 0


async def test_f5_a_socket_that_subscribes_gets_the_mouths_and_an_interruption(serving: Serve) -> None:
    async with serving() as server, AvatarClient(server.url) as client, AvatarClient(server.url) as other:
        await client.connect()
        await client.login()
        await other.connect()
        await other.login()
        await client.send(type="subscribe_visemes", content={"format": "arkit"})
        subscribed = await client.message("visemes_subscribed")
        assert subscribed["names"] == list(NAMES[ARKIT])
        await client.human("one two three four five")
        await client.message("reply", state="end")
        pieces = [m for m in client.messages if m["type"] == "visemes"]
        times = [m["at_ms"] + n * 40 for m in pieces for n in range(len(m["frames"]))]
        assert times == sorted(set(times))
        assert all(time % 40 == 0 for time in times)
        assert 23 <= len(times) <= 28, "a second, of which nothing is left out or told twice"
        assert max(frame[0] for m in pieces for frame in m["frames"]) > 0.03
        order = [m["type"] for m in client.messages]
        assert order.index("visemes") < len(order) - 1 - order[::-1].index("reply"), "while it is spoken"
        await client.human("one two three four five six seven eight nine ten")
        await client.message("visemes", reply="r2")
        await client.post("/interrupt_talk", sessionid=client.session)
        cleared = await client.message("visemes_clear", reply="r2")
        assert cleared["at_ms"] < 2000
        await client.send(type="subscribe_visemes", content={"format": "off"})
        await client.message("visemes_subscribed", format="off")
        await client.human("one")
        await client.message("reply", state="end", reply_id="r3")
        assert not [m for m in client.messages if m.get("reply") == "r3" and m["type"] == "visemes"]
        assert not [m for m in other.messages if m["type"].startswith("visemes")]
        assert server.visemes.subscribers == 0


async def test_f5_moods_and_gestures_are_told_to_who_asks(serving: Serve) -> None:
    async with serving() as server, AvatarClient(server.url) as client:
        await client.connect()
        await client.login()
        await client.send(type="subscribe_visemes", content={"format": "arkit", "acts": True})
        await client.message("visemes_subscribed")
        server.engines.dialogue.answer = "[happy] One two three. [nod] Four five six."
        await client.human("hello", kind="chat")
        await client.message("act", act="neutral")
        acts = [(m["reply"], m["act"]) for m in client.messages if m["type"] == "act"]
        assert acts == [("r1", "happy"), ("r1", "nod"), ("r1", "neutral")]
        await client.send(type="subscribe_visemes", content={"format": "arkit"})
        await client.message("visemes_subscribed", format="arkit")
        before = len(acts)
        await client.human("hello", kind="chat")
        await client.message("reply", state="end", reply_id="r2")
        assert len([m for m in client.messages if m["type"] == "act"]) == before


async def test_visemes_take_no_number_and_are_not_sent_again(serving: Serve) -> None:
    async with serving() as server, AvatarClient(server.url) as client:
        await client.connect()
        await client.login()
        await client.send(type="subscribe_visemes", content={"format": "ovr"})
        await client.human("one two")
        await client.message("reply", state="end")
        await client.message("visemes")
        async with client.http.ws_connect(server.url.replace("http", "ws") + "/ws") as socket:
            await socket.send_json({"type": "login", "session_id": client.session, "last_seq": 0})
            replayed: list[str] = []
            count, seq = 0, 0
            async with asyncio.timeout(10):
                while not (replayed and replayed[-1] == "sync" and "reply" in replayed):
                    message = await socket.receive_json()
                    replayed.append(message["type"])
            assert not [kind for kind in replayed if kind.startswith("visemes")]
            assert count == seq


async def test_wrong_subscriptions_are_refused_and_a_closed_socket_is_forgotten(serving: Serve) -> None:
    async with serving() as server, aiohttp.ClientSession() as http:
        async with http.ws_connect(server.url.replace("http", "ws") + "/ws") as socket:
            await socket.send_json({"type": "login", "session_id": "77"})
            for content in ({"format": "mp3"}, {}, None, "ovr"):
                await socket.send_json({"type": "subscribe_visemes", "content": content})
                async with asyncio.timeout(10):
                    while (message := await socket.receive_json())["type"] != "wsa_error":
                        pass
                assert message["code"] == "bad_message"
            for _ in range(3):
                await socket.send_json({"type": "subscribe_visemes", "content": {"format": "fay"}})
            async with asyncio.timeout(10):
                while (await socket.receive_json())["type"] != "visemes_subscribed":
                    pass
            assert server.visemes.subscribers == 1
        async with asyncio.timeout(10):
            while server.visemes.subscribers:
                await asyncio.sleep(0.01)


async def test_f5_server_sent_events_carry_them_too(serving: Serve) -> None:
    async with serving() as server, AvatarClient(server.url) as client:
        await client.connect()
        query = {"sessionid": client.session}
        async with client.http.get(server.url + "/sse", params={**query, "visemes": "mp3"}) as refused:
            assert (await refused.json())["error"] == "bad_request"
        async with client.http.get(server.url + "/sse", params={**query, "visemes": "fay"}) as stream:
            await client.human("one two")
            events: list[dict[str, Any]] = []
            async with asyncio.timeout(15):
                while not events or events[-1].get("status") != "end":
                    line = (await stream.content.readline()).decode()
                    if line.startswith("data: "):
                        events.append(json.loads(line[6:]))
        lips = [run for event in events for run in event.get("Lips", ())]
        assert all(run["Lip"] in VISEMES and run["Time"] % 33 == 0 for run in lips)
        assert 350 <= sum(run["Time"] for run in lips) <= 450
        async with asyncio.timeout(10):
            while server.visemes.subscribers:
                await asyncio.sleep(0.05)

"""The simulated device refuses a server that breaks a rule, and takes what a good one sends."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import pytest

from tests.simulators.xiaozhi_device import (
    DOWN,
    Refusal,
    Rules,
    decoded,
    framed,
    opus_decoder,
    tone_packets,
)

ID = "1234"
AUDIO = {"format": "opus", "sample_rate": 24000, "channels": 1, "frame_duration": 60}
HELLO = {"type": "hello", "transport": "websocket", "session_id": ID, "audio_params": AUDIO}
PACKETS = tone_packets(DOWN, 60, 60)
SHORT = tone_packets(DOWN, 20, 1)[0]
START, STOP = {"type": "tts", "state": "start"}, {"type": "tts", "state": "stop"}
STT = {"type": "stt", "text": "hello"}


def sentence(text: Any) -> dict[str, Any]:
    return {"type": "tts", "state": "sentence_start", "text": text}


def hello(**more: Any) -> dict[str, Any]:
    return {key: value for key, value in {**HELLO, **more}.items() if value is not None}


def v2(payload: bytes, *, version: int = 2, kind: int = 0, size: int | None = None) -> bytes:
    head = version.to_bytes(2, "big") + kind.to_bytes(2, "big") + bytes(8)
    return head + (len(payload) if size is None else size).to_bytes(4, "big") + payload


def play(rules: Rules, script: list[Any], mode: str = "auto") -> float:
    """Messages (with the session id, unless they have one), packets, seconds that pass, and "abort"."""
    rules.mode = mode
    now = 100.0
    for item in script:
        if isinstance(item, float):
            now += item
            rules.tick(now)
        elif isinstance(item, bytes):
            rules.sound(item, now)
        elif item == "abort":
            rules.aborted(now)
        else:
            rules.text(item if isinstance(item, str) else json.dumps({"session_id": ID, **item}), now)
    return now


# What is sent, what the refusal says; the version where it isn't 1.
VIOLATIONS: dict[str, tuple[list[Any], str, int]] = {
    "a message before hello": ([STT], "before hello", 1),
    "sound before hello": ([PACKETS[0]], "sound before hello", 1),
    "a second hello": ([HELLO, HELLO], "second hello", 1),
    "a hello of another transport": ([hello(transport="udp")], "transport", 1),
    "a hello without a session": ([hello(session_id="")], "session_id", 1),
    "a hello of raw sound": ([hello(audio_params=AUDIO | {"format": "pcm"})], "mono Opus", 1),
    "a hello of stereo": ([hello(audio_params=AUDIO | {"channels": 2})], "mono Opus", 1),
    "a hello of the device's own rate": ([hello(audio_params=AUDIO | {"sample_rate": 16000})], "sample_rate", 1),
    "no JSON": ([HELLO, "hello"], "no JSON", 1),
    "a list": ([HELLO, "[]"], "no JSON object", 1),
    "an unknown type": ([HELLO, {"type": "speak"}], "'speak' is unknown", 1),
    "another session": ([HELLO, STT | {"session_id": "5"}], "session_id", 1),
    "what the user said, without it": ([HELLO, {"type": "stt", "text": ""}], "text is empty", 1),
    "more than there is to say": ([HELLO, STT | {"language": "en"}], "language is unknown", 1),
    "what the user said while speaking": ([HELLO, START, STT], "stt while", 1),
    "an emotion that no device has": ([HELLO, {"type": "llm", "emotion": "apologetic", "text": "x"}], "emotion", 1),
    "an emotion without its emoji": ([HELLO, {"type": "llm", "emotion": "happy"}], "text is missing", 1),
    "half an alert": ([HELLO, {"type": "alert", "status": "s", "message": "m"}], "emotion is missing", 1),
    "a pong to nobody": ([HELLO, {"type": "pong", "timestamp": 1}], "nobody asked", 1),
    "two starts": ([HELLO, START, START], "start twice", 1),
    "a stop before a start": ([HELLO, STOP], "stop without start", 1),
    "an unknown state": ([HELLO, {"type": "tts", "state": "pause"}], "'pause'", 1),
    "a sentence that nobody speaks": ([HELLO, sentence("a")], "outside", 1),
    "a sentence without words": ([HELLO, START, sentence("")], "without text", 1),
    "sound before the start": ([HELLO, PACKETS[0], START], "outside", 1),
    "sound after the stop": ([HELLO, START, STOP, PACKETS[0]], "outside", 1),
    "sound after an abort was answered": ([HELLO, START, PACKETS[0], "abort", STOP, PACKETS[1]], "outside", 1),
    "a start in place of the stop": ([HELLO, START, STOP, "abort", START], "answers an abort", 1),
    "no answer to an abort": ([HELLO, START, "abort", 1.5], "no tts stop", 1),
    "a stop long before the end": ([HELLO, START, *PACKETS[:5], STOP], "before the end was played", 1),
    "all at once": ([HELLO, START, *PACKETS], "ahead of what is played", 1),
    "a packet of another length": ([HELLO, START, SHORT], "20 ms", 1),
    "no packet": ([HELLO, START, b""], "empty packet", 1),
    "garbage": ([HELLO, START, b"\xff" * 40], "no Opus packet", 1),
    "no header": ([HELLO, START, PACKETS[0][:3]], "header of version 3", 3),
    "a header of another version": ([HELLO, START, v2(PACKETS[0], version=3)], "header of version 2", 2),
    "a header of JSON": ([HELLO, START, v2(PACKETS[0], kind=1)], "header of version 2", 2),
    "a wrong size": ([HELLO, START, v2(PACKETS[0], size=3)], "header of version 2", 2),
}


@pytest.mark.parametrize("name", VIOLATIONS)
def test_h1_a_server_that_breaks_a_rule_is_refused(name: str) -> None:
    script, why, version = VIOLATIONS[name]
    with pytest.raises(Refusal, match=why):
        play(Rules(version), script)


@pytest.mark.parametrize("version", [1, 2, 3])
def test_h1_a_good_server_is_not(version: int) -> None:
    rules = Rules(version)
    packets = [framed(packet, version) for packet in PACKETS[:8]]
    paced = [item for packet in packets[5:] for item in (0.06, packet)]
    play(rules, [HELLO, STT, START, {"type": "llm", "emotion": "happy", "text": "x"}, sentence("One."), *packets[:5],
                 *paced, 0.36, STOP, STT])  # fmt: skip
    assert not rules.underruns


def test_h1_the_user_may_cut_a_reply_short() -> None:
    play(Rules(), [HELLO, START, *PACKETS[:5], "abort", PACKETS[5], STOP, STT, START, PACKETS[6]])


def test_h2_silence_in_the_middle_is_counted() -> None:
    rules = Rules()
    play(rules, [HELLO, START, PACKETS[0], 0.5, PACKETS[1]])
    assert rules.underruns == [pytest.approx(0.44)]


def test_the_simulators_opus_is_opus() -> None:
    decoder = opus_decoder()
    assert len(np.concatenate([decoded(decoder, packet) for packet in PACKETS])) == len(PACKETS) * 2880

"""The forms of what goes out, exactly, and the checks of what comes in (docs/websocket-api.md)."""

from __future__ import annotations

import time
from typing import Any

import pytest

from core import messages
from core.errors import BadRequest
from core.events import Failed, Heard, ReplyState, Timed, Uploaded, UploadState
from core.frames import Activity, Transcript
from core.messages import AudioData, Login, Message, Register, StartRecognition, parse

COLLECTED = time.time()
"""The messages below are made then, which in a long run is a while ago."""


def form(message: Message) -> Message:
    """The message with 0 for its time, which is now, in ms."""
    if "timestamp" in message:
        assert abs(message["timestamp"] / 1000 - COLLECTED) < 60
        return {**message, "timestamp": 0}
    return message


FORMS: list[tuple[Message, Message]] = [
    (
        messages.login_success("7"),
        {"type": "login_success", "session_id": "7", "username": "User_7", "timestamp": 0},
    ),
    (
        messages.login_success("7", resumed=False, missed=3),
        {
            "type": "login_success",
            "session_id": "7",
            "username": "User_7",
            "timestamp": 0,
            "resumed": False,
            "missed": 3,
        },
    ),
    (messages.heartbeat_response(), {"type": "heartbeat_response", "timestamp": 0}),
    (messages.sync(118), {"type": "sync", "seq": 118}),
    (messages.media("7", "p1"), {"type": "media", "session_id": "7", "page": "p1"}),
    (messages.history_cleared("7"), {"type": "history_cleared", "session_id": "7"}),
    (
        messages.wsa_registered("web", "user_7", "7", 1),
        {
            "type": "wsa_registered",
            "role": "web",
            "username": "user_7",
            "session_id": "7",
            "connections": 1,
            "timestamp": 0,
        },
    ),
    (
        messages.wsa_status("human", "User_7", True, 2),
        {
            "type": "wsa_status",
            "role": "human",
            "username": "User_7",
            "connected": True,
            "connections": 2,
            "timestamp": 0,
        },
    ),
    (
        messages.wsa_command({"type": "control"}, "User_7"),
        {"type": "wsa_command", "data": {"type": "control"}, "Username": "User_7", "timestamp": 0},
    ),
    (
        messages.wsa_error("bad_message", "no", "login"),
        {"type": "wsa_error", "code": "bad_message", "message": "no", "ref": "login", "timestamp": 0},
    ),
    (
        messages.envelope("note", "tea", "系统", "7"),
        {"type": "note", "content": "tea", "source": "系统", "session_id": "7", "metadata": {}, "timestamp": 0},
    ),
    (
        messages.asr_result("7", "hi", False),
        {"type": "asr_result", "session_id": "7", "text": "hi", "is_final": False, "Username": "User_7"},
    ),
]


@pytest.mark.parametrize(("message", "expected"), FORMS, ids=lambda value: str(value["type"]))
def test_b2_forms_of_outgoing_messages(message: Message, expected: Message) -> None:
    assert form(message) == expected


def test_b5_chat_lines_have_five_keys_and_statuses_those_and_status() -> None:
    five = {"type", "sender", "content", "Username", "model_info"}
    assert set(messages.chat_message("回音", "hi", "User_7", "x")) == five
    for activity in Activity:
        status = messages.status_update(activity, "User_7")
        assert set(status) == five | {"status"}
        assert status["status"] == activity
        assert status["content"]


def test_b5_only_a_final_with_words_is_a_chat_line() -> None:
    def types(transcript: Transcript) -> list[str]:
        return [message["type"] for message in messages.messages_for(Heard(transcript), "7", "Mira")]

    assert types(Transcript("hi", final=False)) == ["asr_result"]
    assert types(Transcript("hi")) == ["asr_result", "chat_message"]
    assert types(Transcript("")) == ["asr_result"]


def test_e3_pages_are_told_how_far_an_upload_is() -> None:
    def form_of(event: Uploaded) -> list[Message]:
        return messages.messages_for(event, "7", "Mira")

    head = {"type": "upload", "session_id": "7", "upload_id": "u1"}
    assert form_of(Uploaded("u1", UploadState.RECOGNIZING, 1 / 3)) == [
        {**head, "state": "recognizing", "progress": 0.333}
    ]
    assert form_of(Uploaded("u1", UploadState.RECOGNIZING)) == [{**head, "state": "recognizing"}]
    assert form_of(Uploaded("u1", UploadState.FINAL)) == [{**head, "state": "final"}]
    failed = Uploaded("u1", UploadState.ERROR, code="asr_failed", message="it is away")
    assert form_of(failed) == [{**head, "state": "error", "code": "asr_failed", "text": "it is away"}]


def test_k2_what_operators_are_told_is_not_for_pages() -> None:
    timed = Timed("r1", "speech", ReplyState.END, "demo")
    assert messages.messages_for(timed, "7", "Mira") == []
    assert messages.messages_for(Failed("tts", "espeak", "tts_failed", "no voice"), "7", "Mira") == []


@pytest.mark.parametrize("last_seq", [0, 118, 1_752_812_345_678, None])
def test_b7_a_login_may_say_what_it_has(last_seq: int | None) -> None:
    assert parse(Login, {"type": "login", "session_id": 7, "last_seq": last_seq}).last_seq == last_seq


@pytest.mark.parametrize("last_seq", [-1, 1.0, "5", True, [], {}], ids=repr)
def test_b7_a_number_that_is_none_is_refused(last_seq: Any) -> None:
    with pytest.raises(BadRequest, match="last_seq"):
        parse(Login, {"type": "login", "session_id": 7, "last_seq": last_seq})


@pytest.mark.parametrize(
    ("model", "field", "value"),
    [
        (Register, "username", 7), (Register, "token", "x" * 5000), (StartRecognition, "sample_rate", 1.5),
        (StartRecognition, "format", []), (AudioData, "sequence", True), (AudioData, "sequence", "1"),
        (AudioData, "audio", None),
    ],
)  # fmt: skip
def test_a8_wrong_fields_are_named(model: Any, field: str, value: object) -> None:
    with pytest.raises(BadRequest, match=field):
        parse(model, {"type": "x", "username": "User_7", "audio": "", field: value})


def test_a8_fields_that_nobody_knows_are_ignored() -> None:
    assert (
        parse(Register, {"type": "wsa_register_web", "username": "User_7", "output": True, "x": 1}).username == "User_7"
    )

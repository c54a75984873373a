"""What the server recognised, out of its JSON. Tolerant of every shape that is known to occur."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from asr.doubao.protocol import ProtocolError

MAX_UTTERANCES = 10_000


@dataclass(frozen=True, slots=True)
class Utterance:
    """One sentence. Times in ms of the connection's audio; a definite one will not change any more."""

    text: str
    start_ms: int
    end_ms: int
    definite: bool


@dataclass(frozen=True, slots=True)
class Response:
    """`text`: everything recognised on this connection so far, newest wording, "" where there is none."""

    text: str = ""
    utterances: tuple[Utterance, ...] = ()
    log_id: str = ""

    @classmethod
    def parse(cls, payload: bytes) -> Response:
        """From a full server response. Raises `ProtocolError` if that is no JSON object."""
        body = json_object(payload)
        result = body.get("result")
        if isinstance(result, list):
            result = result[0] if result else None
        if not isinstance(result, Mapping):
            return cls()
        additions = result.get("additions")
        log_id = additions.get("log_id") if isinstance(additions, Mapping) else ""
        listed = result.get("utterances")
        listed = listed[:MAX_UTTERANCES] if isinstance(listed, list) else []
        utterances = tuple(_utterance(item) for item in listed if isinstance(item, Mapping))
        return cls(_text(result.get("text")), utterances, _text(log_id)[:100])


def json_object(payload: bytes) -> dict[str, Any]:
    """A payload as a JSON object, {} for an empty one. Raises `ProtocolError`."""
    if not payload:
        return {}
    try:
        body = json.loads(payload)
    except (ValueError, RecursionError):
        raise ProtocolError("the payload is no JSON") from None
    if not isinstance(body, dict):
        raise ProtocolError("the payload is no JSON object")
    return body


def error_text(payload: bytes) -> str:
    """What an error frame says: the "error" of a JSON object, or any other text as it is; at most 500 characters."""
    text = payload.decode("utf-8", "replace")
    try:
        body = json.loads(text)
    except (ValueError, RecursionError):
        body = None
    if isinstance(body, dict):
        text = next((body[key] for key in ("error", "message") if isinstance(body.get(key), str)), text)
    return text[:500]


def _utterance(item: Mapping[str, Any]) -> Utterance:
    start = _number(item.get("start_time"))
    return Utterance(
        _text(item.get("text")), start, max(start, _number(item.get("end_time"))), item.get("definite") is True
    )


def _text(value: object) -> str:
    return value if isinstance(value, str) else ""


def _number(value: object) -> int:
    return max(0, int(value)) if isinstance(value, int | float) and abs(value) < 1e12 else 0

"""What the server of the custom protocol says, written and read. Sans-I/O."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any

from asr.funasr.refusal import Refusal
from core.frames import Transcript


def status(kind: str, message: str, **fields: Any) -> str:
    """A status frame; fields that are None are left out."""
    return _frame({"type": "status", "status": kind, "message": message}, fields)


def ready(request_id: str, total_chunks: int | None, max_chunk_bytes: int, **fields: Any) -> str:
    """Chunks may come."""
    wanted = "chunks" if total_chunks is None else f"{total_chunks} chunk{'s' * (total_chunks != 1)}"
    return status(
        "ready", f"ready to receive {wanted}", request_id=request_id, total_chunks=total_chunks,
        max_chunk_bytes=max_chunk_bytes, **fields,
    )  # fmt: skip


def chunk_received(request_id: str, index: int, received: int, total_chunks: int | None) -> str:
    """The chunks up to now are safe."""
    message = f"chunk {index} received"
    return status(
        "chunk_received",
        message,
        request_id=request_id,
        chunk_index=index,
        received=received,
        total_chunks=total_chunks,
    )


def processing(request_id: str | None, size: int, duration_ms: int, waiting: int) -> str:
    """Recognition goes on, or begins when those who wait have had theirs."""
    return status(
        "processing", "recognition goes on", request_id=request_id, bytes=size, duration_ms=duration_ms, waiting=waiting
    )


def partial(request_id: str, text: str) -> str:
    """What is understood so far of an upload whose client asked for that (`live`)."""
    return status("partial", "understood so far", request_id=request_id, text=text)


def refused(refusal: Refusal) -> str:
    """The request has ended without a result."""
    return status(
        "error", str(refusal), request_id=refusal.request_id, code=refusal.code, retryable=refusal.retryable,
        missing=None if refusal.missing is None else list(refusal.missing),
    )  # fmt: skip


def result(
    transcript: Transcript, result_format: str, *, request_id: str | None, duration_ms: int, elapsed_ms: int
) -> str:
    """The final frame: the bare text, or JSON."""
    if result_format == "text":
        return transcript.text
    spoken = {"start_ms": round(transcript.start * 1000), "end_ms": round(transcript.end * 1000)}
    fields = {"request_id": request_id, "text": transcript.text, "is_final": True, "duration_ms": duration_ms}
    times = spoken if transcript.text else {}
    return _frame(
        {"type": "result"}, {**fields, "elapsed_ms": elapsed_ms, "confidence": transcript.confidence, **times}
    )


def _frame(head: dict[str, Any], fields: dict[str, Any]) -> str:
    return json.dumps(head | {k: v for k, v in fields.items() if v is not None}, ensure_ascii=False)


@dataclass(frozen=True, slots=True)
class Status:
    """How a request goes. `fields` is the whole message."""

    kind: str
    fields: dict[str, Any]

    @property
    def request_id(self) -> str | None:
        """Whose it is, None if the server does not say."""
        value = self.fields.get("request_id")
        return value if isinstance(value, str) else None

    def number(self, name: str) -> int | None:
        """A field that is a whole number, not negative."""
        value = self.fields.get(name)
        return value if isinstance(value, int) and not isinstance(value, bool) and value >= 0 else None

    def numbers(self, name: str) -> list[int] | None:
        """A field that is a list of whole numbers."""
        value = self.fields.get(name)
        if not isinstance(value, list) or not all(isinstance(n, int) and not isinstance(n, bool) for n in value):
            return None
        return value

    def text(self, name: str) -> str:
        """A field that is a string, else ""."""
        value = self.fields.get(name)
        return value if isinstance(value, str) else ""


@dataclass(frozen=True, slots=True)
class Result:
    """The end of a request; an empty `text` means that nothing was understood, or that an old server failed."""

    text: str
    fields: dict[str, Any]


def classify(frame: str) -> Status | Result | None:
    """What a text frame of any server of this protocol means; None for an object that says neither.

    An object with `status` is a status, whatever else it has; one with `text` is a result. Everything else is spoken
    words, also where they happen to be JSON, as a number does.
    """
    try:
        value = json.loads(frame)
    except (ValueError, RecursionError):
        return Result(frame.strip(), {})
    if not isinstance(value, dict):
        return Result(frame.strip(), {})
    if "status" in value:
        return Status(str(value["status"]), value)
    if "text" in value:
        return Result(value["text"].strip() if isinstance(value["text"], str) else "", value)
    return None

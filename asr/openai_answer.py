"""What the body of a transcription says (`json` and `verbose_json`). Sans-I/O."""

from __future__ import annotations

import json
import math
from typing import Any

from asr.openai_errors import problem
from core.frames import Transcript
from core.provider import safe

LARGEST = 1 << 20
"""Bytes; a longer answer is none."""
_NO_SPEECH = 0.6
_UNLIKELY = -1.0


def transcript(answer: bytes, server: str, key: str) -> Transcript:
    """The words of an answer, with times and confidence if it has segments. Raises `Failure` that names `server`."""
    nonsense = problem(f"{server} sent something that is no transcription")
    try:
        found = json.loads(answer)
    except (ValueError, RecursionError):
        raise nonsense from None
    if not isinstance(found, dict):
        raise nonsense
    if error := found.get("error"):
        detail = error.get("message") if isinstance(error, dict) else error
        raise problem(f"{server} reports an error", quoted=safe(str(detail), key), retryable=True)
    if not isinstance(found.get("text"), str):
        raise nonsense
    segments = found.get("segments")
    if isinstance(segments, list) and segments:
        return _of_segments([segment for segment in segments if isinstance(segment, dict)])
    return Transcript(found["text"].strip())


def _of_segments(segments: list[dict[str, Any]]) -> Transcript:
    """The segments that are speech, by Whisper's own rule: likely no speech, and unlikely words, is none."""
    kept = [s for s in segments if not (_number(s, "no_speech_prob", 0) > _NO_SPEECH and _likely(s) < _UNLIKELY)]
    text = "".join(str(s.get("text", "")) for s in kept).strip()
    if not text:
        return Transcript("")
    start, end = _number(kept[0], "start", 0), _number(kept[-1], "end", 0)
    rated = [_likely(s) for s in kept if "avg_logprob" in s]
    confidence = math.exp(min(0.0, sum(rated) / len(rated))) if rated else None
    return Transcript(text, start=start, end=end, confidence=confidence)


def _likely(segment: dict[str, Any]) -> float:
    return _number(segment, "avg_logprob", 0)


def _number(segment: dict[str, Any], key: str, default: float) -> float:
    value = segment.get(key)
    return float(value) if isinstance(value, int | float) and math.isfinite(value) else default

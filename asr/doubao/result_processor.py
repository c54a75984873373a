"""Of all that the service answers, only the text."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping
from typing import Any

log = logging.getLogger(__name__)


class RecognizedText(str):
    """The newest text of a turn, a plain `str` that also says whether it is the last word on it."""

    __slots__ = ("is_final",)
    is_final: bool

    def __new__(cls, text: str, is_final: bool = False) -> RecognizedText:
        """`text`, marked."""
        self = super().__new__(cls, text)
        self.is_final = is_final
        return self


class DoubaoResultProcessor:
    """Keeps `result.text` of the newest answer; it replaces the older one, for the service rewrites what it said.

    `user_callback` gets a `RecognizedText` whenever the text changed, and the final one always.
    `enable_streaming_log` logs how long each text is; what was said is never logged.
    """

    def __init__(
        self, user_callback: Callable[[RecognizedText], object] | None = None, enable_streaming_log: bool = False
    ) -> None:
        self._callback = user_callback
        self._log = enable_streaming_log
        self.text = RecognizedText("")
        """The newest."""

    def process(self, result: Any) -> RecognizedText:
        """Take an answer: a `RecognitionResult`, anything with `payload_msg`, or the service's JSON as a mapping."""
        payload = _field(result, "payload_msg")
        final = _field(result, "is_final") or _field(result, "is_last_package")
        answer = _field(payload if payload is not None else result, "result")
        if isinstance(answer, list):
            answer = answer[0] if answer else None
        text = answer.get("text") if isinstance(answer, Mapping) else None
        newest = RecognizedText(text if isinstance(text, str) else self.text, bool(final))
        changed = newest != self.text
        self.text = newest
        if changed or newest.is_final:
            if self._log:
                log.info("doubao: %s text of %d characters", "final" if newest.is_final else "partial", len(newest))
            if self._callback is not None:
                self._callback(newest)
        return newest

    def reset(self) -> None:
        """Forget the turn."""
        self.text = RecognizedText("")


def create_text_only_callback(
    user_callback: Callable[[RecognizedText], object] | None = None, enable_streaming_log: bool = False
) -> Callable[[Any], None]:
    """An `on_result` or `result_callback` that hands on the text alone. Every final result begins a new turn."""
    processor = DoubaoResultProcessor(user_callback, enable_streaming_log)

    def callback(result: Any) -> None:
        if processor.process(result).is_final:
            processor.reset()

    return callback


def _field(value: Any, name: str) -> Any:
    return value.get(name) if isinstance(value, Mapping) else getattr(value, name, None)

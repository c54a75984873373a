"""Why the server of the custom protocol does not do what it was asked to."""

from __future__ import annotations

from collections.abc import Sequence

from core.errors import EmanError

CODES: dict[str, bool] = {
    "bad_request": False,
    "bad_base64": False,
    "no_session": False,
    "session_exists": False,
    "too_many_sessions": True,
    "chunk_too_large": False,
    "too_large": False,
    "chunk_conflict": False,
    "incomplete": True,
    "size_mismatch": False,
    "checksum_mismatch": True,
    "unsupported_format": False,
    "path_not_allowed": False,
    "timeout": True,
    "busy": True,
    "asr_failed": True,
    "cancelled": False,
}
"""Every error code → whether the same request may succeed later."""


class Refusal(EmanError):
    """A request ends without a result. `missing`: the chunks that an upload lacks."""

    stage = "asr"

    def __init__(
        self,
        code: str,
        message: str,
        *,
        request_id: str | None = None,
        missing: Sequence[int] | None = None,
        retryable: bool | None = None,
    ) -> None:
        super().__init__(message, code=code, retryable=CODES[code] if retryable is None else retryable)
        self.request_id = request_id
        self.missing = missing

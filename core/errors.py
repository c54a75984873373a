"""The exception tree. Everything this product raises on purpose derives from `EmanError`.

EmanError
├── SettingsError          a setting is wrong (raised at start, with the key's path)
├── BadRequest             the caller sent something we can't use
│   ├── SessionNotFound
│   └── PayloadTooLarge
├── Refused                the request is fine, the server won't do it now
│   ├── ServerFull
│   ├── OriginRefused
│   ├── RateLimited
│   └── Unauthorized
└── AdapterError           a stage failed (recognizer, dialogue, synthesizer, face)
    ├── RecognizerError
    ├── DialogueError
    ├── SynthesizerError
    ├── LipSyncError
    └── FaceError
"""


class EmanError(Exception):
    """Base of all deliberate errors.

    `str(error)` is fit to be shown to a user: no secrets, no transcripts. `code` is a stable
    machine-readable word; `retryable` says whether the same call may succeed later. `quoted` are words of
    another server, which may repeat what the user said: they are shown, but `loggable` is without them.
    """

    code = "error"
    retryable = False
    stage = "server"
    """Where it happened: asr, dialogue, tts, lipsync, face, or server."""

    def __init__(
        self, message: str, *, code: str | None = None, retryable: bool | None = None, quoted: str = ""
    ) -> None:
        super().__init__(f"{message} ({quoted})" if quoted else message)
        self.loggable = message
        if code is not None:
            self.code = code
        if retryable is not None:
            self.retryable = retryable


class SettingsError(EmanError):
    """A setting is unknown or out of range."""

    code = "bad_settings"


class BadRequest(EmanError):
    """The caller's input can't be used."""

    code = "bad_request"


class SessionNotFound(BadRequest):
    """No live session has that id."""

    code = "session_not_found"


class PayloadTooLarge(BadRequest):
    """A body, a text or an upload is over its documented limit."""

    code = "too_large"


class Refused(EmanError):
    """Well-formed, but not now or not for you."""

    code = "refused"


class ServerFull(Refused):
    """The session cap is reached."""

    code = "server_full"
    retryable = True


class OriginRefused(Refused):
    """A web page of another site asks for what only our own pages may do."""

    code = "origin_refused"


class RateLimited(Refused):
    """Too many requests from one address; `retry_after_s` is when the next one is welcome, None when unknown."""

    code = "rate_limited"
    retryable = True

    def __init__(self, message: str, *, code: str | None = None, retry_after_s: float | None = None) -> None:
        super().__init__(message, code=code)
        self.retry_after_s = retry_after_s


class Unauthorized(Refused):
    """A token is missing or wrong."""

    code = "auth_failed"


class AdapterError(EmanError):
    """A stage failed. `adapter` names the adapter, for logs and metrics."""

    code = "adapter_failed"

    def __init__(
        self,
        message: str,
        *,
        adapter: str = "",
        code: str | None = None,
        retryable: bool | None = None,
        quoted: str = "",
    ) -> None:
        super().__init__(message, code=code, retryable=retryable, quoted=quoted)
        self.adapter = adapter


class RecognizerError(AdapterError):
    """Speech could not be recognised."""

    code = "asr_failed"
    stage = "asr"


class DialogueError(AdapterError):
    """The dialogue back end gave no answer."""

    code = "dialogue_failed"
    stage = "dialogue"


class SynthesizerError(AdapterError):
    """Text could not be spoken."""

    code = "tts_failed"
    stage = "tts"


class LipSyncError(AdapterError):
    """Mouth shapes could not be computed."""

    code = "lipsync_failed"
    stage = "lipsync"


class FaceError(AdapterError):
    """A picture could not be drawn."""

    code = "face_failed"
    stage = "face"

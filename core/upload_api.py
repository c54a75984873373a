"""POST /humanaudio: a file that the avatar speaks (LiveTalking's), or that the user asks with.

Whoever may not use the session is told so before the file is read: by headers and query before anything of the body,
otherwise by the fields that come before the file.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from typing import BinaryIO

from aiohttp import hdrs, web

from core.access import Access
from core.envelope import ok
from core.errors import BadRequest, Refused, Unauthorized
from core.frames import LinkState, SpeechChunk
from core.log import bound
from core.recording import Recording
from core.session import Session
from core.sessions import Sessions
from core.upload import read_upload

MAX_AT_ONCE = 4
"""Files of one session that may be on their way; also of all that come before their session's id."""

Sound = Callable[[], AsyncIterator[SpeechChunk]]


@dataclass(frozen=True, slots=True)
class Openers:
    """What becomes of a file. Both take it over, and raise `BadRequest` for what is no audio or too long."""

    sound: Callable[[BinaryIO], Awaitable[Sound]]
    """Speech to be played."""
    recording: Callable[[BinaryIO], Awaitable[Recording]]
    """Sound to be listened to."""


@dataclass(slots=True)
class _Arrival:
    """One request's file on its way."""

    request: web.Request
    given: dict[str, str]
    """The query."""
    counted: list[str] = field(default_factory=list)


class UploadApi:
    """The route. `max_bytes`: of a file."""

    def __init__(self, sessions: Sessions, access: Access, openers: Openers, *, max_bytes: int) -> None:
        self._sessions = sessions
        self._access = access
        self._openers = openers
        self._max_bytes = max_bytes
        self._arriving: Counter[str] = Counter()

    def routes(self) -> list[web.RouteDef]:
        """For `Application.add_routes`."""
        return [web.post("/humanaudio", self.human_audio, expect_handler=_answer_first)]

    async def human_audio(self, request: web.Request) -> web.Response:
        """Take a file (multipart: `sessionid`, `file`; `mode`: "speak" or "ask"; `interrupt`: "true")."""
        if not request.content_type.startswith("multipart/"):
            raise BadRequest("expected multipart/form-data with sessionid and file")
        arrival = _Arrival(request, dict(request.query))
        if "sessionid" in arrival.given and self._shows_proof(arrival):
            self._session(arrival, arrival.given)
        try:
            fields, file = await read_upload(request, self._max_bytes, lambda known: self._admit(arrival, known))
        finally:
            self._arriving.subtract(arrival.counted)
            self._arriving += Counter()  # drops what is zero
        try:
            fields = {**arrival.given, **fields}
            session = self._session(arrival, fields)
            if file is None:
                raise BadRequest("file is missing")
            with bound(session.id):
                return await self._use(session, fields, file)
        except BaseException:
            if file is not None:
                file.close()
            raise

    # -- inside

    async def _use(self, session: Session, fields: Mapping[str, str], file: BinaryIO) -> web.Response:
        interrupt = fields.get("interrupt") == "true"
        if _mode(fields) == "ask":
            recording = await self._openers.recording(file)
            if interrupt:
                session.interrupt()
            return ok({"upload_id": await session.transcriber.ask(recording)}, msg=_note(session))
        sound = await self._openers.sound(file)
        if interrupt:
            session.interrupt()
        session.conversation.play(sound)
        return ok(msg=_note(session))

    def _admit(self, arrival: _Arrival, fields: Mapping[str, str]) -> None:
        """Before the file is read: whether it may come."""
        known = {**arrival.given, **fields}
        _mode(known)
        session_id = ""
        if "sessionid" in known:
            session_id = self._session(arrival, known).id
        elif self._access.enabled:
            raise Unauthorized("sessionid and token must come before the file, or in the query")
        if self._arriving[session_id] >= MAX_AT_ONCE:
            raise Refused("other files are still being uploaded", code="busy", retryable=True)
        self._arriving[session_id] += 1
        arrival.counted.append(session_id)

    def _session(self, arrival: _Arrival, fields: Mapping[str, str]) -> Session:
        if "sessionid" not in fields:
            raise BadRequest("sessionid is missing")
        session = self._sessions.find(fields["sessionid"])
        self._access.may_use(arrival.request, session.id, fields.get("token"))
        return session

    def _shows_proof(self, arrival: _Arrival) -> bool:
        headers = arrival.request.headers
        shown = "token" in arrival.given or hdrs.AUTHORIZATION in headers or "X-API-Key" in headers
        return shown or not self._access.enabled


def _mode(fields: Mapping[str, str]) -> str:
    mode = fields.get("mode") or "speak"
    if mode not in ("speak", "ask"):
        raise BadRequest('mode must be "speak" or "ask"')
    return mode


def _note(session: Session) -> str:
    return "ok" if session.link is LinkState.CONNECTED else "ok, spoken once the media connection is up"


async def _answer_first(request: web.Request) -> None:
    """`Expect: 100-continue` is answered when it is clear that the body is wanted (see `read_upload`)."""

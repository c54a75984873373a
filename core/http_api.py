"""LiveTalking's HTTP API, for its clients unchanged, and a few routes of our own page (form: core/envelope.py)."""

from __future__ import annotations

import asyncio
import contextlib
import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import PurePath
from typing import Any, Protocol

from aiohttp import web

from core.access import Access
from core.cast import Cast
from core.clips import Clip, ClipShelf
from core.envelope import json_body, ok, spoken_text
from core.errors import BadRequest, SessionNotFound, Unauthorized
from core.frames import FaceChoice, LinkState, Utterance
from core.identity import Tokens, session_id_of
from core.log import bound
from core.session import Session
from core.sessions import Sessions
from core.sse import EventStreams
from core.viseme_feed import VisemeFeed
from core.visemes import VisemeFormat

_SSE_LOOK_S = 2.0
_MAX_PAGE = 64


class Memory(Protocol):
    """What was kept of earlier conversations."""

    def set_kept(self, session_id: str, kept: bool) -> None:
        """Keep the session's conversation, or keep nothing of it."""

    async def utterances(self, session_id: str, turns: int) -> list[Utterance]:
        """The last turns of a conversation, as a dialogue engine sees them; oldest first."""


@dataclass(frozen=True, slots=True)
class ApiLimits:
    """See `limits` in config/default.yaml."""

    max_upload_bytes: int
    max_text_chars: int


class HttpApi:
    """The routes, but for /humanaudio (core/upload_api.py)."""

    def __init__(
        self,
        sessions: Sessions,
        streams: EventStreams,
        cast: Cast,
        *,
        access: Access,
        tokens: Tokens,
        memory: Memory,
        history_turns: int,
        limits: ApiLimits,
        clips: ClipShelf,
        visemes: VisemeFeed,
        public_config: Callable[[], Mapping[str, Any]],
    ) -> None:
        self._sessions = sessions
        self._streams = streams
        self._cast = cast
        self._access = access
        self._tokens = tokens
        self._memory = memory
        self._history_turns = history_turns
        self._limits = limits
        self._clips = clips
        self._visemes = visemes
        self._public_config = public_config

    def routes(self) -> list[web.RouteDef]:
        """For `Application.add_routes`."""
        return [
            web.post("/offer", self.offer),
            web.post("/human", self.human),
            web.post("/interrupt_talk", self.interrupt_talk),
            web.post("/is_speaking", self.is_speaking),
            web.post("/set_audiotype", self.set_audiotype),
            web.get("/sse", self.sse),
            web.get("/api/config", self.public_config),
            web.post("/api/hangup", self.hangup),
        ]

    async def offer(self, request: web.Request) -> web.Response:
        """SDP offer in, answer and session id out (not in the envelope). `sessionid` takes a session up again.

        Of type "websocket" there is no SDP: sound goes over the socket (core/services/audio.py).
        """
        body = await json_body(request)
        sdp, kind = body.get("sdp"), body.get("type", "offer")
        if kind == "websocket":
            sdp = None
        elif not isinstance(sdp, str) or kind != "offer":
            raise BadRequest('expected {"sdp": "<text>", "type": "offer"}, or {"type": "websocket"}')
        if body.get("sessionid") in (None, ""):
            self._access.may_open(request, _text(body, "token"))
            self._sessions.check_room()
            face, clips = await self._face(body, FaceChoice()), await self._wanted_clips(body)
            session, answer = await self._sessions.open(sdp, page=_page(body), face=face, voice=_voice(body))
            session.media.stock(clips)
        else:
            session, answer = await self._come_back(request, body, sdp)
        if isinstance(storage := body.get("storage"), bool):
            self.keep_history(session.id, storage)
        token = self._tokens.issue(session.id, session.face)
        return web.json_response(
            {
                **({"sdp": answer, "type": "answer"} if sdp is not None else {"type": "websocket"}),
                "sessionid": session.id,
                "token": token,
                "avatar": session.face.presenter or self._cast.default,
                "voice": session.line is not None,
                "background": PurePath(self._cast.background(session.face)).name,  # never where a file lies
            }
        )

    async def _come_back(self, request: web.Request, body: Mapping[str, Any], sdp: str | None) -> tuple[Session, str]:
        session_id, token = session_id_of(body["sessionid"]), _text(body, "token")
        session = self._sessions.get(session_id)
        if session is not None:
            self._access.may_use(request, session_id, token)
            face, clips = await self._face(body, session.face), await self._wanted_clips(body)
            answer = await self._sessions.resume(session, sdp, page=_page(body), face=face)
            session.media.stock(clips)
            return session, answer
        try:
            earlier = self._tokens.check(token, session_id)
        except Unauthorized:
            raise SessionNotFound("session not found") from None
        # ours, from before a restart: the same id and face, and what was kept of the conversation
        face, clips = await self._face(body, await self._cast.kept(earlier)), await self._wanted_clips(body)
        memory = await self._memory.utterances(session_id, self._history_turns)
        session, answer = await self._sessions.open(
            sdp, page=_page(body), face=face, session_id=session_id, memory=memory, voice=_voice(body)
        )
        session.media.stock(clips)
        return session, answer

    async def _wanted_clips(self, body: Mapping[str, Any]) -> tuple[Clip, ...]:
        """The clips that an offer brings. Raises `BadRequest`. Only for who may open or use a session."""
        return await asyncio.to_thread(self._clips.wanted, body.get("custom_config"))

    async def _face(self, body: Mapping[str, Any], now: FaceChoice) -> FaceChoice:
        """Which face an offer wants; what it does not name stays. Raises `BadRequest`, `FaceError`."""
        presenter, background = _text(body, "avatar") or now.presenter, _text(body, "background") or now.background
        return await self._cast.choose(presenter, background)

    def keep_history(self, session_id: str, kept: bool) -> None:
        """The user's switch. Raises `SessionNotFound`."""
        self._sessions.find(session_id).storage = kept
        self._memory.set_kept(session_id, kept)

    async def human(self, request: web.Request) -> web.Response:
        """Speak a text (`type` echo) or answer it (`type` chat)."""
        body = await json_body(request)
        session = self._session(request, body)
        text = spoken_text(body.get("text"), self._limits.max_text_chars)
        info = body.get("tts")
        interrupt = bool(body.get("interrupt"))
        info = info if isinstance(info, dict) else {}
        with bound(session.id):
            match body.get("type", "echo"):
                case "echo":
                    session.conversation.say(text, interrupt=interrupt, info=info)
                case "chat":
                    session.conversation.chat(text, interrupt=interrupt, info=info)
                case _:
                    raise BadRequest('type must be "echo" or "chat"')
        return ok(msg=_waiting(session))

    async def interrupt_talk(self, request: web.Request) -> web.Response:
        """Silence the avatar, and stop listening to files."""
        session = self._session(request, await json_body(request))
        with bound(session.id):
            session.interrupt()
        return ok()

    async def is_speaking(self, request: web.Request) -> web.Response:
        """Whether an answer is being made or played."""
        return ok(self._session(request, await json_body(request)).conversation.busy)

    async def set_audiotype(self, request: web.Request) -> web.Response:
        """Show a clip (2 and above), or the presenter again (0, 1). LiveTalking's: an unknown one changes nothing."""
        body = await json_body(request)
        session = self._session(request, body)
        with bound(session.id):
            await session.media.perform(_whole(body, "audiotype"))
        return ok()

    async def sse(self, request: web.Request) -> web.StreamResponse:
        """Server-sent events: start and end of every utterance, when it is really played; `visemes` if asked for."""
        session = self._session(request, request.query)
        form = _viseme_format(request.query.get("visemes", ""))
        response = web.StreamResponse(
            headers={"Content-Type": "text/event-stream", "Cache-Control": "no-cache", "X-Accel-Buffering": "no"}
        )
        with contextlib.ExitStack() as until_over:
            stream = until_over.enter_context(self._streams.open(session.id))
            if form is not None:
                until_over.callback(self._visemes.subscribe(session.id, form, stream.put))
            await response.prepare(request)
            while request.transport is not None and not request.transport.is_closing():
                try:
                    event = await stream.next(_SSE_LOOK_S)
                except TimeoutError:
                    continue  # nothing is sent on an idle stream, so only the transport tells that the reader left
                if event is None:
                    break
                await response.write(f"data: {json.dumps(event)}\n\n".encode())
        return response

    async def public_config(self, request: web.Request) -> web.Response:
        """What a page needs to know."""
        return ok(self._public_config())

    async def hangup(self, request: web.Request) -> web.Response:
        """End a session at once. With `leave` the page goes, perhaps only to be reloaded: it may still come back."""
        body = await json_body(request)
        session = self._session(request, body)
        if body.get("leave") is True or session.device:  # who watches a device's conversation does not end it
            if _page(body) in ("", session.page):  # the reloaded page's offer may have overtaken this farewell
                await self._sessions.leave(session)
        else:
            await self._sessions.close(session)
        return ok()

    # -- inside

    def _session(self, request: web.Request, body: Mapping[str, Any]) -> Session:
        if "sessionid" not in body:
            raise BadRequest("sessionid is missing")
        session = self._sessions.find(body["sessionid"])
        self._access.may_use(request, session.id, _text(body, "token"))
        return session


def _text(body: Mapping[str, Any], key: str) -> str | None:
    value = body.get(key)
    if value is not None and not isinstance(value, str):
        raise BadRequest(f"{key} must be a string")
    return value


def _voice(body: Mapping[str, Any]) -> bool | None:
    value = body.get("voice")
    if value is not None and not isinstance(value, bool):
        raise BadRequest("voice must be true or false")
    return value


def _viseme_format(name: str) -> VisemeFormat | None:
    try:
        return VisemeFormat(name) if name else None
    except ValueError:
        raise BadRequest(f"visemes must be one of {', '.join(VisemeFormat)}") from None


def _whole(body: Mapping[str, Any], key: str) -> int:
    value = body.get(key)
    if isinstance(value, str) and value.strip().lstrip("-").isdecimal() and len(value) < 10:
        value = int(value)
    if not isinstance(value, int) or isinstance(value, bool):
        raise BadRequest(f"{key} must be an integer")
    return value


def _page(body: Mapping[str, Any]) -> str:
    page = _text(body, "page") or ""
    if len(page) > _MAX_PAGE:
        raise BadRequest(f"page is longer than {_MAX_PAGE} characters")
    return page


def _waiting(session: Session) -> str:
    return "ok" if session.link is LinkState.CONNECTED else "ok, spoken once the media connection is up"

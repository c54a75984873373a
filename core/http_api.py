"""LiveTalking's HTTP API, for its clients unchanged, and a few routes of our own page.

Answers are `{"code": 0, "msg": "ok"[, "data"]}`; errors are `{"code": -1, "msg", "error"}` with HTTP 200,
except 401, 413 and 429, which carry the same body.
"""

from __future__ import annotations

import json
import logging
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from dataclasses import dataclass
from typing import Any, BinaryIO

from aiohttp import web
from aiohttp.typedefs import Handler

from core.errors import BadRequest, EmanError, PayloadTooLarge, RateLimited, Unauthorized
from core.frames import LinkState, SpeechChunk
from core.log import bound
from core.messages import json_value
from core.sessions import Session, Sessions
from core.sse import EventStreams
from core.upload import read_upload

logger = logging.getLogger(__name__)

_SSE_LOOK_S = 2.0
_STATUS = {Unauthorized: 401, PayloadTooLarge: 413, RateLimited: 429}

Sound = Callable[[], AsyncIterator[SpeechChunk]]


@dataclass(frozen=True, slots=True)
class ApiLimits:
    """See `limits` in config/default.yaml."""

    max_upload_bytes: int
    max_text_chars: int


class HttpApi:
    """The routes. `open_sound` turns an uploaded file into speech (raises `BadRequest`)."""

    def __init__(
        self,
        sessions: Sessions,
        streams: EventStreams,
        *,
        open_sound: Callable[[BinaryIO], Awaitable[Sound]],
        limits: ApiLimits,
        public_config: Callable[[], Mapping[str, Any]],
        admin_config: Callable[[], Mapping[str, Any]],
    ) -> None:
        self._sessions = sessions
        self._streams = streams
        self._open_sound = open_sound
        self._limits = limits
        self._public_config = public_config
        self._admin_config = admin_config

    def routes(self) -> list[web.RouteDef]:
        """For `Application.add_routes`."""
        return [
            web.post("/offer", self.offer),
            web.post("/human", self.human),
            web.post("/humanaudio", self.human_audio),
            web.post("/interrupt_talk", self.interrupt_talk),
            web.post("/is_speaking", self.is_speaking),
            web.get("/sse", self.sse),
            web.get("/api/admin/config", self.admin_config),
            web.get("/api/admin/sessions", self.admin_sessions),
            web.get("/api/config", self.public_config),
            web.post("/api/hangup", self.hangup),
        ]

    async def offer(self, request: web.Request) -> web.Response:
        """SDP offer in, answer and session id out (not in the envelope). `sessionid` and `token` resume a session."""
        body = await _json(request)
        sdp, kind = body.get("sdp"), body.get("type", "offer")
        if not isinstance(sdp, str) or kind != "offer":
            raise BadRequest('expected {"sdp": "<text>", "type": "offer"}')
        if body.get("sessionid") not in (None, ""):
            session, answer = await self._sessions.resume(body["sessionid"], _text(body, "token"), sdp)
        else:
            session, answer = await self._sessions.open(sdp)
        return web.json_response({"sdp": answer, "type": "answer", "sessionid": session.id, "token": session.token})

    async def human(self, request: web.Request) -> web.Response:
        """Speak a text (`type` echo) or answer it (`type` chat)."""
        body = await _json(request)
        session = self._session(body)
        text = self._clean(body.get("text"))
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
        return _ok(msg=_waiting(session))

    async def human_audio(self, request: web.Request) -> web.Response:
        """Speak an uploaded audio file (multipart: `sessionid`, `file`)."""
        if not request.content_type.startswith("multipart/"):
            raise BadRequest("expected multipart/form-data with sessionid and file")
        fields, file = await read_upload(request, self._limits.max_upload_bytes)
        try:
            session = self._session(fields)
            if file is None:
                raise BadRequest("file is missing")
            sound = await self._open_sound(file)
            with bound(session.id):
                session.conversation.play(sound, interrupt=fields.get("interrupt") == "true")
        except BaseException:
            if file is not None:
                file.close()
            raise
        return _ok(msg=_waiting(session))

    async def interrupt_talk(self, request: web.Request) -> web.Response:
        """Silence the avatar."""
        session = self._session(await _json(request))
        with bound(session.id):
            session.conversation.interrupt()
        return _ok()

    async def is_speaking(self, request: web.Request) -> web.Response:
        """Whether an answer is being made or played."""
        return _ok(self._session(await _json(request)).conversation.busy)

    async def sse(self, request: web.Request) -> web.StreamResponse:
        """Server-sent events: start and end of every utterance, when it is really played."""
        session = self._session({"sessionid": request.query.get("sessionid", "")})
        response = web.StreamResponse(
            headers={"Content-Type": "text/event-stream", "Cache-Control": "no-cache", "X-Accel-Buffering": "no"}
        )
        with self._streams.open(session.id) as stream:
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

    async def admin_config(self, request: web.Request) -> web.Response:
        """The settings in force under LiveTalking's names, and all of ours under `settings`, secrets masked."""
        return _ok({"config": self._admin_config()})

    async def admin_sessions(self, request: web.Request) -> web.Response:
        """The live sessions."""
        return _ok({"sessions": [self._described(session) for session in self._sessions.all()]})

    async def public_config(self, request: web.Request) -> web.Response:
        """What a page needs to know."""
        return _ok(self._public_config())

    async def hangup(self, request: web.Request) -> web.Response:
        """End a session at once (sent as a beacon when the page closes)."""
        body = await _json(request)
        session = self._session(body)
        self._sessions.check_token(session, _text(body, "token"))
        await self._sessions.close(session)
        return _ok()

    # -- inside

    def _described(self, session: Session) -> dict[str, Any]:
        """LiveTalking's keys, and ours."""
        options = self._admin_config()
        return {
            "sessionid": session.id,
            "recording": False,
            **{key: options[key] for key in ("model", "avatar_id", "REF_FILE", "transport", "batch_size", "customopt")},
            "link": session.media.link().value,
            "activity": session.conversation.activity.value,
            **session.media.status(),
        }

    def _session(self, body: Mapping[str, Any]) -> Session:
        if "sessionid" not in body:
            raise BadRequest("sessionid is missing")
        return self._sessions.find(body["sessionid"])

    def _clean(self, text: object) -> str:
        if not isinstance(text, str):
            raise BadRequest("text must be a string")
        if len(text) > self._limits.max_text_chars:
            raise BadRequest(f"text is longer than {self._limits.max_text_chars} characters", code="too_long")
        cleaned = "".join(char if char.isprintable() or char in "\n\t" else " " for char in text).strip()
        if not cleaned:
            raise BadRequest("text is empty", code="empty_text")
        return cleaned


@web.middleware
async def envelope(request: web.Request, handler: Handler) -> web.StreamResponse:
    """Every failure as the API's envelope; nothing else leaves the server."""
    try:
        return await handler(request)
    except EmanError as error:
        return _failure(str(error), error.code, _STATUS.get(type(error), 200))
    except web.HTTPRequestEntityTooLarge:
        return _failure("the request is too large", "too_large", 413)
    except web.RequestPayloadError:
        return _failure("the request's body is damaged", "bad_request", 200)
    except web.HTTPException:
        raise
    except Exception as error:
        if isinstance(error, ConnectionError) and request.transport is None:
            logger.info("%s %s: the client left", request.method, request.path)
            return web.Response()  # goes nowhere
        # the request ends here; the server and its sessions live on
        logger.exception("%s %s broke", request.method, request.path)
        return _failure("something went wrong inside the server", "internal", 200)


def _ok(data: object = None, msg: str = "ok") -> web.Response:
    body: dict[str, object] = {"code": 0, "msg": msg}
    if data is not None:
        body["data"] = data
    return web.json_response(body)


def _failure(msg: str, error: str, status: int) -> web.Response:
    return web.json_response({"code": -1, "msg": msg, "error": error}, status=status)


async def _json(request: web.Request) -> dict[str, Any]:
    try:
        body = json_value(await request.text())
    except (ValueError, LookupError):
        raise BadRequest("the body is not valid JSON") from None
    if not isinstance(body, dict):
        raise BadRequest("expected a JSON object")
    return body


def _text(body: Mapping[str, Any], key: str) -> str | None:
    value = body.get(key)
    return value if isinstance(value, str) else None


def _waiting(session: Session) -> str:
    return "ok" if session.media.link() is LinkState.CONNECTED else "ok, spoken once the media connection is up"

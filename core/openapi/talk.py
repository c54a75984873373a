"""Operations on sessions, for pages and programs: paths of the document in core/openapi/specification.py."""

from __future__ import annotations

from core.frames import Expression
from core.openapi.build import answer, content, operation, part, query, said
from core.openapi.schemas import ID, SDP_ANSWER, TOKEN, Schema, many, obj, ok, ref, text, whole, yes_no

_SESSION: list[Schema] = [{"sessionToken": []}, {"apiKey": []}, {}]
_FIELDS: dict[str, Schema] = {"sessionid": ref("SessionId"), "token": ref("Token")}
_BY_ID = [query("sessionid", ref("SessionId"), required=True), query("token", ref("Token"))]

_MAYBE_ASKED = {
    **ok(obj({"upload_id": text("Of the `upload` messages.")}, description="Only with `mode=ask`.")),
    "required": ["code", "msg"],
}


def on_session(name: str, summary: str, response: Schema, body: Schema, description: str = "") -> Schema:
    """A POST that acts on a session."""
    return operation(
        name,
        "talk",
        summary,
        response,
        security=_SESSION,
        body=body,
        refusals=(401, 403, 413, 429),
        description=description,
    )


def _by_id(**more: Schema) -> Schema:
    return obj({**_FIELDS, **more}, optional=("token", *more))


def _picture(name: str, summary: str, kind: str, *more: Schema, of: str = "mira") -> Schema:
    return operation(
        name,
        "talk",
        summary,
        {
            "description": "A picture, with an ETag; a name that there is not gets the envelope.",
            "content": {kind: {}, **content(ref("Failure"))},
        },
        parameters=[part("name", text("As in /api/presenters.", examples=[of])), *more],
    )


_MOOD = query("mood", text("In which the presenter is drawn; neutral without one.", enum=list(map(str, Expression))))

TALK_PATHS: dict[str, Schema] = {
    "/offer": {
        "post": operation(
            "offer",
            "talk",
            "Open a session, or attach a new connection to one",
            answer(schema=ref("Answer"), example=SDP_ANSWER),
            security=[{"apiKey": []}, {"sessionToken": []}, {}],
            refusals=(401, 403, 413, 429),
            description=(
                "The offer must have gathered its candidates (no trickle) and ask for audio, video or both; "
                "a microphone is optional. With `sessionid` and `token` the connection is attached to that session. "
                "Of type `websocket` there is no SDP: the client then opens the sound over its WebSocket."
            ),
            body=content(
                obj(
                    {
                        "sdp": text("SDP with candidates; not for `websocket`."),
                        "type": text(
                            "`websocket`: without WebRTC, the sound goes over `/ws` (`open_audio`).",
                            enum=["offer", "websocket"],
                            default="offer",
                        ),
                        **_FIELDS,
                        "custom_config": text(
                            "LiveTalking's clips: a JSON list of `audiotype` (2 and above), `imgpath` and optional "
                            "`audiopath`, `loop`, `fit`, `name`; paths inside avatar.clips_folder."
                        ),
                        "page": text("Id that the page made up; comes back in the message `media`."),
                        "storage": yes_no("Whether this conversation may be kept.", default=True),
                        "avatar": text(
                            "A presenter of /api/presenters; without it, the one that is shown or the default."
                        ),
                        "background": text(
                            "`studio`, `#rrggbb`, `#rrggbb-#rrggbb` (from top to bottom), a picture of the server's "
                            "folder, or `transparent`: pictures are then twice as wide, colour left and matte right."
                        ),
                        "voice": {
                            "type": "boolean",
                            "description": "Whether the voice service leads a new session; else voice.sessions tells.",
                        },
                    },
                    optional=(
                        "sdp",
                        "sessionid",
                        "token",
                        "custom_config",
                        "page",
                        "storage",
                        "avatar",
                        "background",
                        "voice",
                    ),
                ),
                example={"sdp": "v=0\r\n…", "type": "offer"},
            ),
        )
    },
    "/human": {
        "post": on_session(
            "human",
            "Speak a text, or answer it",
            answer(),
            content(
                obj(
                    {
                        **_FIELDS,
                        "text": text("What to speak or answer.", minLength=1),
                        "type": text("`echo` speaks it, `chat` answers it.", enum=["echo", "chat"], default="echo"),
                        "interrupt": yes_no("Drop what is spoken or waits.", default=False),
                        "tts": {
                            "type": "object",
                            "description": "For the voice, e.g. `voice`; copied into /sse events.",
                        },
                    },
                    optional=("token", "type", "interrupt", "tts"),
                ),
                example={"sessionid": ID, "text": "Hello there.", "type": "echo", "interrupt": False},
            ),
            "Texts are spoken one after the other. Before the media connection is up it waits, and `msg` says so.",
        )
    },
    "/humanaudio": {
        "post": on_session(
            "humanaudio",
            "Speak an audio file, or ask with it",
            answer(schema=_MAYBE_ASKED, example={"code": 0, "msg": "ok", "data": {"upload_id": "u1"}}),
            content(
                obj(
                    {
                        **_FIELDS,
                        "mode": text(
                            "`speak`: the avatar speaks the file. `ask`: it is what the user says.",
                            enum=["speak", "ask"],
                            default="speak",
                        ),
                        "interrupt": text("Drop what is spoken or waits.", enum=["true", "false"], default="false"),
                        "file": {"contentMediaType": "audio/*", "description": "Anything that FFmpeg decodes."},
                    },
                    optional=("token", "mode", "interrupt"),
                ),
                "multipart/form-data",
            ),
            "With `auth.enabled`, `sessionid` and `token` must come before the file, in a header or in the query: "
            "nobody else's file is read. All fields may be in the query. What is understood comes as `asr_result` "
            "messages, how far it is as `upload` messages (docs/websocket-api.md).",
        )
    },
    "/interrupt_talk": {
        "post": on_session(
            "interrupt_talk",
            "Silence now",
            answer(),
            content(_by_id(), example={"sessionid": ID}),
            "What waits is dropped too.",
        )
    },
    "/is_speaking": {
        "post": on_session(
            "is_speaking",
            "Whether an answer is made or played",
            answer({"type": "boolean"}, example=said(False)),
            content(_by_id(), example={"sessionid": ID}),
        )
    },
    "/set_audiotype": {
        "post": on_session(
            "set_audiotype",
            "Show a clip, or the presenter again",
            answer(),
            content(
                obj({**_FIELDS, "audiotype": whole("0, 1: the presenter; 2 and above: a clip.")}, optional=("token",)),
                example={"sessionid": ID, "audiotype": 2},
            ),
            "A number that no clip has changes nothing. A clip that can't be read is refused with `bad_clip`.",
        )
    },
    "/sse": {
        "get": operation(
            "sse",
            "talk",
            "Start and end of every utterance, when it is really played",
            {
                "description": "A stream that ends with the session; an unknown session gets the envelope.",
                "content": {
                    "text/event-stream": {
                        "schema": {"type": "string"},
                        "example": 'data: {"status": "start", "text": "Hello."}\n\n',
                    },
                    **content(ref("Failure")),
                },
            },
            security=_SESSION,
            parameters=[
                *_BY_ID,
                query(
                    "visemes",
                    text(enum=["ovr", "arkit", "fay"]),
                    "Send the timed mouths too, in this format (docs/visemes.md).",
                ),
            ],
            refusals=(401,),
        )
    },
    "/api/config": {
        "get": operation(
            "config",
            "talk",
            "What a page needs to know",
            answer(ref("PublicConfig"), example=None),
            description="ICE servers come with their credentials: browsers need them.",
        )
    },
    "/api/presenters": {
        "get": operation(
            "presenters",
            "talk",
            "Whom a session may show, and the backgrounds that the page offers",
            answer(
                obj(
                    {
                        "presenters": many(ref("Presenter")),
                        "backgrounds": many(text()),
                        "background_pictures": {
                            "type": "object",
                            "additionalProperties": text("Where its thumbnail is, relative to the server."),
                            "description": "Of those backgrounds that are pictures, by name.",
                        },
                    }
                ),
                example=None,
            ),
        )
    },
    "/api/presenters/{name}.png": {"get": _picture("presenter_still", "A presenter's face", "image/png")},
    "/api/presenters/{name}.webp": {"get": _picture("presenter_preview", "A presenter who moves", "image/webp")},
    "/api/presenters/{name}/portrait.webp": {
        "get": _picture(
            "presenter_portrait",
            "A presenter, as large as in a session",
            "image/webp",
            query("background", text("One of those that the page offers.", examples=["studio"])),
        )
    },
    "/api/presenters/{name}/mouths.webp": {
        "get": _picture("presenter_mouths", "A presenter's mouths and eyelids beside each other", "image/webp", _MOOD)
    },
    "/api/presenters/{name}/mouths.json": {
        "get": operation(
            "presenter_mouth_places",
            "talk",
            "What is where in mouths.webp",
            answer(ref("Mouths"), example=None),
            parameters=[part("name", text("As in /api/presenters.", examples=["mira"])), _MOOD],
        )
    },
    "/api/presenters/{name}/cutout.webp": {
        "get": _picture("presenter_cutout", "A presenter with nothing behind", "image/webp")
    },
    "/api/backgrounds/{name}.webp": {
        "get": _picture(
            "background_picture",
            "A picture that may be chosen as the background, small",
            "image/webp",
            of="beach.jpg",
        )
    },
    "/api/hangup": {
        "post": on_session(
            "hangup",
            "End the session",
            answer(),
            content(
                _by_id(leave=yes_no("Only this page goes away; the session stays for a moment.", default=False)),
                example={"sessionid": ID, "token": TOKEN},
            ),
            "Any content type, so that a page can send it with navigator.sendBeacon.",
        )
    },
    "/api/asr": {
        "get": operation(
            "asr",
            "talk",
            "Speech recognition in FunASR's protocol (WebSocket)",
            {"description": "Switching to the WebSocket protocol."},
            refusals=(401, 403, 429),
            description="16 kHz PCM in binary frames after the first message. Formats: docs/asr-funasr-runtime.md.",
            socket=[
                {"mode": "2pass", "chunk_size": [5, 10, 5], "wav_name": "microphone", "is_speaking": True},
                {"is_speaking": False},
            ],
        )
    },
    "/ws": {
        "get": operation(
            "ws",
            "talk",
            "The message channel (WebSocket)",
            {"description": "Switching to the WebSocket protocol."},
            refusals=(403,),
            description="Send `login` first. Formats: docs/websocket-api.md.",
            socket=[
                {"type": "login", "session_id": ID, "token": TOKEN},
                {"type": "heartbeat"},
                {"type": "wsa_register_web", "username": f"User_{ID}"},
                {"type": "listen", "mode": "open"},
                {"type": "subscribe_visemes", "content": {"format": "ovr"}},
            ],
        )
    },
}

"""The values of the HTTP API as JSON Schema (draft 2020-12): components of the OpenAPI document."""

from __future__ import annotations

from typing import Any

from core.frames import LinkKind

Schema = dict[str, Any]

ID = "2043561278345678"
TOKEN = "eyJhbGciOiJIUzI1NiJ9.…"
SDP_ANSWER = {
    "sdp": "v=0\r\n…", "type": "answer", "sessionid": ID, "token": TOKEN, "avatar": "mira", "background": "studio",
    "voice": False,
}  # fmt: skip

ERRORS = {
    "bad_request": "not a JSON object, a field is missing or of the wrong type",
    "bad_sdp": "the offer can't be used",
    "bad_clip": "the clip is not there, not allowed, or can't be read",
    "bad_audio": "the upload holds no audio that can be decoded",
    "no_speech": "the upload to ask with holds sound, but no speech",
    "not_understood": "no words were understood in the upload (comes as a message, not as an answer)",
    "interrupted": "the upload to ask with was interrupted before it was listened to",
    "no_voice_service": "the offer wants a voice service, and the server has none",
    "session_not_found": "no live session has this id",
    "empty_text": "nothing to say",
    "too_long": "the text is longer than limits.max_text_chars",
    "too_large": "the body or the upload is over its limit (HTTP 413)",
    "server_full": "limits.max_sessions is reached; try again later",
    "busy": "too much is waiting already (limits.max_queued_replies answers); try again later",
    "unknown_presenter": "the presenter that `avatar` names does not exist",
    "unknown_background": "the background is no colour, no gradient and no picture that the server offers",
    "no_mouths": "this face's mouth can't be drawn apart from the rest of the picture",
    "unknown_voice": "the voice that `tts.voice` names does not exist",
    "no_device": "the session is no device's conversation, so it can't be watched",
    "history_unavailable": "the file of the history can't be used at the moment",
    "rate_limited": "too many requests from this address (HTTP 429)",
    "auth_failed": "a token or key is missing or wrong (HTTP 401)",
    "origin_refused": "pages of this origin may not call the API (HTTP 403)",
    "stopping": "the server is shutting down",
    "internal": "a bug; the traceback is in the server's log",
}


def ref(name: str) -> Schema:
    """A reference to a component schema."""
    return {"$ref": f"#/components/schemas/{name}"}


def obj(properties: Schema, *, optional: tuple[str, ...] = (), **more: Any) -> Schema:
    """An object whose properties are required unless named in `optional`; others may be added."""
    required = [name for name in properties if name not in optional]
    return {"type": "object", **({"required": required} if required else {}), "properties": properties, **more}


def text(description: str = "", **more: Any) -> Schema:
    """A string."""
    return {"type": "string", **({"description": description} if description else {}), **more}


def whole(description: str = "", **more: Any) -> Schema:
    """An integer."""
    return {"type": "integer", **({"description": description} if description else {}), **more}


def number(description: str = "", **more: Any) -> Schema:
    """Any number."""
    return {"type": "number", **({"description": description} if description else {}), **more}


def yes_no(description: str = "", **more: Any) -> Schema:
    """A boolean."""
    return {"type": "boolean", **({"description": description} if description else {}), **more}


def maybe(schema: Schema) -> Schema:
    """The same, or null."""
    return {**schema, "type": [schema["type"], "null"]}


def many(item: Schema) -> Schema:
    """A list."""
    return {"type": "array", "items": item}


def ok(data: Schema | None = None) -> Schema:
    """The envelope of a success."""
    properties: Schema = {"code": {"const": 0}, "msg": text(examples=["ok"])}
    return obj({**properties, "data": data} if data is not None else properties)


def _pieces(name: str, value: Schema) -> Schema:
    corner = many(whole("Left and top corner in the picture, pixels."))
    return obj(
        {
            "box": many(whole("Left, top, width and height in the portrait, pixels.")),
            "tiles": many(obj({"from": corner, name: value})),
        }
    )


_TALK: dict[str, Schema] = {
    "SessionId": {
        "type": ["string", "integer"],
        "description": "Id of a session, from /offer. Text or number; a decimal below 2^53.",
        "examples": [ID],
    },
    "Token": text(
        "The session's token, from /offer. May also come as `Authorization: Bearer`. Needed when auth.enabled.",
        maxLength=4096,
        examples=[TOKEN],
    ),
    "Ok": {**ok(), "title": "Success", "examples": [{"code": 0, "msg": "ok"}]},
    "Failure": obj(
        {
            "code": {"const": -1},
            "msg": text("For people; holds no secret and no transcript."),
            "error": text("For programs.", enum=list(ERRORS)),
        },
        title="Failure",
        description="\n".join(f"* `{code}`: {meaning}" for code, meaning in ERRORS.items()),
        examples=[{"code": -1, "msg": "session not found", "error": "session_not_found"}],
    ),
    "Answer": obj(
        {
            "sdp": text("The answer's SDP, candidates included; not for `websocket`."),
            "type": text(enum=["answer", "websocket"]),
            "sessionid": text(examples=[ID]),
            "token": text("Proves that the session is yours.", examples=[TOKEN]),
            "avatar": text("Who is shown.", examples=["mira"]),
            "background": text("What is behind them.", examples=["studio"]),
            "voice": {"type": "boolean", "description": "Whether a voice service leads the conversation."},
        },
        optional=("sdp",),
        title="The answer to an offer (not in the envelope)",
        examples=[SDP_ANSWER],
    ),
    "Presenter": obj(
        {
            "name": text("For `avatar` in an offer.", examples=["mira"]),
            "title": text("For people.", examples=["Mira"]),
            "about": text(),
            "picture": text("Address of a still (PNG).", examples=["api/presenters/mira.png"]),
            "preview": text("Address of a few seconds of motion (animated WebP)."),
            "portrait": text("Address of a still as large as in a session (WebP)."),
            "cutout": text("Address of the same with nothing behind (WebP with alpha)."),
            "mouths": text("Address of what is in `mouths.webp`, the presenter's mouths and eyelids."),
        }
    ),
    "Mouths": obj(
        {
            "picture": text("Address of the picture that holds the pieces (WebP with alpha)."),
            "size": many(whole("Width and height of the portrait that they belong to, pixels.")),
            "names": many(text("The coefficients that a mouth is described by, as in the visemes' format `arkit`.")),
            "importance": many(number("Of each coefficient, for choosing the nearest.")),
            "mouth": _pieces("at", many(number("In the order of `names`."))),
            "eyes": maybe(_pieces("shut", number("0 open to 1."))),
            "face": maybe(
                obj(
                    {
                        "box": many(whole("Left, top, width and height in the portrait.")),
                        "from": many(whole("Left and top in the picture.")),
                    }
                )
            ),
        }
    ),
    "PublicConfig": obj(
        {
            "name": text(),
            "version": text(),
            "avatar_name": text(),
            "ice_servers": many({"type": "object", "description": "An RTCIceServer."}),
            "asr": obj({"engine": text(), "languages": many(text("BCP-47 tag, or * for any."))}),
            "dialogue": obj({"engine": text()}),
            "max_upload_mb": whole(),
            "max_text_chars": whole(),
            "video": obj({"width": whole(), "height": whole()}),
            "history": yes_no("Whether conversations are kept."),
            "control_url": text("Third-party control server, or empty."),
            "auth": obj({"enabled": yes_no(), "open": yes_no("Whether anybody may open a session.")}),
        },
        optional=("history", "control_url", "auth"),
    ),
}

_HISTORY: dict[str, Schema] = {
    "Entry": obj(
        {
            "id": whole("Running number; pages are asked for with `before`."),
            "session_id": text(),
            "at_ms": whole("Unix time in ms."),
            "role": text(enum=["user", "assistant"]),
            "sender": text(),
            "text": text(),
            "engine": text("Recogniser or dialogue engine."),
            "state": text(enum=["final", "interrupted", "error"]),
        },
        optional=("session_id",),
        examples=[
            {"id": 7, "session_id": ID, "at_ms": 1763722800000, "role": "user", "sender": "user",
             "text": "what is seven times six", "engine": "pocketsphinx", "state": "final"}
        ],
    ),
    "Conversation": obj(
        {"sessionid": text(), "first_at_ms": whole(), "last_at_ms": whole(), "entries": whole(), "last_id": whole()}
    ),
    "Export": obj(
        {
            "sessionid": text(),
            "avatar": text(),
            "started_at": maybe(text("ISO 8601.")),
            "exported_at": text("ISO 8601."),
            "entries": many({"type": "object", "description": "An Entry without session_id, with `at` in ISO 8601."}),
        }
    ),
}  # fmt: skip

_SOCKET = {
    "connection": text("Id of the connection, for logs.", examples=["c12"]),
    "age_s": number(),
    "idle_s": number("Since its last frame."),
    "queued": whole("Messages that wait to be sent."),
    "alive": yes_no(),
    "roles": {"type": "object", "additionalProperties": {"type": "string"}, "description": "Role → username."},
}

_MONITOR: dict[str, Schema] = {
    "Health": obj({"status": {"const": "ok"}}, examples=[{"status": "ok"}]),
    "Readiness": obj(
        {
            "status": text(enum=["ready", "starting", "stopping"]),
            "missing": many(text("A stage whose adapter has not started.")),
        },
        examples=[{"status": "ready", "missing": []}],
    ),
    "LinkKind": text(
        "How a session's page gets the sound, or was to get it last.", enum=[kind.value for kind in LinkKind]
    ),
    "Delivery": obj({"reached": whole("Sockets that got it."), "sockets": whole("Sockets that there are.")}),
    "LiveSession": obj(
        {
            "sessionid": text(),
            "speaking": yes_no(),
            "recording": yes_no(),
            "model": text(),
            "avatar_id": text(),
            "REF_FILE": text(),
            "transport": text(),
            "batch_size": whole(),
            "customopt": {"type": "array"},
            "link": text(enum=["new", "connecting", "connected", "closed"]),
            "link_kind": ref("LinkKind"),
            "activity": text(),
        },
        description="LiveTalking's keys, then ours.",
    ),
    "Socket": obj({**_SOCKET, "session_id": text()}, optional=("session_id",)),
    "ServerState": obj(
        {
            "version": text(),
            "uptime_s": number(),
            "cpu_percent": number("Of one core; several threads may add up to more than 100."),
            "rss_mb": number(),
            "loop_lag_ms": number("How late the event loop wakes up."),
            "log_level": text(),
            "sessions": whole(),
            "max_sessions": whole(),
            "sockets": whole(),
            "sound_sockets": whole("Those that get the avatar's sound."),
            "username_conflicts": whole(),
            "ready": yes_no(),
            "adapters": {"type": "object", "additionalProperties": {"type": "string"}},
        }
    ),
    "SessionState": obj(
        {
            "sessionid": text(),
            "username": text(),
            "link": text(),
            "link_kind": ref("LinkKind"),
            "activity": text(),
            "speaking": yes_no(),
            "age_s": number(),
            "device": text("The device that leads the conversation; empty for none."),
            "avatar": text(),
            "turns": whole(),
            "storage": yes_no(),
            "pictures_sent": whole(),
            "pictures_skipped": whole(),
            "pictures_failed": whole(),
            "fps": number(),
            "underruns": whole(),
            "clock_resyncs": whole(),
            "network": obj(
                {"rtt_ms": maybe(number()), "loss_percent": maybe(number()), "jitter_ms": maybe(number())},
                description="From RTCP; null while it has not told yet.",
            ),
            "queues": obj({"replies": whole(), "speech_s": number(), "messages": whole()}),
            "sockets": many(ref("Socket")),
        }
    ),
    "TurnState": obj(
        {
            "sessionid": text(),
            "reply_id": text(),
            "at": whole("Unix time in ms."),
            "source": text(enum=["speech", "text", "echo", "upload"]),
            "outcome": text(examples=["end", "interrupted", "error"]),
            "engine": text(),
            "marks": obj(
                {name: maybe(whole()) for name in ("transcript", "first_token", "first_audio", "on_wire")},
                description="ms after the end of speech (or the request); null where not reached.",
            ),
        }
    ),
    "ErrorGroup": obj(
        {
            "stage": text(enum=["asr", "dialogue", "tts", "lipsync", "face", "server"]),
            "adapter": text(),
            "code": text(),
            "message": text(),
            "count": whole(),
            "first_at": whole(),
            "last_at": whole(),
            "sessionid": text("The last one."),
        }
    ),
    "Recognition": obj(
        {
            "sessionid": text(),
            "sequence": whole(),
            "result_id": text(),
            "stage": text(examples=["partial", "final"]),
            "text": text(),
            "start": number("Seconds of the session's audio."),
            "end": number(),
            "at": whole(),
            "engine": text(),
            "predecessors": many(text()),
        }
    ),
    "Snapshot": obj(
        {
            "type": {"const": "snapshot"},
            "at": whole("Unix time in ms."),
            "server": ref("ServerState"),
            "sessions": many(ref("SessionState")),
            "other_sockets": many(ref("Socket")),
            "turns": many(ref("TurnState")),
            "errors": many(ref("ErrorGroup")),
            "recognitions": many(ref("Recognition")),
        },
        description="A frame of /api/admin/live, every second.",
    ),
}

SCHEMAS: dict[str, Schema] = {**_TALK, **_HISTORY, **_MONITOR}

"""Wire messages of `/ws`: what goes out for each event, and checks of what comes in.

Formats: docs/websocket-api.md. Every message is a flat JSON object with a `type`.
"""

from __future__ import annotations

import json
import time
from collections.abc import Sequence
from typing import Any, Literal, NoReturn, TypeVar

from pydantic import BaseModel, ConfigDict, Field, StrictBool, StrictInt, StrictStr, ValidationError

from core.errors import BadRequest
from core.events import Doing, Event, Heard, LineChanged, Replying, ReplyState, Typed, Uploaded
from core.frames import LISTEN_RATE, MEDIA_RATE, Activity
from core.identity import username_of

Message = dict[str, Any]

CHANNEL_TYPES = frozenset(
    {
        "login_success", "heartbeat_response", "sync", "wsa_registered", "wsa_status", "wsa_error",
        "visemes_subscribed", "visemes", "visemes_clear", "act",
        "audio_opened", "audio_closed", "audio_frame", "audio_clear", "microphone",
    }
)  # fmt: skip
"""Messages about one socket: not numbered, not kept for one that comes back."""
COMMAND_TYPES = frozenset({"control", "broadcast"})
"""What goes out wrapped, as `wsa_command`; everything else is data."""

STATUS_TEXT = {
    Activity.IDLE: "就绪",
    Activity.LISTENING: "聆听中...",
    Activity.RECOGNIZING: "识别中...",
    Activity.THINKING: "思考中...",
    Activity.SPEAKING: "回答中...",
    Activity.INTERRUPTED: "已打断",
    Activity.ERROR: "出错了",
}


def json_value(text: str) -> Any:
    """What `text` says as JSON; strict, as what comes in may go out to a browser. Raises `ValueError`."""
    try:
        return json.loads(text, parse_constant=_no_number)
    except RecursionError:
        raise ValueError("nested too deeply") from None


def _no_number(word: str) -> NoReturn:
    raise ValueError(f"{word} is no JSON number")


def now_ms() -> int:
    """Unix time in milliseconds."""
    return int(time.time() * 1000)


def messages_for(event: Event, session_id: str, avatar_name: str) -> list[Message]:
    """The messages that tell a session's pages about `event`."""
    username = username_of(session_id)
    match event:
        case Heard(transcript=said):
            messages = [asr_result(session_id, said.text, said.final)]
            if said.final and said.text:
                messages.append(chat_message("回音", said.text, username, said.engine))
            return messages
        case Typed(text=text):
            return [chat_message("user", text, username, "")]
        case Uploaded():
            return [_upload(event, session_id)]
        case Doing(activity=activity, detail=detail):
            return [status_update(activity, username, detail)]
        case LineChanged():
            return [_voice_line(event, session_id)]
        case Replying():
            messages = [_reply(event, session_id)]
            if event.state is ReplyState.END and event.text.strip():
                messages.append(chat_message(avatar_name, event.text, username, event.engine))
            return messages
        case _:
            return []


def chat_message(sender: str, content: str, username: str, model_info: str) -> Message:
    """A line of the chat: exactly these five keys."""
    return {
        "type": "chat_message",
        "sender": sender,
        "content": content,
        "Username": username,
        "model_info": model_info,
    }


def status_update(activity: Activity, username: str, detail: str = "") -> Message:
    """What the avatar is doing; `detail` replaces the standard text."""
    return {
        "type": "status_update",
        "sender": "系统",
        "content": detail or STATUS_TEXT[activity],
        "status": activity.value,
        "Username": username,
        "model_info": "",
    }


def asr_result(session_id: str, text: str, is_final: bool) -> Message:
    """The recogniser's words."""
    return {
        "type": "asr_result",
        "session_id": session_id,
        "text": text,
        "is_final": is_final,
        "Username": username_of(session_id),
    }


def _reply(event: Replying, session_id: str) -> Message:
    message: Message = {
        "type": "reply",
        "session_id": session_id,
        "reply_id": event.reply_id,
        "state": event.state.value,
        "text": event.text,
        "at_ms": event.at_ms,
    }
    if event.latency_ms is not None:
        message["latency_ms"] = event.latency_ms
    return message


def _voice_line(event: LineChanged, session_id: str) -> Message:
    message: Message = {"type": "voice_line", "session_id": session_id, "state": event.state.value}
    if event.code:
        message["code"] = event.code
    if event.message:
        message["text"] = event.message
    return message


def _upload(event: Uploaded, session_id: str) -> Message:
    message: Message = {
        "type": "upload",
        "session_id": session_id,
        "upload_id": event.upload_id,
        "state": event.state.value,
    }
    if event.progress is not None:
        message["progress"] = round(event.progress, 3)
    if event.code:
        message |= {"code": event.code, "text": event.message}
    return message


def media(session_id: str, page: str) -> Message:
    """The session's picture and sound now go to the page that calls itself `page` ("" when it has no name)."""
    return {"type": "media", "session_id": session_id, "page": page}


def history_cleared(session_id: str) -> Message:
    """The session's kept conversation was deleted: every page empties its chat."""
    return {"type": "history_cleared", "session_id": session_id}


def login_success(session_id: str, *, resumed: bool | None = None, missed: int | None = None) -> Message:
    """The socket belongs to the session now. `resumed`, `missed`: only for a login with `last_seq`."""
    message: Message = {
        "type": "login_success",
        "session_id": session_id,
        "username": username_of(session_id),
        "timestamp": now_ms(),
    }
    if resumed is not None:
        message |= {"resumed": resumed, "missed": missed or 0}
    return message


def heartbeat_response() -> Message:
    """The answer to `heartbeat` and `ping`."""
    return {"type": "heartbeat_response", "timestamp": now_ms()}


def sync(seq: int) -> Message:
    """The number of the last message that this socket was sent."""
    return {"type": "sync", "seq": seq}


def wsa_registered(role: str, username: str, session_id: str, connections: int) -> Message:
    """The socket receives what goes to `username` in this role. `username` is spelled as the client did."""
    return {
        "type": "wsa_registered",
        "role": role,
        "username": username,
        "session_id": session_id,
        "connections": connections,
        "timestamp": now_ms(),
    }


def wsa_status(role: str, username: str, connected: bool, connections: int) -> Message:
    """A socket (un)registered under `username`; `connections` are the sockets that are there in this role now."""
    return {
        "type": "wsa_status",
        "role": role,
        "username": username,
        "connected": connected,
        "connections": connections,
        "timestamp": now_ms(),
    }


def wsa_command(data: Message, username: str) -> Message:
    """A command (`control`, `broadcast`), wrapped."""
    return {"type": "wsa_command", "data": data, "Username": username, "timestamp": now_ms()}


def wsa_error(code: str, message: str, ref: str = "") -> Message:
    """A refusal. `code`: not_logged_in, bad_username, bad_message, unknown_type, rate_limited, auth_failed, asr_failed,
    busy.

    `ref` is the type of the message that was refused.
    """
    return {"type": "wsa_error", "code": code, "message": message, "ref": ref, "timestamp": now_ms()}


def visemes_subscribed(session_id: str, form: str, names: Sequence[str], step_ms: int) -> Message:
    """The socket is sent `visemes` (core/visemes.py) in this format from now on; "off": no more."""
    return {
        "type": "visemes_subscribed",
        "session_id": session_id,
        "format": form,
        "names": list(names),
        "step_ms": step_ms,
    }


def audio_opened(session_id: str, uplink: str, ahead_ms: int) -> Message:
    """The socket gets the avatar's sound from now on; its binary frames are the microphone, as `uplink` says."""
    return {
        "type": "audio_opened",
        "session_id": session_id,
        "rate": MEDIA_RATE // 2,
        "ahead_ms": ahead_ms,
        "uplink": uplink,
        "uplink_rate": LISTEN_RATE,
    }


def audio_closed(session_id: str, reason: str) -> Message:
    """It gets no more. `reason`: closed (it asked), moved (another page has it), ended (the session has)."""
    return {"type": "audio_closed", "session_id": session_id, "reason": reason}


def audio_frame(session_id: str, reply_id: str, at_ms: int, seq: int, data: str) -> Message:
    """A piece of what the avatar plays. `data`: base64 of 16-bit mono PCM at the rate that `audio_opened` told."""
    return {
        "type": "audio_frame", "session_id": session_id, "reply": reply_id, "at_ms": at_ms, "seq": seq, "data": data,
    }  # fmt: skip


def audio_clear(session_id: str, reply_id: str, at_ms: int) -> Message:
    """Nothing of the reply sounds at `at_ms` or later."""
    return {"type": "audio_clear", "session_id": session_id, "reply": reply_id, "at_ms": at_ms}


def microphone(session_id: str, heard: bool, by: str) -> Message:
    """The client's microphone is heard again, or not, as another one of the session is: a `MicrophoneKind`."""
    return {"type": "microphone", "session_id": session_id, "heard": heard, "by": by}


def envelope(message_type: str, content: str, source: str, session_id: str, metadata: Message | None = None) -> Message:
    """A message of any type in the form of `broadcast_to_session`."""
    return {
        "type": message_type,
        "content": content,
        "source": source,
        "session_id": session_id,
        "metadata": metadata or {},
        "timestamp": now_ms(),
    }


class Incoming(BaseModel):
    """Any message from a page; unknown fields are ignored, as old pages send many."""

    model_config = ConfigDict(extra="ignore", frozen=True)
    type: str = Field(min_length=1, max_length=64)


class Login(Incoming):
    session_id: StrictInt | StrictStr | None = None
    sessionid: StrictInt | StrictStr | None = None
    username: str | None = Field(default=None, max_length=128)
    token: str | None = Field(default=None, max_length=4096)
    role: str | None = Field(default=None, max_length=32)
    last_seq: StrictInt | None = Field(default=None, ge=0)
    """Number of the last message that the page has; 0 for everything that is kept, None for nothing old."""


class Register(Incoming):
    """`token` proves that the username's session is the sender's when it is not the one it logged in under."""

    username: str
    token: str | None = Field(default=None, max_length=4096)


class Listen(Incoming):
    """`mode`: open, push_to_talk, off; `state`: the talk key went down (start) or up (stop)."""

    mode: Literal["open", "push_to_talk", "off"] | None = None
    state: Literal["start", "stop"] | None = None


class Storage(Incoming):
    """Whether the session's conversation is kept."""

    enabled: StrictBool


class VisemeWish(BaseModel):
    """Which names the client's figure knows; off: no more visemes. `acts`: whether it has moods and gestures, too."""

    model_config = ConfigDict(extra="ignore", frozen=True)
    format: Literal["ovr", "arkit", "fay", "off"]
    acts: StrictBool = False


class SubscribeVisemes(Incoming):
    """Asks for the timed mouths of the session."""

    content: VisemeWish


class AudioWish(BaseModel):
    """`uplink`: what the socket's binary frames are; `page`: the window's name in its offer, if it has one;
    `ahead_ms`: how long before it is due sound may come; `delay_ms`: see `DelayNews`, 0: unknown."""

    model_config = ConfigDict(extra="ignore", frozen=True)
    uplink: Literal["pcm", "opus", "none"]
    page: str = Field(default="", max_length=64)
    ahead_ms: StrictInt = Field(default=500, ge=0, le=1000)
    delay_ms: StrictInt = Field(default=0, ge=0, le=2000)


class OpenAudio(Incoming):
    """Asks for the session's sound over this socket."""

    content: AudioWish


class DelayNews(BaseModel):
    """`delay_ms`: from the arrival of an answer's first sound to its being heard (buffer and loudspeaker)."""

    model_config = ConfigDict(extra="ignore", frozen=True)
    delay_ms: StrictInt = Field(ge=0, le=2000)


class AudioDelay(Incoming):
    """What was told in `open_audio` has changed."""

    content: DelayNews


class Recognition(Incoming):
    """Belongs to the socket's own recognition; `session_id`, where given, must be the one it logged in under."""

    session_id: StrictInt | StrictStr | None = None
    sessionid: StrictInt | StrictStr | None = None


class StartRecognition(Recognition):
    """What audio follows. `engine` is a wish; the server's recogniser is the one that is configured."""

    engine: str | None = Field(default=None, max_length=64)
    sample_rate: StrictInt | StrictStr | None = None
    format: str | None = Field(default=None, max_length=32)


class AudioData(Recognition):
    """`audio`: base64 of 16-bit little-endian mono PCM at 16 kHz; `sequence`: a running number of the client."""

    audio: str
    sequence: StrictInt | None = Field(default=None, ge=0)


IncomingT = TypeVar("IncomingT", bound=Incoming)


def parse(model: type[IncomingT], data: Message) -> IncomingT:
    """`data` as `model`. Raises `BadRequest` naming the field and what is expected."""
    try:
        return model.model_validate(data)
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(str(part) for part in first["loc"])
        raise BadRequest(f"{where}: {first['msg']}") from None

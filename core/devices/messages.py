"""What we say to a device: JSON messages of the xiaozhi protocol, without their session id. Sans-I/O.

What devices say is read by core/dialogue/xiaozhi/protocol.py.
"""

from __future__ import annotations

from typing import Any

from core.dialogue.xiaozhi.messages import DOWNLINK_RATE, FRAME_MS

Json = dict[str, Any]

AUDIO = {"format": "opus", "sample_rate": DOWNLINK_RATE, "channels": 1, "frame_duration": FRAME_MS}
"""What we send."""


def hello(session_id: str) -> Json:
    """The answer to a device's hello."""
    return {"type": "hello", "transport": "websocket", "session_id": session_id, "audio_params": AUDIO}


def stt(text: str) -> Json:
    """What the user said."""
    return {"type": "stt", "text": text}


def llm(emotion: str, emoji: str) -> Json:
    """A mood."""
    return {"type": "llm", "emotion": emotion, "text": emoji}


def tts_start() -> Json:
    """Sound follows; a device plays none before this."""
    return {"type": "tts", "state": "start"}


def sentence_start(text: str) -> Json:
    """A subtitle."""
    return {"type": "tts", "state": "sentence_start", "text": text}


def tts_stop() -> Json:
    """No more sound."""
    return {"type": "tts", "state": "stop"}


def alert(message: str) -> Json:
    """Something went wrong: shown to the user."""
    return {"type": "alert", "status": "Error", "message": message, "emotion": "sad"}


def pong(timestamp_ms: int) -> Json:
    """The answer to a `ping` message."""
    return {"type": "pong", "timestamp": timestamp_ms}


def goodbye() -> Json:
    """The connection ends."""
    return {"type": "goodbye"}

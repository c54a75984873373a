"""Messages that other parts of the program hand over for the pages: checked, repaired, and told apart.

Commands go out wrapped, data as it is, whichever door they came in by: the two never mix.
"""

from __future__ import annotations

import json
import logging
from typing import Any

from core.frames import Activity
from core.identity import normalize_username
from core.messages import CHANNEL_TYPES, COMMAND_TYPES, STATUS_TEXT, Message, wsa_command

logger = logging.getLogger(__name__)

SECRET_KEYS = frozenset(
    {"token", "api_key", "apikey", "access_key", "admin_token", "authorization", "password", "secret"}
)
"""Never passed on to a page, at any depth."""

_CHAT_KEYS = ("type", "sender", "content", "Username", "model_info")
_STATUS_KEYS = (*_CHAT_KEYS, "status")
_DEFAULTS = {
    "chat_message": {"sender": "回音", "model_info": ""},
    "status_update": {"sender": "系统", "model_info": ""},
}
_STATUS_OF_TEXT = {text: activity.value for activity, text in STATUS_TEXT.items()}


def is_command(message: Message) -> bool:
    """Whether a message belongs on the command path."""
    return message["type"] in COMMAND_TYPES or message["type"] == "wsa_command"


def username_in(message: Message) -> str:
    """Whom a message is for, normalised; "" when it does not say."""
    name = message.get("Username")
    return normalize_username(name) if isinstance(name, str) else ""


def addressed(message: Message, username: str) -> Message:
    """The message as it goes out to `username`: a command wrapped, a chat line or a status with that name."""
    if message["type"] in COMMAND_TYPES:
        return wsa_command(message, username)
    if message["type"] in ("wsa_command", "chat_message", "status_update"):
        return {**message, "Username": username}
    return message


def checked(content: object) -> Message | None:
    """An own copy of `content`, fit to be sent; None, with a warning that says why, when it can't be.

    `chat_message` is brought to its five keys and `status_update` to those and `status`: unknown keys are left out,
    a missing sender or model_info is filled in, a missing status is taken from the standard texts. Secrets are removed.
    """
    try:
        message = json.loads(json.dumps(content, allow_nan=False))
    except (TypeError, ValueError, RecursionError) as error:
        return _refused("it is no JSON", type(error).__name__)
    if not isinstance(message, dict) or not isinstance(message.get("type"), str) or not message["type"]:
        return _refused("it is no object with a type", type(content).__name__)
    if message["type"] in CHANNEL_TYPES:
        return _refused("that type is the server's own", message["type"])
    clean: Message = _without_secrets(message)
    return _repaired(clean) if clean["type"] in _DEFAULTS else clean


def _repaired(message: Message) -> Message | None:
    kind = message["type"]
    keys = _CHAT_KEYS if kind == "chat_message" else _STATUS_KEYS
    if extra := sorted(message.keys() - set(keys)):
        logger.warning("%s handed over with other keys, left out: %s", kind, ", ".join(extra)[:200])
    repaired = {key: message.get(key, "") for key in keys if key != "status"}
    for key, default in _DEFAULTS[kind].items():
        if not isinstance(repaired[key], str) or key not in message:
            repaired[key] = default
    if not isinstance(repaired["content"], str) or "content" not in message:
        return _refused("its content is no text", kind)
    repaired["Username"] = username_in(message)
    if kind == "status_update":
        status = message.get("status") or _STATUS_OF_TEXT.get(repaired["content"])
        if status not in set(Activity):
            return _refused(f"its status is none of {', '.join(Activity)}", kind)
        repaired["status"] = status
    return repaired


def _without_secrets(value: Any) -> Any:
    if isinstance(value, list):
        return [_without_secrets(item) for item in value]
    if not isinstance(value, dict):
        return value
    if any(key.lower() in SECRET_KEYS for key in value):
        logger.warning("a secret was handed over to be sent to a page: removed")
    return {key: _without_secrets(item) for key, item in value.items() if key.lower() not in SECRET_KEYS}


def _refused(why: str, what: str) -> Message | None:
    logger.warning("a message for the pages was refused: %s (%s)", why, what[:64])
    return None

"""Session ids and the usernames derived from them."""

from __future__ import annotations

import re
import secrets

from core.errors import BadRequest

_PREFIX = re.compile(r"^user_(.+)$", re.IGNORECASE)
_MAX_ID = 64


def new_session_id() -> str:
    """A random decimal below 2^53, as text: old pages parse it as a JavaScript number and lose nothing."""
    return str(secrets.randbelow(2**53 - 10**15) + 10**15)


def new_token() -> str:
    """An unguessable token that proves ownership of a session."""
    return secrets.token_urlsafe(24)


def session_id_of(value: object) -> str:
    """A session id from the wire, int or text, as text. Raises `BadRequest` for anything else."""
    if isinstance(value, bool) or not isinstance(value, int | str):
        raise BadRequest("sessionid must be a string or an integer")
    text = str(value).strip()
    if not text or len(text) > _MAX_ID or not text.isprintable():
        raise BadRequest(f"sessionid must have 1 to {_MAX_ID} printable characters")
    return text


def username_of(session_id: str | None) -> str:
    """`User_<sessionid>`, or `User_0` when the session is unknown."""
    return f"User_{session_id or 0}"


def normalize_username(name: str) -> str:
    """The routing key of a username: trimmed, prefix spelled `User_` however it came."""
    trimmed = name.strip()
    match = _PREFIX.match(trimmed)
    return f"User_{match.group(1)}" if match else trimmed

"""Session ids, the usernames derived from them, and the signed tokens that prove who owns what.

Usernames are labels for routing; only a token proves anything.
"""

from __future__ import annotations

import hashlib
import logging
import math
import os
import re
import secrets
import tempfile
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import jwt

from core.errors import BadRequest, SettingsError, Unauthorized
from core.frames import FaceChoice

logger = logging.getLogger(__name__)

# ASCII: otherwise IGNORECASE lets the long s (U+017F) stand for an s
_PREFIX = re.compile(r"user_(.+)", re.IGNORECASE | re.ASCII | re.DOTALL)
_MAX_ID = 64

MIN_SECRET = 16
"""Characters a configured secret needs: whoever guesses it makes tokens for every session."""
_MAX_TOKEN = 4096
_SHAPE = re.compile(r"[A-Za-z0-9_-]+\.[A-Za-z0-9_-]+\.[A-Za-z0-9_-]+")
_ALGORITHM = "HS256"
_SESSION = "eman-session"
_VISITOR = "eman-visitor"
_AS_SET = FaceChoice()
_SKEW_S = 30
"""By how much the clocks of servers that share a secret may differ."""


def new_session_id() -> str:
    """A random decimal below 2^53, as text: old pages parse it as a JavaScript number and lose nothing."""
    return str(secrets.randbelow(2**53 - 10**15) + 10**15)


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
    match = _PREFIX.fullmatch(trimmed)
    return f"User_{match.group(1)}" if match else trimmed


class Tokens:
    """Issues and checks signed tokens (JWT, HS256): of sessions, and of visitors who may start one.

    `secret`: at least `MIN_SECRET` characters, the same on all servers that accept each other's tokens;
    `lifetime_s`: how long a session's token is good for. Raises `SettingsError` for a short secret.
    """

    def __init__(self, secret: str, lifetime_s: float, *, clock: Callable[[], float] = time.time) -> None:
        if len(secret.strip()) < MIN_SECRET:
            raise SettingsError(f"auth.secret: needs at least {MIN_SECRET} characters, better 32 random ones")
        # HS256 wants a key of 32 bytes (RFC 7518, 3.2), whatever the operator typed
        self._key = hashlib.sha256(b"eman tokens\0" + secret.strip().encode(errors="surrogatepass")).digest()
        self._lifetime_s = lifetime_s
        self._clock = clock

    def issue(self, session_id: str, face: FaceChoice = _AS_SET) -> str:
        """A token that proves ownership of a session, and remembers its face over a restart."""
        return self._signed(_SESSION, session_id, self._lifetime_s, {"face": [face.presenter, face.background]})

    def check(self, token: str | None, session_id: str) -> FaceChoice:
        """The face that the session showed when `token` was issued.

        Raises `Unauthorized` unless `token` is a valid one of this session.
        """
        claims = self._claims(token, _SESSION, session_id)
        if claims is None:
            raise Unauthorized("the session's token is missing or wrong")
        match claims.get("face"):
            case [str() as presenter, str() as background]:
                return FaceChoice(presenter, background)
            case _:  # tokens of earlier versions name no face
                return _AS_SET

    def issue_visitor(self, lifetime_s: float) -> str:
        """A token that lets whoever has it start sessions, for `lifetime_s` seconds."""
        return self._signed(_VISITOR, "visitor", lifetime_s)

    def check_visitor(self, token: str | None) -> None:
        """Raises `Unauthorized` unless `token` is a valid visitor's."""
        if self._claims(token, _VISITOR, "visitor") is None:
            raise Unauthorized("the access link is missing, wrong or has expired")

    def _signed(self, audience: str, subject: str, lifetime_s: float, more: Mapping[str, Any] | None = None) -> str:
        expires = math.ceil(self._clock() + lifetime_s)
        claims = {"aud": audience, "sub": subject, "exp": expires, **(more or {})}
        return jwt.encode(claims, self._key, algorithm=_ALGORITHM)

    def _claims(self, token: str | None, audience: str, subject: str) -> dict[str, Any] | None:
        """What a valid token says; None for any other."""
        if not token or len(token) > _MAX_TOKEN or not _SHAPE.fullmatch(token):
            return None
        try:
            claims: dict[str, Any] = jwt.decode(
                token,
                self._key,
                algorithms=[_ALGORITHM],
                audience=audience,
                subject=subject,
                leeway=_SKEW_S,
                options={"require": ["aud", "sub", "exp"], "strict_aud": True},
            )
        except (jwt.PyJWTError, RecursionError):  # why it is wrong is nobody's business
            return None
        return claims


def visitor_link(url: str, token: str) -> str:
    """The address to hand to a visitor: the start page of the server at `url`, with a visitor's token.

    The token is in the fragment, which browsers send to nobody: no proxy's log and no other site gets it.
    """
    return f"{url.rstrip('/')}/webrtcapichat.html#token={token}"


def kept_secret(path: Path) -> str:
    """The secret kept in the file `path`, made (mode 0600) when there is none.

    Processes that start at once get the same one. Where it can't be kept: a random one, and a warning.
    """
    try:
        secret = path.read_text(encoding="ascii").strip() if path.exists() else _keep(path, secrets.token_hex(32))
        if len(secret) >= MIN_SECRET:
            _close_to_others(path)
            return secret
        logger.warning("%s holds no secret: delete it and a new one is made", path)
    except (OSError, UnicodeDecodeError) as error:
        logger.warning("%s: the secret can't be kept (%r)", path, error)
    logger.warning("tokens are signed with a passing secret: they end with this process")
    return secrets.token_hex(32)


def _keep(path: Path, secret: str) -> str:
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    descriptor, draft = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")  # mode 0600
    try:
        with os.fdopen(descriptor, "w", encoding="ascii") as file:
            file.write(secret + "\n")
            file.flush()
            os.fsync(file.fileno())
        try:
            os.link(draft, path)  # appears complete or not at all, and never replaces what another process made
        except FileExistsError:
            pass
    finally:
        os.unlink(draft)
    return path.read_text(encoding="ascii").strip()


def _close_to_others(path: Path) -> None:
    if os.name == "posix" and path.stat().st_mode & 0o077:
        logger.warning("%s was readable by other users: closed to them", path)
        path.chmod(0o600)

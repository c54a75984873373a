"""Discovery: a xiaozhi server's OTA address tells where its WebSocket is and with which token.

Source: main/ota.cc of https://github.com/78/xiaozhi-esp32
"""

from __future__ import annotations

import asyncio
import json
from dataclasses import dataclass
from typing import Any

import aiohttp

from core.dialogue.xiaozhi.endpoint import NAME, Endpoint
from core.dialogue.xiaozhi.framing import VERSIONS
from core.errors import DialogueError

_LARGEST = 64 * 1024
_AGENT = "eman/1"


@dataclass(frozen=True, slots=True)
class Activation:
    """The server wants the user to enter `code` on its page first; `message` says so in its words."""

    code: str
    message: str


@dataclass(frozen=True, slots=True)
class Discovery:
    """Where to connect, and whether the device must be activated first."""

    endpoint: Endpoint
    activation: Activation | None = None


async def discover(url: str, device_id: str, client_id: str, *, timeout_s: float = 10.0) -> Discovery:
    """Ask the OTA address `url`. Raises `DialogueError`: it can't be reached, or names no WebSocket."""
    headers = {
        "Device-Id": device_id,
        "Client-Id": client_id,
        "User-Agent": _AGENT,
        "Accept-Language": "en-US",
        "Activation-Version": "1",
    }
    report = {
        "version": 2,
        "mac_address": device_id,
        "uuid": client_id,
        "application": {"name": "eman", "version": "1"},
        "board": {"type": "eman", "name": "eman", "mac": device_id},
    }
    try:
        async with (
            asyncio.timeout(timeout_s),
            aiohttp.ClientSession() as http,
            http.post(url, json=report, headers=headers, allow_redirects=False) as response,
        ):
            if response.status != 200:
                raise _error(f"the OTA address answers {response.status}; check ota_url", "ota_refused")
            body = await response.content.read(_LARGEST + 1)
            while len(body) <= _LARGEST and (more := await response.content.read(_LARGEST + 1 - len(body))):
                body += more
    except (aiohttp.ClientError, TimeoutError, OSError, ValueError) as error:
        kind = type(error).__name__
        raise _error(f"the OTA address can't be reached ({kind}); check ota_url", "ota_unreachable", True) from None
    found = read(body, device_id, client_id)
    found.endpoint.check()
    return found


def read(body: bytes, device_id: str, client_id: str) -> Discovery:
    """What an OTA answer says. Raises `DialogueError` for what is none, or names no WebSocket."""
    try:
        answer = json.loads(body) if len(body) <= _LARGEST else None
    except (ValueError, RecursionError):
        answer = None
    if not isinstance(answer, dict):
        raise _error("the OTA address does not answer with a JSON object; check ota_url", "ota_malformed")
    socket = _object(answer, "websocket")
    url = _text(socket, "url")
    if not url:
        hint = "it offers MQTT only" if isinstance(answer.get("mqtt"), dict) else "check ota_url"
        raise _error(f"the OTA address names no WebSocket; {hint}", "ota_no_websocket")
    version = socket.get("version")
    version = version if type(version) is int and version in VERSIONS else 1
    asked = _object(answer, "activation")
    activation = Activation(_text(asked, "code"), _text(asked, "message")) if _text(asked, "code") else None
    return Discovery(Endpoint(url, device_id, client_id, _text(socket, "token"), version), activation)


def _object(parent: dict[str, Any], name: str) -> dict[str, Any]:
    value = parent.get(name)
    return value if isinstance(value, dict) else {}


def _text(parent: dict[str, Any], name: str) -> str:
    value = parent.get(name)
    return value if isinstance(value, str) else ""


def _error(message: str, code: str, retryable: bool = False) -> DialogueError:
    return DialogueError(f"xiaozhi: {message}", adapter=NAME, code=f"{NAME}_{code}", retryable=retryable)

"""Who connects: what a device tells of itself in the head of its request, or, as browsers can't, in the query."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from core.dialogue.xiaozhi.framing import VERSIONS
from core.errors import BadRequest

_LONGEST_ID = 128
_LONGEST_TOKEN = 512


@dataclass(frozen=True, slots=True)
class DeviceCaller:
    """`version` of the binary messages; None when neither header nor query tells. The token is not in its repr."""

    device_id: str
    client_id: str = ""
    token: str = field(default="", repr=False)
    version: int | None = None

    @property
    def key(self) -> tuple[str, str]:
        """Whose conversation it is: a device id can be read off the device, the client id can't."""
        return self.device_id, self.client_id


def caller_of(headers: Mapping[str, str], query: Mapping[str, str], device_id: str = "") -> DeviceCaller:
    """Headers win, then the query, then `device_id`. Raises `BadRequest` without a device id, or for what is none."""

    def told(name: str) -> str:
        return (headers.get(name) or query.get(name.lower()) or "").strip()

    device_id, client_id = (told("Device-Id") or device_id.strip()).lower(), told("Client-Id")
    if not device_id:
        raise BadRequest("the header Device-Id (or the query's device-id) is missing")
    if any(len(text) > _LONGEST_ID or not text.isprintable() or "|" in text for text in (device_id, client_id)):
        raise BadRequest(f"device id and client id must be printable, without '|', up to {_LONGEST_ID} characters")
    version = told("Protocol-Version")
    return DeviceCaller(
        device_id,
        client_id,
        _bearer(told("Authorization")),
        int(version) if version in map(str, VERSIONS) else None,
    )


def _bearer(text: str) -> str:
    scheme, _, token = text.partition(" ")
    return (token.strip() if scheme.lower() == "bearer" else text)[:_LONGEST_TOKEN]

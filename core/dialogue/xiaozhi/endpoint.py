"""Where a xiaozhi server is, who we are there, and how the client behaves."""

from __future__ import annotations

import re
from dataclasses import dataclass, field

from core.dialogue.xiaozhi.framing import VERSIONS
from core.errors import DialogueError
from core.socket_address import is_socket_address, on_this_machine

NAME = "xiaozhi"

_MAC = re.compile(r"[0-9a-f]{2}(:[0-9a-f]{2}){5}")


@dataclass(frozen=True, slots=True)
class Endpoint:
    """`url`: ws:// or wss://. `device_id`: a MAC address, lower case with colons; `client_id`: a UUID.

    `version` of the binary messages: 1, 2 or 3. The token is not in its repr.
    """

    url: str
    device_id: str
    client_id: str
    token: str = field(default="", repr=False)
    version: int = 1

    def check(self) -> None:
        """Raises `DialogueError` saying which setting is wrong."""
        problem = ""
        if not is_socket_address(self.url):
            problem = "url must begin with ws:// or wss:// and name a host"
        elif not _MAC.fullmatch(self.device_id):
            problem = "device_id must be a MAC address such as 02:00:00:12:34:56"
        elif not self.client_id or not _plain(self.client_id):
            problem = "client_id must be a UUID"
        elif self.token and not _plain(self.token):
            problem = "token must be plain characters without blanks around them"
        elif self.version not in VERSIONS:
            problem = "version must be 1, 2 or 3"
        if problem:
            raise DialogueError(f"xiaozhi: {problem}", adapter=NAME, code=f"{NAME}_settings")

    @property
    def on_this_machine(self) -> bool:
        """Whether no proxy can be between us and it."""
        return on_this_machine(self.url)

    def headers(self) -> dict[str, str]:
        """Of the handshake. Like the firmware: "Bearer" is put before a token of one word, no token is no header."""
        headers = {
            "Protocol-Version": str(self.version),
            "Device-Id": self.device_id,
            "Client-Id": self.client_id,
        }
        if self.token:
            headers["Authorization"] = self.token if " " in self.token else f"Bearer {self.token}"
        return headers


@dataclass(frozen=True, slots=True)
class Options:
    """`frame_ms`: length of the packets that we send, 20, 40 or 60. `aec`: our microphone hears no echo.

    `ping_s`: a WebSocket ping so often; a server from which nothing came for `silent_s`, not even an answer to a
    ping, is gone. `kept_s`: so much of a recording is kept until the server has understood it, the oldest is dropped;
    what is older than `stale_s` is not sent any more. `queued_s`: so much sound waits for the listener, then the
    server has to wait. `useful_s`: a session that lasted so long, or in which the server said something, was a good
    one: the next failure is the first one again.
    """

    frame_ms: int = 60
    aec: bool = False
    connect_timeout_s: float = 10.0
    hello_timeout_s: float = 10.0
    send_timeout_s: float = 5.0
    tool_timeout_s: float = 30.0
    ping_s: float = 20.0
    silent_s: float = 120.0
    kept_s: float = 30.0
    stale_s: float = 60.0
    queued_s: float = 30.0
    useful_s: float = 30.0


def _plain(value: str) -> bool:
    return value.isascii() and value.isprintable() and value == value.strip()

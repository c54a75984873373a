"""Where Doubao is and how we prove that we may use it."""

from __future__ import annotations

import uuid
from dataclasses import dataclass, field

from asr.doubao.errors import NAME
from core.errors import RecognizerError
from core.socket_address import is_socket_address, on_this_machine

HOST = "openspeech.bytedance.com"
PATH = "/api/v3/sauc/bigmodel_async"
RESOURCE_ID = "volc.bigasr.sauc.duration"


@dataclass(frozen=True, slots=True)
class Endpoint:
    """A server with credentials: `app_key` and `access_key` of the old console, or `api_key` of the new one.

    `host` may begin with ws:// or wss:// and then says how to connect; bare, it means wss. Keys are not in its repr.
    """

    host: str = HOST
    path: str = PATH
    resource_id: str = RESOURCE_ID
    app_key: str = field(default="", repr=False)
    access_key: str = field(default="", repr=False)
    api_key: str = field(default="", repr=False)

    def check(self) -> None:
        """Raises `RecognizerError` saying which setting is missing or wrong."""
        problem = ""
        if not self.api_key and not (self.app_key and self.access_key):
            problem = "set asr.doubao.api_key, or asr.doubao.app_key and asr.doubao.access_key"
        elif not self.resource_id:
            problem = "set asr.doubao.resource_id"
        elif not is_socket_address(self.url):
            problem = "asr.doubao.host must be a host name, or begin with wss:// or ws://"
        elif any(not value.isascii() or not value.isprintable() or value != value.strip() for value in self._values()):
            problem = "asr.doubao keys and resource_id must be plain characters without blanks around them"
        if problem:
            raise RecognizerError(problem, adapter=NAME, code=f"{NAME}_settings")

    @property
    def url(self) -> str:
        """The WebSocket's address. No key is in it."""
        host = self.host if "://" in self.host else f"wss://{self.host}"
        return f"{host.rstrip('/')}/{self.path.lstrip('/')}"

    @property
    def on_this_machine(self) -> bool:
        """Whether no proxy can be between us and it."""
        return on_this_machine(self.url)

    def headers(self) -> dict[str, str]:
        """Of one handshake: credentials and fresh request ids."""
        request_id = str(uuid.uuid4())
        headers = {
            "X-Api-Resource-Id": self.resource_id,
            "X-Api-Connect-Id": request_id,
            "X-Api-Request-Id": request_id,
            "X-Api-Sequence": "-1",
        }
        if self.api_key:
            return headers | {"X-Api-Key": self.api_key}
        return headers | {"X-Api-App-Key": self.app_key, "X-Api-Access-Key": self.access_key}

    def masked(self, text: str) -> str:
        """`text` without our keys, should a server repeat them."""
        for key in (self.api_key, self.access_key, self.app_key):
            if key:
                text = text.replace(key, "***")
        return text

    def _values(self) -> tuple[str, ...]:
        return self.resource_id, self.app_key, self.access_key, self.api_key

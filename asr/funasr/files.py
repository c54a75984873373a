"""Files that a client of the custom protocol may name instead of sending them. Blocking: for worker threads."""

from __future__ import annotations

import stat
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from asr.funasr.refusal import Refusal

_TIMEOUT_S = 30.0


@dataclass(frozen=True, slots=True)
class SharedFiles:
    """Regular files under `roots` (symbolic links are followed first), and web addresses if `http` is set.

    `delete_after`: recognised files under `roots` are deleted, as the server of Fay does; nothing else ever is.
    """

    roots: Sequence[Path] = ()
    http: bool = False
    delete_after: bool = False
    max_bytes: int = 64 * 2**20

    def read(self, url: str) -> bytes:
        """The file's content. Raises `Refusal` (path_not_allowed, too_large, bad_request)."""
        scheme = urllib.parse.urlsplit(url).scheme.lower() if "://" in url else ""
        if scheme in ("http", "https"):
            return self._fetched(url)
        path = self._allowed(url)
        try:
            if not stat.S_ISREG(path.stat().st_mode):
                raise Refusal("path_not_allowed", "this is no file")
            with path.open("rb") as file:
                return self._bounded(file.read(self.max_bytes + 1))
        except (OSError, ValueError):
            raise Refusal("bad_request", "the file can't be read") from None

    def finished(self, url: str) -> None:
        """The file has been dealt with, successfully or not."""
        if self.delete_after and not url.lower().startswith(("http:", "https:")):
            try:
                self._allowed(url).unlink(missing_ok=True)
            except (Refusal, OSError):
                return

    def _allowed(self, url: str) -> Path:
        name = urllib.parse.unquote(url[len("file://") :]) if url.lower().startswith("file://") else url
        try:
            path = Path(name).resolve()
            if any(path.is_relative_to(root.resolve()) for root in self.roots):
                return path
        except (OSError, ValueError, RuntimeError):  # a null byte, a loop of links
            pass
        raise Refusal("path_not_allowed", "files of this folder are not for this server (--root)")

    def _fetched(self, url: str) -> bytes:
        if not self.http:
            raise Refusal("path_not_allowed", "web addresses are not allowed on this server (--http)")
        try:
            with urllib.request.urlopen(url, timeout=_TIMEOUT_S) as answer:
                return self._bounded(answer.read(self.max_bytes + 1))
        except (OSError, ValueError, urllib.error.URLError):
            raise Refusal("bad_request", "the address can't be read") from None

    def _bounded(self, data: bytes) -> bytes:
        if len(data) > self.max_bytes:
            raise Refusal("too_large", f"a file has at most {self.max_bytes} bytes")
        return data

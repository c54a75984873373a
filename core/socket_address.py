"""Addresses of WebSockets, as settings give them."""

from __future__ import annotations

from urllib.parse import urlsplit


def is_socket_address(url: str) -> bool:
    """Whether it is ws:// or wss:// and names a host."""
    try:
        parts = urlsplit(url)
        return parts.scheme in ("ws", "wss") and bool(parts.hostname) and parts.port != 0
    except ValueError:
        return False


def on_this_machine(url: str) -> bool:
    """Whether no proxy can be between us and it."""
    return urlsplit(url).hostname in ("127.0.0.1", "localhost", "::1")

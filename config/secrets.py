"""Which settings are secrets, and the settings without them."""

from __future__ import annotations

from typing import Any

from config.settings import Settings

_WORDS = ("key", "keys", "secret", "token", "password", "credential")


def public_view(settings: Settings) -> dict[str, Any]:
    """The settings as a dict with secrets masked, for `--print-config` and the admin API."""
    view: dict[str, Any] = _masked(settings.model_dump(mode="json"))
    return view


def is_secret(key: str) -> bool:
    """Whether the setting of that name is a secret."""
    # "max_tokens" counts tokens; it is none
    return any(key == word or key.endswith("_" + word) for word in _WORDS)


def _masked(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _hidden(item) if is_secret(key) else _masked(item) for key, item in value.items()}
    return [_masked(item) for item in value] if isinstance(value, list) else value


def _hidden(value: Any) -> Any:
    if isinstance(value, list):
        return ["***" for _ in value]
    return "***" if value and isinstance(value, str) else _masked(value)

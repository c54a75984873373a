"""The one way to load the settings.

Layers, weakest first: `default.yaml` beside this file (the only place where default values stand), the user's YAML
file, `EMAN_SECTION__KEY` in the environment, overrides from the command line.
"""

from __future__ import annotations

import difflib
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml
from pydantic import ValidationError

from config.secrets import is_secret
from config.settings import Settings
from core.errors import SettingsError

DEFAULT_FILE = Path(__file__).with_name("default.yaml")
LOCAL_FILE = Path(__file__).with_name("local.yaml")
ENV_PREFIX = "EMAN_"


def load_settings(
    file: Path | None = None, overrides: Mapping[str, str] | None = None, env: Mapping[str, str] | None = None
) -> Settings:
    """Settings from all layers.

    `file`: the user's YAML (default: config/local.yaml if it exists); `overrides`: dotted key → YAML text,
    as from `--set`. Raises `SettingsError` naming the key's path and what is allowed.
    """
    merged = _read_yaml(DEFAULT_FILE)
    if file is not None or LOCAL_FILE.exists():
        _merge(merged, _read_yaml(file or LOCAL_FILE))
    _merge(merged, _from_environment(os.environ if env is None else env))
    for dotted, text in (overrides or {}).items():
        _merge(merged, _nest(dotted.split("."), _parse_value(text, dotted)))
    try:
        return Settings(**merged)
    except ValidationError as error:
        raise SettingsError("\n".join(_explain(item) for item in error.errors())) from None


def _read_yaml(path: Path) -> dict[str, Any]:
    try:
        data = yaml.safe_load(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise SettingsError(f"{path}: can't be read ({error.strerror})") from error
    except yaml.YAMLError as error:
        raise SettingsError(f"{path}: not valid YAML: {error}") from error
    if data is None:
        return {}
    if not isinstance(data, dict):
        raise SettingsError(f"{path}: expected sections such as 'server:', got {type(data).__name__}")
    return data


def _from_environment(env: Mapping[str, str]) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for name, text in env.items():
        if name.upper().startswith(ENV_PREFIX):
            path = name[len(ENV_PREFIX) :].lower().split("__")
            _merge(found, _nest(path, _parse_value(text, name)))
    return found


def _parse_value(text: str, where: str) -> Any:
    try:
        return yaml.safe_load(text) if text.strip() else ""
    except yaml.YAMLError:
        raise SettingsError(f"{where}: value is not valid YAML: {text[:40]!r}") from None


def _nest(path: list[str], value: Any) -> dict[str, Any]:
    nested: Any = value
    for key in reversed(path):
        nested = {key: nested}
    result: dict[str, Any] = nested
    return result


def _merge(base: dict[str, Any], over: dict[str, Any]) -> None:
    for key, value in over.items():
        if isinstance(value, dict) and isinstance(base.get(key), dict):
            _merge(base[key], value)
        else:
            base[key] = value


def _explain(item: Any) -> str:
    path = ".".join(str(part) for part in item["loc"])
    if item["type"] == "extra_forbidden":
        return f"{path}: unknown key; {_allowed_keys(item['loc'])}"
    return f"{path}: {item['msg']} (got {_shorten(item.get('input'), path)})"


def _shorten(value: Any, path: str) -> str:
    return "a secret" if any(map(is_secret, path.split("."))) else repr(value)[:60]


def _allowed_keys(loc: tuple[str | int, ...]) -> str:
    node: Any = _read_yaml(DEFAULT_FILE)
    for part in loc[:-1]:
        node = node.get(part, {}) if isinstance(node, dict) else {}
    keys = sorted(node) if isinstance(node, dict) else []
    close = difflib.get_close_matches(str(loc[-1]), keys, n=1)
    hint = f"did you mean '{close[0]}'? " if close else ""
    return f"{hint}allowed here: {', '.join(keys)}"

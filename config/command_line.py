"""The command line of `app.py`."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path

from config.layers import load_settings
from config.settings import Settings
from core.errors import SettingsError


def arguments(argv: Sequence[str] | None = None) -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(prog="app.py", description="A voice avatar you can talk to.")
    parser.add_argument("command", nargs="?", choices=["serve", "doctor", "token"], default="serve")
    parser.add_argument("--config", type=Path, metavar="FILE", help="YAML file over config/default.yaml")
    parser.add_argument("--host", help="address to listen on (server.host)")
    parser.add_argument("--port", type=int, help="port to listen on (server.port); 0 = any")
    parser.add_argument(
        "--set", action="append", default=[], metavar="KEY=VALUE", help="any setting, e.g. dialogue.engine=openai"
    )
    parser.add_argument("--hours", type=float, default=24.0, help="token: how long the link is good for (24)")
    parser.add_argument("--url", help="token: address of the server, as visitors see it")
    parser.add_argument("--print-config", action="store_true", help="print the settings in force and exit")
    return parser.parse_args(argv)


def overrides_of(items: Sequence[str]) -> dict[str, str]:
    """What `--set KEY=VALUE` sets. Raises `SettingsError`."""
    overrides: dict[str, str] = {}
    for item in items:
        key, equals, value = item.partition("=")
        if not equals:
            raise SettingsError(f"--set {item}: expected KEY=VALUE, e.g. server.port=8123")
        overrides[key.strip()] = value
    return overrides


def settings_from(options: argparse.Namespace) -> Settings:
    """The settings of a command line. Raises `SettingsError`."""
    overrides = overrides_of(options.set)
    for key in ("host", "port"):
        if getattr(options, key) is not None:
            overrides[f"server.{key}"] = str(getattr(options, key))
    return load_settings(options.config, overrides)

"""Addresses for devices must not hide anything else that the server serves."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path

from aiohttp import web

from core.errors import SettingsError


def check_paths(settings: Mapping[str, Iterable[str]], routes: Iterable[web.AbstractResource], pages: Path) -> None:
    """Raises `SettingsError` for a path that is one of `routes`, a file in `pages`, or under two settings.

    `settings`: key → paths, with or without a final slash.
    """
    taken = list(routes)
    known: dict[str, str] = {}
    for key, paths in settings.items():
        for path in paths:
            bare = path.rstrip("/") or "/"
            own = next((route.canonical for route in taken if _serves(route, bare)), None)
            if own is None and _is_page(pages, bare):
                own = bare
            if own is not None:
                raise SettingsError(f"{key}: {path} is the server's own address {own}; choose another one")
            if known.setdefault(bare, key) != key:
                raise SettingsError(f"{key}: {path} is in {known[bare]}, too; choose another one")


def _serves(route: web.AbstractResource, path: str) -> bool:
    info = route.get_info()
    pattern = info.get("pattern")
    if pattern is not None:
        return any(pattern.fullmatch(spelling) for spelling in (path, f"{path}/"))
    return (info.get("path") or "").rstrip("/") == path.rstrip("/") and "path" in info


def _is_page(pages: Path, path: str) -> bool:
    return path == "/" or (pages / path.lstrip("/")).exists()

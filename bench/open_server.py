"""The server, with a look inside: `python -m bench.open_server` takes app.py's command line.

`GET /bench` answers what lives in it (tasks, objects of some types, after a collection), how long live sound took to
the stage, and when each session's activity changed (monotonic seconds).
"""

from __future__ import annotations

import asyncio
import gc
import sys
import time
from collections import Counter
from typing import Any

from aiohttp import web

import app
from avatar.opus.packets import PacketDecoder, PacketEncoder
from config.settings import Settings
from core.dialogue.xiaozhi.connection import Connection
from core.events import Doing, Event
from core.reply import Reply
from core.voice_reply import VoiceReply

TYPES = (PacketDecoder, PacketEncoder, Connection, Reply, VoiceReply)


class OpenServer(app.Server):
    """Notes what happens in it."""

    def __init__(self, settings: Settings) -> None:
        self.took: list[float] = []
        self.doings: list[tuple[float, str, str]] = []
        super().__init__(settings)
        self._watchers.append(self._note)
        observe = self.metrics.observe_live_sound

        def noted(seconds: float) -> None:
            self.took.append(seconds)
            observe(seconds)

        self.metrics.observe_live_sound = noted  # type: ignore[method-assign]

    def _application(self) -> web.Application:
        application = super()._application()
        application.add_routes([web.get("/bench", self._inside)])
        return application

    def _note(self, session_id: str, event: Event) -> None:
        if isinstance(event, Doing):
            self.doings.append((time.monotonic(), session_id, event.activity.value))

    async def _inside(self, request: web.Request) -> web.Response:
        gc.collect()
        found: Counter[str] = Counter(type(item).__name__ for item in gc.get_objects() if type(item) in TYPES)
        content: dict[str, Any] = {
            "tasks": Counter(_name(task) for task in asyncio.all_tasks()),
            "objects": {kind.__name__: found[kind.__name__] for kind in TYPES},
            "took": self.took,
            "doings": self.doings,
        }
        self.took = []
        return web.json_response(content)


def _name(task: asyncio.Task[Any]) -> str:
    """What it was called, or what it runs."""
    name, work = task.get_name(), task.get_coro()
    return getattr(work, "__qualname__", "?") if name.startswith("Task-") else name.rstrip("0123456789")


if __name__ == "__main__":
    app.Server = OpenServer  # type: ignore[misc]
    sys.exit(app.main(sys.argv[1:]))

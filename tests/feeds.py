"""A server for the dashboard page alone: the files of `web/`, and a live feed that shows what a test tells it to."""

from __future__ import annotations

import asyncio
import contextlib
import copy
import time
from collections.abc import AsyncIterator
from typing import Any

from aiohttp import web
from aiohttp.test_utils import TestServer

from core.web_pages import add_headers, page_routes
from tests.browser import ARTIFACTS

WEB = ARTIFACTS.parent / "web"
ACTIVITIES = ("speaking", "idle", "listening", "thinking", "recognizing", "idle", "speaking", "idle")


def socket(number: int, **more: Any) -> dict[str, Any]:
    """One socket as the monitor describes it."""
    return {
        "connection": f"c{number}",
        "age_s": 60.0 + number,
        "idle_s": 3.0,
        "queued": 0,
        "alive": True,
        "roles": {"web": f"User_{2043561278300000 + number}"},
        **more,
    }


def session(number: int, **more: Any) -> dict[str, Any]:
    """One healthy session."""
    name = str(2043561278300000 + number)
    return {
        "sessionid": name,
        "username": f"User_{name}",
        "link": "connected",
        "link_kind": "webrtc",
        "activity": ACTIVITIES[number % 8],
        "speaking": ACTIVITIES[number % 8] == "speaking",
        "age_s": 61.2 + 347.0 * number,
        "device": "",
        "avatar": "mira",
        "turns": 3 + number,
        "storage": number % 3 != 2,
        "pictures_sent": 1500,
        "pictures_skipped": 0,
        "pictures_failed": 0,
        "fps": 25.0,
        "underruns": 0,
        "clock_resyncs": 0,
        "network": {"rtt_ms": 1.2 + 9.7 * number, "loss_percent": 0.0, "jitter_ms": 0.8},
        "queues": {"replies": 0, "speech_s": 1.4, "messages": 0},
        "sockets": [socket(number)],
        **more,
    }


def turn(number: int, at: int, **more: Any) -> dict[str, Any]:
    """One spoken answer."""
    slow = (number * 37) % 90
    return {
        "sessionid": str(2043561278300000 + number % 3),
        "reply_id": f"r{number}",
        "at": at,
        "source": "speech",
        "outcome": "end",
        "engine": "demo",
        "marks": {
            "transcript": 150 + slow,
            "first_token": 190 + 2 * slow,
            "first_audio": 240 + 3 * slow,
            "on_wire": 262 + 3 * slow,
        },
        **more,
    }


def error(stage: str, adapter: str, code: str, message: str, count: int, at: int) -> dict[str, Any]:
    """One group of errors, the last a minute ago."""
    return {
        "stage": stage,
        "adapter": adapter,
        "code": code,
        "message": message,
        "count": count,
        "first_at": at - 900_000,
        "last_at": at - 60_000,
        "sessionid": "2043561278300001",
    }


def recognition(number: int, at: int, text: str, stage: str = "final", turn: int | None = None) -> dict[str, Any]:
    """One result of a recogniser, of a turn of its own unless `turn` tells another."""
    return {
        "sessionid": "2043561278300001",
        "sequence": number if turn is None else turn,
        "result_id": f"2043561278300001-{number}",
        "stage": stage,
        "text": text,
        "start": 1.2 * number,
        "end": 1.2 * number + 1.7,
        "at": at,
        "engine": "pocketsphinx",
        "predecessors": [f"2043561278300001-{number - 1}"] if number else [],
    }


def snapshot(sessions: int = 1, turns: int = 0, **server: Any) -> dict[str, Any]:
    """A healthy server with so many sessions and answers; `server` overrides its figures."""
    now = int(time.time() * 1000)
    return {
        "type": "snapshot",
        "at": now,
        "server": {
            "version": "0.1.0",
            "uptime_s": 7512.0,
            "cpu_percent": 6.0 + 11.3 * sessions,
            "rss_mb": 212.4 + 14 * sessions,
            "loop_lag_ms": 0.4,
            "log_level": "info",
            "sessions": sessions,
            "max_sessions": 8,
            "sockets": sessions,
            "sound_sockets": 0,
            "username_conflicts": 0,
            "ready": True,
            "adapters": {
                "asr": "pocketsphinx",
                "dialogue": "demo",
                "tts": "espeak",
                "lipsync": "phonemes",
                "face": "vector",
            },
            **server,
        },
        "sessions": [session(number) for number in range(sessions)],
        "other_sockets": [],
        "turns": [turn(number, now - 9000 * (turns - number)) for number in range(turns)],
        "errors": [],
        "recognitions": [],
    }


class Feed:
    """Plays the admin API: sends `current` to every logged-in page, keeps the commands it gets."""

    def __init__(self, token: str = "") -> None:
        self.token = token
        self.current = snapshot(0)
        self.commands: list[tuple[str, dict[str, Any], str]] = []
        """(path, body, Authorization) of each POST."""
        self.refusal = ""
        """When set, commands are refused with this message."""
        self.url = ""
        self.logins: list[str] = []
        self._server: TestServer | None = None
        self._pages: set[web.WebSocketResponse] = set()

    def application(self) -> web.Application:
        """The pages and the routes that they use."""

        async def poster() -> bytes:
            return b""

        application = web.Application()
        application.add_routes([web.get("/api/admin/live", self._live), web.post("/api/admin/{name}", self._command)])
        application.add_routes(page_routes(WEB, poster))
        application.on_response_prepare.append(add_headers)
        return application

    async def show(self, current: dict[str, Any]) -> None:
        """Send this snapshot to every page now, and to pages that come later."""
        self.current = current
        for page in list(self._pages):
            await page.send_json(current)

    async def history(self, current: dict[str, Any], seconds: int) -> None:
        """Send the same snapshot as if it had been so for `seconds`, with a little life in its figures."""
        for second in range(seconds):
            past = copy.deepcopy(current)
            past["at"] = current["at"] - 1000 * (seconds - second)
            past["server"]["cpu_percent"] += 5 * ((second * 7) % 5) / 5
            for one in past["sessions"]:
                one["pictures_sent"] -= 25 * (seconds - second)
                one["fps"] -= ((second * 3) % 7) / 10
                if one["network"]["rtt_ms"] is not None:
                    one["network"]["rtt_ms"] += (second * 5) % 4
            await self.show(past)
        await self.show(current)

    async def start(self, port: int) -> None:
        """Listen; 0 means any port."""
        self._server = TestServer(self.application(), host="127.0.0.1", port=port or None)
        await self._server.start_server()
        self.url = f"http://127.0.0.1:{self._server.port}"

    async def stop(self) -> None:
        """End every connection and listen no more, as a server that goes down does."""
        for page in list(self._pages):
            await page.close()
        if self._server is not None:
            await self._server.close()

    async def _live(self, request: web.Request) -> web.WebSocketResponse:
        page = web.WebSocketResponse()
        await page.prepare(request)
        login = await page.receive_json()
        self.logins.append(login["token"])
        if login["token"] != self.token:
            await page.send_json({"type": "error", "code": "auth_failed", "message": "the admin token is wrong"})
            await page.close(code=1008)
            return page
        self._pages.add(page)
        await page.send_json(self.current)
        try:
            async for _ in page:
                pass
        finally:
            self._pages.discard(page)
        return page

    async def _command(self, request: web.Request) -> web.Response:
        body = await request.json()
        self.commands.append((request.path, body, request.headers.get("Authorization", "")))
        if self.refusal:
            return web.json_response({"code": -1, "msg": self.refusal, "error": "bad_request"})
        if request.path.endswith("log_level"):
            self.current["server"]["log_level"] = body["level"]
        data = {"reached": len(self.current["sessions"]), "sockets": 1} if request.path.endswith("message") else None
        return web.json_response({"code": 0, "msg": "ok", **({"data": data} if data else {})})


@contextlib.asynccontextmanager
async def feeding(token: str = "", port: int = 0) -> AsyncIterator[Feed]:
    """A running feed; `port` to come back where another one was."""
    feed = Feed(token)
    await feed.start(port)
    beat = asyncio.create_task(_beat(feed))
    try:
        yield feed
    finally:
        beat.cancel()
        await feed.stop()


async def _beat(feed: Feed) -> None:
    """Pages take six silent seconds for a dead line: send the same again, at the same moment in its story."""
    while True:
        await asyncio.sleep(2)
        await feed.show(feed.current)

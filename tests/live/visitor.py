"""A visitor of a running server, whose failures tell an operator where to look."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any

import aiohttp
import numpy as np
import pytest
from aiortc.mediastreams import MediaStreamTrack

from tests.avatar_client import AvatarClient, loudness

GRID = 16
MOVES = 1.0
"""Standard deviation of a block, in grey levels, below which nothing moves in it."""
NO_MEDIA = (
    "the offer was answered but no media arrived within {patience:g} s: is UDP blocked between here and the server (a "
    "firewall, a container without published UDP ports)? A TURN server under `ice.servers` carries media through it. "
    "The server offered these addresses: {addresses}"
)
NO_SOUND = (
    "{what} was accepted but nothing is audible after {patience:g} s: pictures arrive, so the connection is fine; look "
    "for errors of the voice (tts) in the server's log. The page was told: {told}"
)
NO_MESSAGE = (
    "{what}: no {kind} message on /ws within {patience:g} s: does a proxy cut WebSockets off? Received: {received}"
)


@dataclass(frozen=True, slots=True)
class Installation:
    """A server and how to talk to it: `token` lets sessions be started, `admin_token` opens the operators' API."""

    url: str
    token: str
    admin_token: str
    patience: float

    @asynccontextmanager
    async def visit(self, *, microphone: MediaStreamTrack | None = None, **extra: Any) -> AsyncIterator[Visitor]:
        """A connected visitor with a WebSocket; hangs up at the end."""
        client = Visitor(self, microphone, extra)
        try:
            await client.arrive()
            yield client
        finally:
            if "token" in client.answer:
                await client.post("/api/hangup", sessionid=client.session)
            await client.close()

    async def ask(self, method: str, path: str, **request: Any) -> tuple[int, dict[str, Any]]:
        """Status and JSON of one request."""
        async with aiohttp.ClientSession() as http, http.request(method, self.url + path, **request) as response:
            answer: dict[str, Any] = await response.json(content_type=None)
            return response.status, answer

    async def offer(self, sdp: str, **more: Any) -> dict[str, Any]:
        """The answer to an offer."""
        allowed = {"token": self.token} if self.token else {}
        return (await self.ask("POST", "/offer", json={"sdp": sdp, "type": "offer", **allowed, **more}))[1]

    async def admin(self, method: str, path: str, **request: Any) -> tuple[int, dict[str, Any]]:
        """As `ask`, as the operator."""
        headers = {"X-Admin-Token": self.admin_token} if self.admin_token else {}
        return await self.ask(method, path, headers=headers, **request)


class Visitor(AvatarClient):
    """A client that shows its session's token with every call, as pages do, and explains what it misses."""

    def __init__(self, place: Installation, microphone: MediaStreamTrack | None, extra: dict[str, Any]) -> None:
        allowed = {"token": place.token} if place.token else {}
        super().__init__(place.url, microphone=microphone, extra={**allowed, **extra})
        self.patience = place.patience

    async def post(self, path: str, **body: Any) -> dict[str, Any]:
        own = {} if path == "/offer" else {"token": self.answer["token"]}
        return await super().post(path, **{**own, **body})

    async def arrive(self) -> None:
        """Connect and log in, or fail with a reason."""
        answer = await self.offer()
        if "sdp" not in answer:
            pytest.fail(f"the server refused a good offer: {answer.get('msg', answer)}", pytrace=False)
        try:
            await self.accept(answer, wait=self.patience)
        except TimeoutError:
            lines = [line for line in answer["sdp"].splitlines() if line.startswith("a=candidate")]
            addresses = sorted({" ".join(line.split()[2:6:2]) + ":" + line.split()[5] for line in lines}) or "none"
            half = f"Sound came: {bool(self.sound)}, pictures came: {bool(self.pictures)}."
            pytest.fail(f"{NO_MEDIA.format(patience=self.patience, addresses=addresses)} {half}", pytrace=False)
        try:
            await self.login()
        except (TimeoutError, aiohttp.ClientError) as error:
            pytest.fail(
                f"media flows, but /ws can't be used ({error!r}): does a proxy cut WebSockets off?", pytrace=False
            )

    async def heard_after(self, since: float, what: str) -> float:
        """When something became audible, or fail with a reason."""
        try:
            return await self.audible(since, self.patience)
        except TimeoutError:
            told = [m for m in self.messages if m["type"] in ("reply", "status_update")][-4:]
            pytest.fail(NO_SOUND.format(what=what, patience=self.patience, told=told), pytrace=False)

    async def told(self, what: str, kind: str, **fields: Any) -> dict[str, Any]:
        """A message of the WebSocket, or fail with a reason."""
        try:
            return await self.message(kind, self.patience, **fields)
        except TimeoutError:
            received = [{key: m.get(key) for key in ("type", "state", "status")} for m in self.messages[-6:]]
            pytest.fail(
                NO_MESSAGE.format(what=what, kind=f"{kind} {fields or ''}", patience=self.patience, received=received),
                pytrace=False,
            )


def lips_follow(client: AvatarClient, since: float, until: float) -> float:
    """How well some part of the picture follows the sound, wherever the mouth is: Pearson r, -1..1.

    For each block of a 16 × 16 grid: how far it is from its usual look, against the loudness over 120 ms, at
    the best lag within 0.2 s. A talking mouth reaches 0.8; a head that only nods along stays below 0.5.
    """
    pictures = [(arrival, luma) for arrival, _, luma in client.pictures if since <= arrival <= until]
    times = np.array([arrival for arrival, _ in pictures])
    luma = np.stack([picture for _, picture in pictures]).astype(np.float32)
    count, height, width = luma.shape
    luma = luma[:, : height // GRID * GRID, : width // GRID * GRID]
    away = np.abs(luma - np.median(luma, axis=0)).reshape(count, GRID, height // GRID, GRID, width // GRID)
    blocks = away.mean(axis=(2, 4)).reshape(count, -1)
    moving = blocks[:, blocks.std(axis=0) > MOVES]
    heard = np.convolve([loudness(samples) for _, _, samples in client.sound], np.ones(6) / 6, "same")
    arrivals = [arrival for arrival, _, _ in client.sound]
    best = 0.0
    for lag in np.arange(-0.2, 0.21, 0.02):
        level = np.interp(times - lag, arrivals, heard)
        best = max([best, *(float(np.corrcoef(block, level)[0, 1]) for block in moving.T)])
    return best

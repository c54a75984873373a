"""`python app.py doctor`: checks this machine and says what to do.

Every stage is exercised through its contract, so what is reported is what a user would meet.
"""

from __future__ import annotations

import asyncio
import os
import socket
import time
from collections.abc import Awaitable, Callable
from contextlib import aclosing
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import TypeVar

import numpy as np

from core.cast import THUMBNAIL
from core.errors import AdapterError
from core.frames import LISTEN_RATE, FaceCue, Pcm, SpeechChunk, Transcript
from core.history import History
from core.stages import Adapter, Dialogue, Face, LipSync, PicturedFace, Recognizer, Synthesizer, VoiceService
from core.voice_events import LineFailed, LineUp

TIMEOUT_S = 30.0
A = TypeVar("A", bound=Adapter)
LOCAL = ("127.0.0.1", "localhost", "::1")


class Verdict(StrEnum):
    """Of one check."""

    GOOD = "ok"
    CAUTION = "note"
    BAD = "FAIL"


@dataclass(frozen=True, slots=True)
class Finding:
    """What a check found; `advice` says what to do about it."""

    subject: str
    verdict: Verdict
    detail: str
    advice: str = ""

    def __str__(self) -> str:
        text = f"  {self.verdict.value:4}  {self.subject:18} {self.detail}"
        return f"{text}\n{'':26}→ {self.advice}" if self.advice else text


def check_port(host: str, port: int) -> Finding:
    """Whether the port can be listened on."""
    try:
        with socket.create_server((host, port)):
            return Finding("port", Verdict.GOOD, f"{host}:{port} is free")
    except OSError as error:
        advice = "is Eman running already? Choose another: --port 8123 (or PORT=8123 make run)"
        return Finding("port", Verdict.BAD, f"{host}:{port}: {os.strerror(error.errno or 0)}", advice)


def check_origin(host: str) -> Finding:
    """Browsers give the microphone only to localhost and to HTTPS pages."""
    if host in LOCAL:
        return Finding("microphone", Verdict.GOOD, "pages from localhost may use it")
    advice = "put a TLS proxy (nginx, Caddy) in front, or use `ssh -L 8010:localhost:8010` from the other machine"
    return Finding("microphone", Verdict.CAUTION, f"browsers refuse it to http://{host}: they want HTTPS", advice)


def check_access(host: str, *, tokens: bool, admin: bool) -> Finding:
    """Who may talk to the avatar and who may open the dashboard."""
    if host in LOCAL:
        return Finding("access", Verdict.GOOD, "only this machine reaches the server")
    if not tokens:
        advice = "auth.enabled=true gives each session to its owner only (docs/operations.md)"
        return Finding("access", Verdict.CAUTION, f"whoever reaches http://{host} may use every session", advice)
    if not admin:
        advice = "set auth.admin_token to open it from elsewhere too"
        return Finding("access", Verdict.CAUTION, "the dashboard opens on this machine only", advice)
    return Finding("access", Verdict.GOOD, "sessions and dashboard need their tokens")


async def check_history(history: History, file: Path | None) -> Finding:
    """Whether conversations can be kept."""
    if file is None:
        return Finding("history", Verdict.GOOD, "off: nothing is kept")
    await history.start()
    try:
        if history.available:
            return Finding("history", Verdict.GOOD, f"kept in {file}")
        advice = "choose another file with history.path, or switch it off with history.enabled=false"
        return Finding("history", Verdict.CAUTION, f"{file} can't be used; the server runs without", advice)
    finally:
        await history.close()


async def check_stage(subject: str, adapter: A, trial: Callable[[A], Awaitable[str]]) -> Finding:
    """Start an adapter, use it once through its contract (`trial` tells what it did), close it."""
    began = time.monotonic()
    try:
        async with asyncio.timeout(TIMEOUT_S):
            await adapter.start()
            detail = await trial(adapter)
    except AdapterError as error:
        return Finding(subject, Verdict.BAD, f"{adapter.name}: {error}", "see docs/ for this engine, or choose another")
    except TimeoutError:
        advice = "is its server up, and reachable from here?"
        return Finding(subject, Verdict.BAD, f"{adapter.name}: no answer within {TIMEOUT_S:.0f} s", advice)
    finally:
        await adapter.close()
    return Finding(subject, Verdict.GOOD, f"{adapter.name}: {detail} ({time.monotonic() - began:.1f} s)")


async def listen(recognizer: Recognizer) -> str:
    """A second of silence, recognised."""

    def ignore(transcript: Transcript) -> None:
        """Partials don't matter here."""

    stream = recognizer.open(ignore)
    stream.push(np.zeros(LISTEN_RATE, np.int16))
    await stream.finish()
    return f"understands {', '.join(recognizer.languages)}"


async def ask(dialogue: Dialogue) -> str:
    """One question, answered."""
    async with aclosing(dialogue.reply((), "Say hello.")) as pieces:  # type: ignore[type-var]
        async for _ in pieces:
            return "answers"
    raise AdapterError("it gave an empty answer", adapter=dialogue.name)


async def speak(synthesizer: Synthesizer) -> str:
    """One word, spoken."""
    seconds = 0.0
    async for chunk in synthesizer.synthesize("Hello."):
        seconds += chunk.pcm.seconds
    if seconds == 0:
        raise AdapterError("it gave no sound", adapter=synthesizer.name)
    return f"speaks ({seconds:.1f} s of sound)"


async def connect(service: VoiceService) -> str:
    """One line, opened."""
    call = service.open("doctor")
    try:
        async for event in call.events():
            if isinstance(event, LineUp):
                return "answers"
            if isinstance(event, LineFailed):
                raise event.error
    finally:
        await call.close()
    raise AdapterError("it does not answer", adapter=service.name)


async def draw(face: Face) -> str:
    """One picture, and how many there are to be behind it; what is wrong with others is in the log of a start."""

    def work() -> str:
        picture = face.open(256, 256).draw(FaceCue(0.0))
        behind = len(face.pictures(THUMBNAIL)) if isinstance(face, PicturedFace) else 0
        more = f", {behind} background picture{'s' * (behind != 1)}" if behind else ""
        return f"draws ({picture.shape[1]}×{picture.shape[0] * 2 // 3}{more})"

    return await asyncio.to_thread(work)


async def move(lipsync: LipSync) -> str:
    """A tenth of a second of silence."""
    stream = lipsync.open()
    rows = len(stream.feed(SpeechChunk(Pcm(np.zeros(LISTEN_RATE // 10, np.int16), LISTEN_RATE))))
    return f"moves ({rows + len(stream.finish())} frames)"

"""Renders what the avatar says into a file, as fast as the machine can: the stage plays on a clock that does not wait.

Three things go on at once: speech is made ahead of the clock, pictures are drawn in one thread, and encoded in another.
What is shown does not depend on how fast any of them is.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import aclosing
from typing import Any

import numpy as np
from av import VideoFrame

from avatar.guard import FrameGuard
from avatar.speaker import Speaker
from avatar.speech import Speech
from avatar.stage import SpeechStage
from avatar.video_file import VideoFile
from core.acts import weight
from core.errors import EmanError
from core.frames import AUDIO_FRAME, FPS, PICTURE, FaceCue, Samples, SpeechChunk
from core.sentences import Piece, SentenceCutter
from core.stages import FaceStream, LipSync, SpeechWriter, StageListener, Synthesizer

LEAD_S = 0.4
"""The face at rest, before the first sound."""
TAIL_S = 1.0
"""… and after the last."""
_AHEAD_S = 0.5
"""The clock waits while less speech than this is ready, so that no pause is made by a slow voice."""
_BATCH = 10
"""Pictures that are handed from thread to thread at once."""

Script = Callable[[SpeechWriter], Awaitable[None]]
"""Speaks all there is to say, and returns when it is on the stage."""
_Batch = tuple[Sequence[FaceCue], Samples]


class Narration:
    """A `Script`: a text, with tags that the face acts out, spoken by a voice."""

    def __init__(self, text: str, synthesizer: Synthesizer, voice: str | None = None) -> None:
        cutter = SentenceCutter()
        self._pieces: list[Piece] = [*cutter.feed(text), *cutter.finish()]
        self._synthesizer = synthesizer
        self._voice = voice
        self._weights = [weight(piece.text) for piece in self._pieces]
        self._spoken = 0.0
        self._seconds = 0.0

    @property
    def empty(self) -> bool:
        """Nothing in the text can be spoken."""
        return not any(piece.text for piece in self._pieces)

    @property
    def expected_s(self) -> float | None:
        """About how long all of it takes, judged by what was spoken so far."""
        return self._seconds * sum(self._weights) / self._spoken if self._spoken else None

    async def __call__(self, writer: SpeechWriter) -> None:
        """Speak it. Raises `SynthesizerError`, `LipSyncError`."""
        for piece, size in zip(self._pieces, self._weights, strict=True):
            if not piece.text:
                await writer.act(piece.acts)
                continue
            await writer.begin(piece.text, piece.acts)
            sound: Any = self._synthesizer.synthesize(piece.text, voice=self._voice)
            async with aclosing(sound) as chunks:
                async for chunk in chunks:
                    self._seconds += chunk.pcm.seconds
                    await writer.write(chunk)
            await writer.end()
            self._spoken += size


class Playback:
    """A `Script`: sound that was recorded, and the words in it where they are known."""

    def __init__(self, sound: AsyncIterator[SpeechChunk], text: str = "", seconds: float | None = None) -> None:
        self._sound = sound
        self._text = text
        self.expected_s = seconds

    async def __call__(self, writer: SpeechWriter) -> None:
        """Play it. Raises `BadRequest`, `LipSyncError`."""
        await writer.begin(self._text)
        async for chunk in self._sound:
            await writer.write(chunk)
        await writer.end()


class _FedStage(SpeechStage):
    """A stage that can be waited for to get something to play."""

    def __init__(self, listener: StageListener) -> None:
        super().__init__(listener)
        self._news = asyncio.Event()

    def put(self, speech: Speech) -> bool:
        """See `SpeechStage`."""
        wanted = super().put(speech)
        self.feed()
        return wanted

    def feed(self) -> None:
        """Wake who waits."""
        self._news.set()

    async def fed(self) -> None:
        """Wait for the next piece, or `feed`."""
        self._news.clear()
        await self._news.wait()


class Renderer:
    """Draws and encodes one video. `show` hears how many seconds are done, a few times per second."""

    def __init__(
        self,
        *,
        lipsync: LipSync,
        face: FaceStream,
        guard: FrameGuard,
        file: VideoFile,
        show: Callable[[float], None] = lambda seconds: None,
    ) -> None:
        self._stage = _FedStage(self)
        self._lipsync = lipsync
        self._face = face
        self._guard = guard
        self._file = file
        self._show = show
        self._picture = 0
        self._said = False

    async def render(self, script: Script) -> None:
        """All of it. Raises what the script raises; then the file is not complete."""
        try:
            await self._perform(script)
        except* EmanError as group:
            raise group.exceptions[0] from group

    async def _perform(self, script: Script) -> None:
        with ThreadPoolExecutor(3, "render") as threads:
            drawing: asyncio.Queue[_Batch | None] = asyncio.Queue(2)
            encoding: asyncio.Queue[tuple[list[VideoFrame], Samples] | None] = asyncio.Queue(2)
            async with asyncio.TaskGroup() as group:
                group.create_task(self._draw(threads, drawing, encoding))
                group.create_task(self._encode(threads, encoding))
                await self._play(LEAD_S, drawing)
                writer = Speaker(self._stage, self._lipsync, threads).writer("offline")
                speaking = group.create_task(self._speak(script, writer))
                while not self._said or self._stage.speaking:
                    await self._batch(drawing)
                await speaking
                await self._play(TAIL_S, drawing)
                await drawing.put(None)

    async def _speak(self, script: Script, writer: SpeechWriter) -> None:
        await script(writer)
        self._said = True
        self._stage.feed()
        await writer.played()

    async def _play(self, seconds: float, drawing: asyncio.Queue[_Batch | None]) -> None:
        for _ in range(round(seconds * FPS / _BATCH)):
            await self._batch(drawing, wait=False)

    async def _batch(self, drawing: asyncio.Queue[_Batch | None], *, wait: bool = True) -> None:
        cues: list[FaceCue] = []
        sound: list[Samples] = []
        for _ in range(_BATCH):
            while wait and not self._said and self._stage.queued_seconds < _AHEAD_S:
                await self._stage.fed()
            position = self._picture * PICTURE
            cues.append(self._stage.cue(self._picture / FPS))
            sound += [self._stage.read(at) for at in range(position, position + PICTURE, AUDIO_FRAME)]
            self._picture += 1
        await drawing.put((cues, np.concatenate(sound)))

    async def _draw(
        self,
        threads: ThreadPoolExecutor,
        drawing: asyncio.Queue[_Batch | None],
        encoding: asyncio.Queue[tuple[list[VideoFrame], Samples] | None],
    ) -> None:
        def work(cues: Sequence[FaceCue]) -> list[VideoFrame]:
            return [self._guard.draw(self._face, cue) for cue in cues]

        loop = asyncio.get_running_loop()
        while (batch := await drawing.get()) is not None:
            await encoding.put((await loop.run_in_executor(threads, work, batch[0]), batch[1]))
        await encoding.put(None)

    async def _encode(
        self, threads: ThreadPoolExecutor, encoding: asyncio.Queue[tuple[list[VideoFrame], Samples] | None]
    ) -> None:
        loop = asyncio.get_running_loop()
        while (batch := await encoding.get()) is not None:
            await loop.run_in_executor(threads, self._file.write, *batch)
            self._show(self._file.seconds)

    # -- StageListener

    def utterance_started(self, reply_id: str, index: int, text: str, at: float) -> None:
        """See `core.stages.StageListener`: nobody is told."""

    def utterance_ended(self, reply_id: str, index: int, text: str) -> None:
        """See `core.stages.StageListener`."""

"""What the custom protocol's server does with audio, without sockets: decode, queue, recognise, remember, expire."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable, Coroutine
from typing import Protocol, cast

from asr.funasr import answers
from asr.funasr.audio import decode
from asr.funasr.files import SharedFiles
from asr.funasr.live import LiveTurn
from asr.funasr.refusal import Refusal
from asr.funasr.schema import AudioFormat
from asr.funasr.transcriber import Transcriber
from asr.funasr.upload import Limits, Memory, Stage, Upload, Uploads
from core.errors import RecognizerError
from core.frames import LISTEN_RATE, Samples, Transcript

log = logging.getLogger(__name__)

STILL_AT_IT_S = 10.0
"""Who wants to know is told this often that a recognition goes on."""

Tell = Callable[[str], Awaitable[None]]


class Owner(Protocol):
    """A connection."""

    async def send(self, frame: str) -> None:
        """Send a text frame, or nothing if the client is gone."""


async def silent(_: str) -> None:
    """Older clients take every frame for the result: they are told nothing else."""


class RecognitionService:
    """Recognitions of all connections. `limits` bound what they hold, `transcriber` what is worked on at a time."""

    def __init__(
        self, transcriber: Transcriber, *, limits: Limits, files: SharedFiles,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:  # fmt: skip
        self.limits = limits
        self.files = files
        self.memory = Memory(limits.memory)
        self.uploads = Uploads(limits, self.memory, clock)
        self._transcriber = transcriber
        self._decoders = asyncio.Semaphore(2)
        self._jobs: dict[Upload, asyncio.Task[None]] = {}
        self._turns: dict[Upload, LiveTurn] = {}

    @property
    def jobs(self) -> int:
        """Uploads being recognised, and turns being followed."""
        return len(self._jobs) + len(self._turns)

    async def close(self) -> None:
        """Drop everything."""
        jobs = list(self._jobs.values())
        for job in jobs:
            job.cancel()
        await asyncio.gather(*jobs, return_exceptions=True)
        for upload in list(self._turns):
            await self.unfollow(upload)

    async def expire(self) -> None:
        """Drop uploads that have waited too long; who is still there is told."""
        for upload in self.uploads.expired():
            await self.drop(upload)
            if upload.stage is Stage.OPEN and upload.owner is not None:
                refusal = upload.refusal("timeout", f"no chunk came for {self.limits.idle_s:g} seconds")
                await self._tell(upload, answers.refused(refusal))

    async def drop(self, upload: Upload) -> None:
        """End an upload and what is done for it. Idempotent."""
        self.uploads.drop(upload)
        if (job := self._jobs.pop(upload, None)) is not None:
            job.cancel()
        await self.unfollow(upload)

    async def leave(self, owner: Owner, *, clean: bool) -> None:
        """A connection has ended. What it uploaded stays for `audio_resume`; nobody follows it meanwhile."""
        for upload in self.uploads.park(owner, clean):
            if upload.stage is Stage.OPEN:
                await self.unfollow(upload)

    async def follow(self, upload: Upload) -> bool:
        """Recognise an upload of raw PCM while it comes, if its client wants that and it can be."""
        if not upload.wish.live or upload.wish.audio_format != AudioFormat("pcm"):
            return False

        async def tell(partial: Transcript) -> None:
            await self._tell(upload, answers.partial(upload.request_id, partial.text))

        turn = LiveTurn(self._transcriber, tell)
        if turn.going:
            self._turns[upload] = turn
        return turn.going

    async def unfollow(self, upload: Upload) -> None:
        """Recognise it when all of it is there."""
        if (turn := self._turns.pop(upload, None)) is not None:
            await turn.close()

    async def feed(self, upload: Upload) -> None:
        """More chunks are there for a turn that is followed."""
        turn = self._turns.get(upload)
        while turn is not None and (chunk := upload.chunks.get(turn.fed)) is not None:
            if not turn.feed(chunk):
                await self.unfollow(upload)
                return

    def process(self, upload: Upload) -> None:
        """All chunks are there: recognise them. The answer goes to the connection that the upload has then.

        Raises `Refusal` (busy).
        """
        if upload not in self._turns:
            self._transcriber.check()
        upload.stage = Stage.PROCESSING
        self._jobs[upload] = asyncio.create_task(self._process(upload), name=f"funasr {upload.request_id}")

    async def deliver(self, upload: Upload) -> None:
        """Send the answer if there is one, and somebody to get it."""
        if upload.owner is not None and upload.answer is not None:
            upload.told = True
            await self._tell(upload, upload.answer)

    async def recognise(
        self, load: Callable[[], bytes], given: AudioFormat, tell: Tell, *, request_id: str | None,
        default: str = "wav", loaded: Callable[[], None] | None = None,
    ) -> tuple[Transcript, float]:  # fmt: skip
        """Recognise what `load` brings (called in a thread); also the audio's length in seconds.

        `loaded` is called when the encoded form is not needed any more. Raises `Refusal`, `RecognizerError`.
        """

        def decoded() -> tuple[int, Samples]:
            data = load()
            return len(data), decode(data, given, self.limits.audio_s, default=default)

        self._transcriber.check()
        async with self._decoders:
            size, samples = await asyncio.to_thread(decoded)
        if loaded is not None:
            loaded()
        self.memory.take(samples.nbytes)
        try:
            transcript = await self._told(self._transcriber.transcribe(samples), tell, request_id, size, len(samples))
        finally:
            self.memory.give(samples.nbytes)
        return transcript, len(samples) / LISTEN_RATE

    async def recognise_file(self, url: str, tell: Tell, *, request_id: str | None) -> tuple[Transcript, float]:
        """Recognise a file that is shared with the client; as `recognise`."""
        try:
            return await self.recognise(lambda: self.files.read(url), AudioFormat(), tell, request_id=request_id)
        finally:
            await asyncio.to_thread(self.files.finished, url)

    async def _process(self, upload: Upload) -> None:
        began = time.monotonic()
        try:
            transcript, seconds = await self._recognised(upload)
            elapsed_ms = round((time.monotonic() - began) * 1000)
            log.debug("request %s: %.1f s of audio in %d ms", upload.request_id, seconds, elapsed_ms)
            frame = answers.result(
                transcript, upload.wish.result_format, request_id=upload.request_id,
                duration_ms=round(seconds * 1000), elapsed_ms=elapsed_ms,
            )  # fmt: skip
        except (Refusal, RecognizerError) as error:
            frame = answers.refused(refusal_of(error, upload.request_id))
        except Exception:
            log.exception("a recognition failed")
            frame = answers.refused(upload.refusal("asr_failed", "recognition failed"))
        finally:
            self._jobs.pop(upload, None)
            await self.unfollow(upload)
        if upload in self.uploads:
            self.uploads.done(upload, frame)
            await self.deliver(upload)

    async def _recognised(self, upload: Upload) -> tuple[Transcript, float]:
        async def tell(frame: str) -> None:
            await self._tell(upload, frame)

        turn = self._turns.get(upload)
        if turn is not None and turn.fed == len(upload.chunks):
            upload.assembled()
            try:
                final = self._told(turn.finish(), tell, upload.request_id, upload.size, int(turn.seconds * LISTEN_RATE))
                return await final, turn.seconds
            except RecognizerError as error:
                log.warning("a followed turn failed, it is recognised again: %s", error)
        await self.unfollow(upload)
        return await self.recognise(
            upload.assembled, upload.wish.audio_format, tell, request_id=upload.request_id,
            loaded=lambda: self.uploads.release(upload),
        )  # fmt: skip

    async def _told(
        self, work: Coroutine[None, None, Transcript], tell: Tell, request_id: str | None, size: int, samples: int
    ) -> Transcript:
        """Do the work, telling every now and then that it goes on."""
        task = asyncio.ensure_future(work)
        try:
            while True:
                frame = answers.processing(request_id, size, samples * 1000 // LISTEN_RATE, self._transcriber.waiting)
                await tell(frame)
                if (await asyncio.wait({task}, timeout=STILL_AT_IT_S))[0]:
                    return task.result()
        finally:
            if not task.done():
                task.cancel()
                await asyncio.gather(task, return_exceptions=True)

    async def _tell(self, upload: Upload, frame: str) -> None:
        if upload.owner is not None:
            await cast(Owner, upload.owner).send(frame)


def refusal_of(error: Refusal | RecognizerError, request_id: str | None) -> Refusal:
    """The error as the client of that request is told it."""
    if isinstance(error, Refusal):
        error.request_id = request_id
        return error
    return Refusal("asr_failed", str(error), request_id=request_id, retryable=error.retryable)

"""The custom FunASR server: large uploads, how fast they travel, and what many users cost. Part of the asr measurement.

`python -m bench.asr_transfer [--quick]` runs it alone.
"""

from __future__ import annotations

import asyncio
import contextlib
import io
import json
import sys
import time
import wave
from collections.abc import AsyncIterator, Callable

import numpy as np

from asr.funasr.client import FunASRClient, Recognition
from bench.__main__ import line
from bench.processes import CLIENT_CORE, SERVER_CORE, Tree, pin_to
from bench.result import ROOT, Figure, Options, Result, described
from bench.sounds import SENTENCES
from bench.turns import edits
from core.errors import RecognizerError
from core.frames import LISTEN_RATE, Samples, Transcript
from tests.speech import flite

MB = 1_000_000
SIZES_MB = (1, 3, 5)
VOICES = ("slt", "rms", "kal16")


class Instant:
    """A recogniser that takes no time, so that the transfer is what is measured. Its words are the sample count."""

    name = "instant"
    languages = ("*",)

    async def start(self) -> None:
        """Nothing to load."""

    async def close(self) -> None:
        """Nothing to free."""

    def open(self, _: Callable[[Transcript], None]) -> InstantStream:
        """Begin a turn."""
        return InstantStream()


class InstantStream:
    """Counts samples."""

    def __init__(self) -> None:
        self._count = 0

    def push(self, samples: Samples) -> None:
        """Count."""
        self._count += len(samples)

    async def finish(self) -> Transcript:
        """The number of samples."""
        return Transcript(str(self._count), end=self._count / LISTEN_RATE, engine="instant")

    async def cancel(self) -> None:
        """Nothing is held."""


def speech(size: int) -> tuple[bytes, str]:
    """A WAV file of `size` bytes of speech at 16 kHz, in three voices, and the words in it (the last may be cut)."""
    pause = np.zeros(LISTEN_RATE // 2, np.int16)
    parts, words, have, n = list[Samples](), list[str](), 0, 0
    while have < size:
        text, voice = SENTENCES[n % len(SENTENCES)], VOICES[n // len(SENTENCES) % len(VOICES)]
        parts += [flite(text, voice, LISTEN_RATE), pause]
        words.append(text)
        have, n = have + 2 * (len(parts[-2]) + len(pause)), n + 1
    file = io.BytesIO()
    with wave.open(file, "wb") as out:
        out.setparams((1, 2, LISTEN_RATE, 0, "NONE", ""))
        out.writeframes(np.concatenate(parts).tobytes()[: (size - 44) // 2 * 2])
    return file.getvalue(), " ".join(words)


@contextlib.asynccontextmanager
async def server(recognizer: str, *, pinned: bool = True) -> AsyncIterator[tuple[str, Tree]]:
    """The server's own program on a free port: its address and its processes."""
    command = (sys.executable, "-m", "asr.funasr.server", "--recognizer", recognizer, "--port", "0")
    process = await asyncio.create_subprocess_exec(
        *command, cwd=ROOT, stdout=asyncio.subprocess.PIPE, preexec_fn=pin_to(SERVER_CORE) if pinned else None
    )
    try:
        assert process.stdout is not None
        first = await asyncio.wait_for(process.stdout.readline(), 60)
        yield first.decode().split()[-1], Tree(process.pid)
    finally:
        process.terminate()
        await process.wait()


async def transfer_rates(url: str, size: int, count: int) -> list[float]:
    """MB/s of uploads: from the first byte of the request to the result, connecting included."""
    audio = np.random.default_rng(1).integers(-9000, 9000, size // 2).astype("<i2").tobytes()
    client, rates = FunASRClient(url), []
    for _ in range(count):
        began = time.perf_counter()
        said = await client.recognize(audio, audio_format="pcm", mode="chunked")
        rates.append(size / MB / (time.perf_counter() - began))
        assert sum(map(int, said.text.split())) == size // 2, "not all of the audio arrived"
    return rates


async def users(url: str, count: int, at_once: int) -> tuple[list[float], int, int]:
    """Requests of many users, half of them in chunks: seconds of each that succeeded, failures, time-outs."""
    audio, gate = bytes(200_000), asyncio.Semaphore(at_once)
    times, failures, late = list[float](), 0, 0

    async def user(n: int) -> None:
        nonlocal failures, late
        async with gate:
            began = time.perf_counter()
            try:
                async with asyncio.timeout(30):
                    mode = "chunked" if n % 2 else "inline"
                    await FunASRClient(url, retries=0).recognize(audio, audio_format="pcm", mode=mode)
                times.append(time.perf_counter() - began)
            except RecognizerError:
                failures += 1
            except TimeoutError:
                late += 1

    await asyncio.gather(*(user(n) for n in range(count)))
    return times, failures, late


async def recognised(url: str, size: int) -> tuple[Recognition, float, float, float]:
    """An upload of speech: what came of it, seconds, seconds as a share of its length, word error rate."""
    audio, text = await asyncio.to_thread(speech, size)
    began = time.perf_counter()
    said = await FunASRClient(url).recognize(audio)
    took = time.perf_counter() - began
    expected = text.lower().replace(",", "").replace(".", "").split()
    errors = edits(expected, said.text.split()) / len(expected)
    return said, took, took / (size / 2 / LISTEN_RATE), errors


async def largest_memory(tree: Tree, until: asyncio.Event) -> float:
    """MB of the process tree at its largest, shared pages counted once where the system tells."""
    largest = 0.0
    while not until.is_set():
        usage = tree.usage()
        largest = max(largest, usage.pss_mb or usage.rss_mb)
        await asyncio.sleep(0.1)
    return largest


async def measure(options: Options) -> Result:
    """Transfer with an instantaneous recogniser, then real recognition with the embedded one."""
    result = Result("asr_transfer", "custom FunASR server: uploads")
    async with server("bench.asr_transfer:Instant", pinned=options.pinned) as (url, tree):
        await transfer_rates(url, 5 * MB, 2)
        for size in SIZES_MB:
            rates = await transfer_rates(url, size * MB, options.count(20, 5))
            name = f"transfer of {size} MB, connecting included"
            result.figures.append(Figure(name, "MB/s", rates, "median", 50, at_least=True))
        count, done = options.count(400, 40), asyncio.Event()
        memory = asyncio.create_task(largest_memory(tree, done))
        times, failures, late = await users(url, count, 32)
        done.set()
        result.figures += [
            Figure(
                "requests that succeed, 32 users at a time", "%", [100 * len(times) / count], "min", 95, at_least=True
            ),
            Figure("requests that time out", "%", [100 * late / count], "max", 5),
            Figure("a request of 6 s of audio, 32 users at a time", "ms", [1000 * t for t in times]),
            Figure("server memory meanwhile", "MB", [await memory], "max", 500),
        ]
        result.details["failures"] = failures
    async with server("pocketsphinx", pinned=options.pinned) as (url, tree):
        done = asyncio.Event()
        memory = asyncio.create_task(largest_memory(tree, done))
        for size in SIZES_MB[: options.count(3, 1)]:
            said, took, share, errors = await recognised(url, size * MB)
            result.figures += [
                Figure(
                    f"{size} MB of speech: recognised", "uploads", [float(bool(said.text))], "min", 1, at_least=True
                ),
                Figure(
                    f"{size} MB of speech: word error rate",
                    "",
                    [errors],
                    "max",
                    0.35,
                    note="three flite voices; the "
                    "goal is the embedded engine's on recordings of people; words cut off at the end count as errors",
                ),
                Figure(f"{size} MB of speech: time, of its length", "x", [share], "max", 2),
            ]
            result.details[f"{size} MB"] = {
                "seconds": round(took, 2),
                "mode": said.mode,
                "words": len(said.text.split()),
            }
        done.set()
        result.figures.append(Figure("server and recogniser memory", "MB", [await memory], "max", 500))
    return result


def main() -> None:
    """Measure and print."""
    pin_to(CLIENT_CORE)()
    options = Options(quick="--quick" in sys.argv)
    result = asyncio.run(measure(options))
    for figure in described(result, options, 0.0)["figures"]:
        print(line(figure))
    print(json.dumps(result.details))


if __name__ == "__main__":
    main()

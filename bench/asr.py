"""Hearing: errors of the embedded recogniser through the whole path, our share of the wait, numbering, large uploads.

Human prompts are those of Debian's asterisk-core-sounds-en-g722 (16 kHz, with the texts that were read).
"""

from __future__ import annotations

import asyncio
import gzip
import re
import struct
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from asr.doubao import Endpoint, RecognitionConfig
from asr.doubao.client import STTClient
from asr.pocketsphinx import PocketsphinxRecognizer
from bench import asr_transfer
from bench.client import Client
from bench.processes import ServerProcess
from bench.result import Figure, Options, Result, pinnable
from bench.sounds import Microphone, spoken, trimmed
from bench.turns import edits
from core.frames import LISTEN_RATE, Samples
from tests.simulators.doubao import API_KEY, RESOURCE, DoubaoServer
from tests.speech import load, resample

PROMPTS = Path("/usr/share/asterisk/sounds/en")
TEXTS = Path("/usr/share/doc/asterisk-core-sounds-en/core-sounds-en.txt.gz")
MISSING = "human prompts are missing: apt-get install asterisk-core-sounds-en-g722"
LEVEL = 3000
"""RMS at which prompts are spoken, about -21 dBFS."""
CALLERS, EACH = 100, 100
_GREETING = "hello how are you today"


@dataclass(frozen=True, slots=True)
class Prompt:
    """One human prompt: what was read, and mono int16 PCM at 48 kHz."""

    words: tuple[str, ...]
    sound: NDArray[np.int16]


async def measure(options: Options) -> Result:
    """See the module. Raises `RuntimeError` where the human prompts are missing."""
    prompts = human_prompts(options.count(100, 4))
    clean = await _straight(prompts)
    heard = await _through_everything(prompts, pinned=pinnable(options))
    waits = await _own_share(options.count(30, 3), pinned=pinnable(options))
    faults, sent = await _numbering(options.count(EACH, 10))
    transfer = await asr_transfer.measure(options)
    figures = [
        Figure("word error rate, Opus, WebRTC and voice activity included", "", [_rate(prompts, heard)], goal=0.35,
               floor=_rate(prompts, clean), floor_note="the same recordings straight into the recogniser",
               note=f"pocketsphinx, {len(prompts)} human prompts"),
        Figure("end-of-turn decision → final transcript, beyond the recogniser's own time", "ms", waits, goal=30,
               note="a recogniser that takes no time; told to a page over the WebSocket"),
        Figure(f"{CALLERS} callers of one STTClient: numbers repeated or missing, packets out of order", "packets",
               [faults], "max", goal=0, note=f"{sent:,} packets, against the strict simulator"),
        *transfer.figures,
    ]  # fmt: skip
    details = {
        "prompts": [
            {"said": " ".join(prompt.words), "clean": first, "heard": second}
            for prompt, first, second in zip(prompts, clean, heard, strict=True)
        ],
        **transfer.details,
    }
    return Result("asr", "Hearing", figures, {"prompts": len(prompts)}, details)


def human_prompts(count: int) -> list[Prompt]:
    """`count` prompts of three to twelve words, spread over all of them. Raises `RuntimeError` without the package."""
    if not TEXTS.exists() or not PROMPTS.exists():
        raise RuntimeError(MISSING)
    lines = gzip.decompress(TEXTS.read_bytes()).decode(errors="replace").splitlines()
    pairs = [line.split(": ", 1) for line in lines if ": " in line and not re.search(r"^;|[\[\d]", line)]
    usable = [(PROMPTS / f"{name}.g722", words_of(text)) for name, text in pairs]
    usable = [(path, words) for path, words in usable if 3 <= len(words) <= 12 and path.exists()]
    step = max(1, len(usable) // count)
    return [Prompt(words, _loud(trimmed(load(path)))) for path, words in usable[::step][:count]]


def words_of(text: str) -> tuple[str, ...]:
    """Lower case, without punctuation."""
    return tuple(re.findall(r"[a-z']+", text.lower()))


def _loud(sound: NDArray[np.int16]) -> NDArray[np.int16]:
    rms = float(np.sqrt(np.mean(sound.astype(np.float64) ** 2))) or 1.0
    louder: NDArray[np.int16] = np.clip(sound * (LEVEL / rms), -32_000, 32_000).astype(np.int16)
    return louder


def _rate(prompts: Sequence[Prompt], heard: Sequence[str]) -> float:
    wrong = sum(edits(prompt.words, words_of(text)) for prompt, text in zip(prompts, heard, strict=True))
    return wrong / sum(len(prompt.words) for prompt in prompts)


async def _straight(prompts: Sequence[Prompt]) -> list[str]:
    recognizer = PocketsphinxRecognizer()
    await recognizer.start()
    try:
        return [await _recognised(recognizer, resample(prompt.sound, 48_000, LISTEN_RATE)) for prompt in prompts]
    finally:
        await recognizer.close()


async def _recognised(recognizer: PocketsphinxRecognizer, sound: Samples) -> str:
    stream = recognizer.open(lambda transcript: None)
    stream.push(np.concatenate([np.zeros(3200, np.int16), sound, np.zeros(8000, np.int16)]))
    return (await stream.finish()).text


async def _through_everything(prompts: Sequence[Prompt], *, pinned: bool) -> list[str]:
    """What the page is told. The avatar keeps silent, so that the next prompt needs not wait for its answer."""
    microphone = Microphone()
    heard = []
    mute = ServerProcess("dialogue.engine=bench.mute:MuteDialogue", pinned=pinned)
    async with mute as server, Client(server.url, microphone=microphone) as client:
        await client.connect()
        await client.login()
        await asyncio.sleep(1.5)
        for prompt in prompts:
            heard.append(await _asked(client, microphone, prompt.sound))
    return heard


async def _asked(client: Client, microphone: Microphone, sound: NDArray[np.int16]) -> str:
    """All that was recognised from the prompt: a pause inside it may have made two turns of it."""
    loop = asyncio.get_running_loop()
    began = loop.time()
    await microphone.say(sound)
    await asyncio.sleep(2.0)
    for _ in range(30):
        finals = [m for m in client.messages if m["type"] == "asr_result" and m["at"] >= began and m["is_final"]]
        statuses = [m["status"] for m in client.messages if m["type"] == "status_update" and m["at"] >= began]
        if finals and statuses and statuses[-1] in ("idle", "speaking", "error"):
            break
        await asyncio.sleep(0.1)
    return " ".join(m["text"] for m in finals)


async def _own_share(turns: int, *, pinned: bool) -> list[float]:
    """Milliseconds from `recognizing` to the final transcript, of a recogniser that has it at once."""
    microphone = Microphone()
    engines = ("asr.engine=bench.asr_transfer:Instant", "dialogue.engine=bench.mute:MuteDialogue")
    waits = []
    async with ServerProcess(*engines, pinned=pinned) as server, Client(server.url, microphone=microphone) as client:
        await client.connect()
        await client.login()
        await asyncio.sleep(1.5)
        for _ in range(turns):
            began = asyncio.get_running_loop().time()
            await microphone.say(spoken(_GREETING))
            final = await client.message("asr_result", began, is_final=True, timeout=10)
            decided = await client.message("status_update", began, status="recognizing", timeout=1)
            waits.append(1000 * (final["at"] - decided["at"]))
            await asyncio.sleep(0.5)
    return waits


async def _numbering(each: int) -> tuple[int, int]:
    """Faults in the numbers and in each caller's order as the simulator received them; and how many were sent."""
    async with DoubaoServer(lambda _: "", every_packet=False) as server:
        endpoint = Endpoint(server.host, resource_id=RESOURCE, api_key=API_KEY)
        client = STTClient(endpoint, RecognitionConfig())
        await client.start_recognition()

        async def call(caller: int) -> None:
            for number in range(each):
                await client.send_audio(struct.pack("<hh", caller, number))

        await asyncio.gather(*(call(caller) for caller in range(CALLERS)))
        await client.finish()
        await client.close()
        visit = server.visits[0]
    total = CALLERS * each
    wanted = [*range(1, total + 2), -(total + 2)]
    faults = abs(len(wanted) - len(visit.numbers)) + sum(a != b for a, b in zip(wanted, visit.numbers, strict=False))
    latest = dict.fromkeys(range(CALLERS), -1)
    for packet in visit.packets[:-1]:
        caller, number = struct.unpack("<hh", packet)
        faults += number != latest[caller] + 1
        latest[caller] = number
    return faults, total

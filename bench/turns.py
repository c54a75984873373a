"""End of the user's speech to the first audible sample of the answer.

Real speech of another synthesizer (flite) goes through the client's WebRTC microphone, with a quiet room's noise
before and after it; the dialogue is the demo's.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from bench.client import AUDIBLE, Client, Lag
from bench.processes import ServerProcess
from bench.result import Figure, Options, Result, pinnable
from bench.sounds import Microphone, spoken

QUESTIONS = (
    "what is seven times six", "hello how are you", "what time is it", "who are you", "tell me a joke",
    "what can you do", "what is nine plus eight", "good morning", "what is your name", "thank you very much",
    "what is twenty minus four", "how old are you",
)  # fmt: skip
VOICES = ("slt", "rms")
ENDPOINT_MS = 300
"""The shortest wait: what sounds finished."""


@dataclass(frozen=True, slots=True)
class Turn:
    """One question and what came of it. `latency_s` is None without an answer, negative if it cut the user off."""

    asked: str
    voice: str
    heard: str = ""
    answer: str = ""
    latency_s: float | None = None
    recognised_s: float | None = None


async def measure(options: Options) -> Result:
    """See the module."""
    wanted = options.count(2 * len(QUESTIONS), 3)
    plan = [(question, voice) for voice in VOICES for question in QUESTIONS][:wanted]
    microphone = Microphone()
    async with ServerProcess(pinned=pinnable(options)) as server, Lag() as lag:
        async with Client(server.url, microphone=microphone) as client:
            await client.connect()
            await client.login()
            await asyncio.sleep(1.5)
            turns = [await _turn(client, microphone, question, voice) for question, voice in plan]
        complaints = server.complaints()
    return _result(turns, {"client_lag_max_ms": round(lag.worst_ms, 1), "complaints": complaints})


async def _turn(client: Client, microphone: Microphone, question: str, voice: str) -> Turn:
    loop = asyncio.get_running_loop()
    began = loop.time()
    ended = await microphone.say(spoken(question, voice))
    try:
        heard = await client.message("asr_result", began, is_final=True, timeout=10)
    except TimeoutError:
        return Turn(question, voice)
    recognised = heard["at"] - ended
    try:
        first = await client.audible(began, timeout=10)
        end = await client.message("reply", began, state="end", timeout=40)
        await client.silence(first, 1.0)
    except TimeoutError:
        return Turn(question, voice, heard["text"], recognised_s=recognised)
    await asyncio.sleep(0.5)
    return Turn(question, voice, heard["text"], end["text"], first - ended, recognised)


def _result(turns: list[Turn], details: dict[str, Any]) -> Result:
    answered = [turn for turn in turns if turn.latency_s is not None]
    latencies = [turn.latency_s * 1000 for turn in answered if turn.latency_s is not None and turn.latency_s > 0]
    recognised = [turn.recognised_s * 1000 for turn in turns if turn.recognised_s is not None]
    right = [100 * (turn.heard.lower() == turn.asked) for turn in turns]
    figures = [
        Figure("end of the user's speech → first audible sample", "ms", latencies, goal=1200, floor=ENDPOINT_MS + 10,
               floor_note="the shortest endpointing silence, and on average half of the 20 ms between two packets"),
        Figure("end of the user's speech → transcript on the page", "ms", recognised, floor=ENDPOINT_MS,
               floor_note="the shortest endpointing silence"),
        Figure("turns answered", "%", [100 * len(answered) / max(1, len(turns))], goal=100, at_least=True),
        Figure("words recognised", "%", [100 - 100 * word_errors(turns)],
               note="pocketsphinx, a synthetic speaker; word error rate subtracted from 100"),
        Figure("questions recognised word for word", "%", [sum(right) / max(1, len(right))]),
    ]  # fmt: skip
    details["turns"] = [
        {"asked": turn.asked, "voice": turn.voice, "heard": turn.heard, "answer": turn.answer[:120],
         "latency_ms": None if turn.latency_s is None else round(turn.latency_s * 1000)}
        for turn in turns
    ]  # fmt: skip
    settings = {"endpoint_shortest_ms": ENDPOINT_MS, "threshold_rms": AUDIBLE, "room_noise_dbfs": -62}
    return Result("turns", "The user's speech → the answer's first sound", figures, settings, details)


def word_errors(turns: Sequence[Turn]) -> float:
    """Word error rate over all turns: edits per word that was asked."""
    wrong = sum(edits(turn.asked.lower().split(), turn.heard.lower().split()) for turn in turns)
    return wrong / max(1, sum(len(turn.asked.split()) for turn in turns))


def edits(reference: Sequence[str], words: Sequence[str]) -> int:
    """Levenshtein distance."""
    row = list(range(len(words) + 1))
    for i, wanted in enumerate(reference, 1):
        previous, row[0] = row[0], i
        for j, word in enumerate(words, 1):
            previous, row[j] = row[j], min(row[j] + 1, row[j - 1] + 1, previous + (wanted != word))
    return row[-1]

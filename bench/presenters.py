"""A/V offset of every built-in presenter over ten minutes of speech: one session each, all at the same time.

Measured as in bench/sync.py. Each saying of the text is one sample; its absolute offset counts.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Sequence

from avatar.face.art import PRESENTERS
from avatar.face.vector import VectorFace
from avatar.tts.espeak import EspeakSynthesizer
from bench.client import Client, Lag
from bench.processes import ServerProcess
from bench.result import Figure, Options, Result, pinnable
from bench.sounds import Microphone
from bench.sync import TEXT, Judged, Take, calibration, judge, offline, take
from core.frames import MEDIA_RATE

MEDIAN_MS, P95_MS = 20.0, 40.0


async def measure(options: Options) -> Result:
    """See the module."""
    names = sorted(path.parent.name for path in PRESENTERS.glob("*/rig.yaml"))
    voices = {one.name: one.voices.get(EspeakSynthesizer.name) for one in VectorFace().presenters()}
    spoken = {name: await offline(TEXT, voices[name]) for name in names}
    eyes = {name: await calibration(spoken[name], name) for name in names}
    clients: dict[str, Client] = {}
    async with ServerProcess(pinned=pinnable(options)) as server, Lag() as lag:
        try:
            for seed, name in enumerate(names):
                clients[name] = Client(server.url, microphone=Microphone(seed), keep_video=True)
                await clients[name].connect(avatar=name)
            await asyncio.sleep(3.0)
            seconds = options.duration(600, 15)
            said = await asyncio.gather(*(_speak(client, seconds) for client in clients.values()))
            await asyncio.sleep(1.5)
        finally:
            await asyncio.gather(*(client.close() for client in clients.values()))
        complaints = server.complaints()
    result = Result("presenters", "A/V offset as received, every presenter (positive: the lips are late)")
    for (name, client), takes in zip(clients.items(), said, strict=True):
        judged = judge(client, takes, spoken[name], eyes[name])
        result.figures += _figures(name, judged)
        result.details[name] = {
            "mouth_measure_correlation": round(eyes[name].correlation, 3),
            "envelope_ms": [round(1000 * j.to_envelope.seconds, 1) for j in judged],
            "phonemes_ms": [round(1000 * j.to_phonemes.seconds, 1) for j in judged],
            "phonemes_r": [round(j.to_phonemes.correlation, 3) for j in judged],
            "voice_packets_lost": client.voice.lost,
        }
    result.details |= {"client_lag_max_ms": round(lag.worst_ms, 1), "complaints": complaints}
    result.settings = {"seconds": seconds, "text_seconds": round(len(spoken[names[0]].samples) / MEDIA_RATE, 1),
                       "sessions": len(names), "mapping": "RTCP sender reports"}  # fmt: skip
    return result


async def _speak(client: Client, seconds: float) -> list[Take]:
    """Say the text again and again for about that long."""
    until = time.monotonic() + seconds
    takes = []
    while time.monotonic() < until:
        takes.append(await take(client, str(len(takes) + 1)))
    return takes


def _figures(name: str, judged: Sequence[Judged]) -> list[Figure]:
    phonemes = [abs(1000 * j.to_phonemes.seconds) for j in judged]
    floor = {"floor": 2.5, "floor_note": "Opus delays the sound by its look-ahead"}
    return [
        Figure(f"{name}: lips against their phonemes' sound, absolute", "ms", phonemes, goal=MEDIAN_MS, **floor),
        Figure(f"{name}: the same", "ms", phonemes, "p95", goal=P95_MS, **floor),
        Figure(f"{name}: correlation of the received lips with those asked for", "",
               [j.to_phonemes.correlation for j in judged], goal=0.9, at_least=True),
    ]  # fmt: skip

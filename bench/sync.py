"""A/V offset as a receiver aligns it: the mouth in the received pictures against the received sound.

RTP timestamps of both streams are mapped to the sender's clock by its RTCP reports, as browsers do. The mouth is
compared with the sound's envelope, and with the opening that the phonemes ask for, computed offline from the same
text and placed by the waveform. Positive: the lips are late.
"""

from __future__ import annotations

import asyncio
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from avatar.face.art import find_presenter
from avatar.face.rig import load_rig
from avatar.face.vector import VectorFace
from avatar.face.view import SQUARE
from avatar.lipsync.mouth import opening
from avatar.lipsync.phonemes import PhonemeLipSync
from avatar.speaker import Speaker
from avatar.stage import SpeechStage
from avatar.tts.espeak import EspeakSynthesizer
from bench.client import Client, Lag, sessions_of
from bench.lips import RATE, Area, Curve, Offset, Opening, calibrated, envelope, offset, place, resampled
from bench.processes import ServerProcess
from bench.result import Figure, Options, Result, pinnable
from bench.sounds import Microphone
from config.layers import load_settings
from core.frames import AUDIO_FRAME, FPS, MEDIA_RATE, FaceCue
from core.sentences import SentenceCutter

TEXT = (
    "good morning to everybody who came here today because my mother and father bought a warm house above the sea "
    "where people move about and open the window before the moon comes up and nobody wants to go home at all"
)
"""Many lips that open and close."""
GOAL_MS = 40.0
_LATER_S = 600.0
_SMALL_TALK_S = 20.0


@dataclass(frozen=True, slots=True)
class Spoken:
    """The text as our own voice and lips would play it, offline."""

    samples: NDArray[np.int16]
    openings: Curve
    cues: list[FaceCue]


@dataclass(frozen=True, slots=True)
class Take:
    """One time that the text was said: when it began and ended to arrive (monotonic s)."""

    name: str
    began: float
    ended: float


@dataclass(frozen=True, slots=True)
class Judged:
    """A take's offsets and how sure they are."""

    name: str
    to_envelope: Offset
    to_phonemes: Offset
    waveform: float
    seconds: float


class _Nobody:
    def utterance_started(self, reply_id: str, index: int, text: str, at: float) -> None:
        """Nobody listens."""

    def utterance_ended(self, reply_id: str, index: int, text: str) -> None:
        """Nobody listens."""


async def measure(options: Options) -> Result:
    """See the module."""
    spoken = await offline(TEXT)
    eye = await calibration(spoken)
    own = offset(spoken.openings, envelope(spoken.samples, MEDIA_RATE))
    async with ServerProcess(pinned=pinnable(options)) as server, Lag() as lag:
        async with Client(server.url, microphone=Microphone(), keep_video=True) as client:
            await client.connect()
            await asyncio.sleep(3.0)
            takes = [await take(client, f"at the start, {i + 1}") for i in range(options.count(5, 1))]
            if options.long:
                await _small_talk(client, options.duration(_LATER_S, 20.0))
                takes += [await take(client, f"later, {i + 1}") for i in range(options.count(5, 1))]
            await asyncio.sleep(1.5)
            status = await sessions_of(server.url)
        complaints = server.complaints()
    judged = judge(client, takes, spoken, eye)
    result = Result("sync", "A/V offset as received (positive: the lips are late)", _figures(judged, own))
    result.settings = {"text_seconds": round(len(spoken.samples) / MEDIA_RATE, 1), "mapping": "RTCP sender reports",
                       "search_ms": 600, "later_after_s": _LATER_S if options.long else None}  # fmt: skip
    result.details = {
        "mouth_measure": {"correlation_with_drawn": round(eye.correlation, 3)},
        "offline_opening_to_envelope": {"ms": round(1000 * own.seconds, 1), "correlation": round(own.correlation, 3)},
        "takes": [
            {"take": j.name, "seconds": round(j.seconds, 1), "waveform_correlation": round(j.waveform, 3),
             "envelope_ms": round(1000 * j.to_envelope.seconds, 1), "envelope_r": round(j.to_envelope.correlation, 3),
             "phonemes_ms": round(1000 * j.to_phonemes.seconds, 1), "phonemes_r": round(j.to_phonemes.correlation, 3)}
            for j in judged
        ],
        "sender_reports": {"voice": len(client.voice.reports), "video": len(client.video.reports)},
        "voice": {"packets_lost": client.voice.lost, "timestamp_jumps": client.voice.jumps(AUDIO_FRAME)},
        "server_status": status,
        "client_lag_max_ms": round(lag.worst_ms, 1),
        "complaints": complaints,
    }  # fmt: skip
    return result


def _figures(judged: list[Judged], own: Offset) -> list[Figure]:
    figures = []
    for when in ("at the start", "later"):
        takes = [j for j in judged if j.name.startswith(when)]
        if takes:
            title = when if when == "at the start" else "after ten minutes in the same session"
            likeness = [j.to_envelope.correlation for j in takes]
            envelopes = [1000 * j.to_envelope.seconds for j in takes]
            phonemes = [1000 * j.to_phonemes.seconds for j in takes]
            figures += [
                Figure(f"lips against the sound's envelope, {title}", "ms", envelopes, "largest", goal=GOAL_MS,
                       floor=1000 * own.seconds,
                       floor_note="offset of the asked-for opening itself: mouths and loudness do not peak together"),
                Figure(f"lips against their phonemes' sound, {title}", "ms", phonemes, "largest", goal=GOAL_MS,
                       floor=-2.5, floor_note="Opus delays the sound by its look-ahead"),
                Figure(f"correlation of the lips with the envelope, {title}", "", likeness, goal=0.5, at_least=True,
                       floor=own.correlation, floor_note="the opening that the phonemes ask for, undrawn"),
            ]  # fmt: skip
    return figures


async def offline(text: str, voice_name: str | None = None) -> Spoken:
    """`text` through the server's own voice, lips and stage, without a server; `voice_name`: that of a presenter."""
    settings = load_settings(overrides={}, env={})
    voice, lips = EspeakSynthesizer(**settings.tts.engine_options()), PhonemeLipSync()
    await voice.start()
    await lips.start()
    stage = SpeechStage(_Nobody())
    with ThreadPoolExecutor(1) as executor:
        writer = Speaker(stage, lips, executor).writer("offline")
        cutter = SentenceCutter()
        for piece in [*cutter.feed(text), *cutter.finish()]:
            await writer.begin(piece.text)
            async for chunk in voice.synthesize(piece.text, voice=voice_name):
                await writer.write(chunk)
            await writer.end()
    await voice.close()
    await lips.close()
    count = int(stage.queued_seconds * RATE)
    openings = np.array([opening(stage.cue(i / RATE).mouth) for i in range(count)])
    cues = [stage.cue(i / FPS) for i in range(count * FPS // RATE)]
    blocks = [stage.read(position) for position in range(0, count * MEDIA_RATE // RATE, AUDIO_FRAME)]
    return Spoken(np.concatenate(blocks), openings, cues)


async def calibration(spoken: Spoken, presenter: str = "mira") -> Opening:
    """How to see the mouth of a built-in presenter: learned from pictures whose mouths are known."""
    face = VectorFace(presenter)
    await face.start()
    stream = face.open(512, 512, seed=7)
    pictures = [stream.draw(cue)[:512] for cue in spoken.cues]
    await face.close()
    return calibrated(pictures, [opening(cue.mouth) for cue in spoken.cues], _mouth_of(presenter))


def _mouth_of(presenter: str) -> Area:
    x, y = load_rig(find_presenter(presenter)).mouth.centre
    return (y - 42) / SQUARE, (y + 62) / SQUARE, (x - 82) / SQUARE, (x + 82) / SQUARE


async def take(client: Client, name: str) -> Take:
    """Have the text said once."""
    sent = await client.say(TEXT)
    began = await client.audible(sent)
    ended = await client.silence(began, 1.5)
    return Take(name, began, ended)


async def _small_talk(client: Client, seconds: float) -> None:
    """Pass time as a conversation does."""
    until = time.monotonic() + seconds
    while (now := time.monotonic()) < until:
        await client.silence(await client.audible(await client.say("let me think about that for a moment")))
        await asyncio.sleep(min(_SMALL_TALK_S, max(0.0, until - now)))


def judge(client: Client, takes: list[Take], spoken: Spoken, eye: Opening) -> list[Judged]:
    """Each take's offsets. The pictures are decoded once, from the first on."""
    seen = [(client.video.wall(timestamp), eye.of(picture)) for timestamp, picture in client.video.pictures()]
    times, openings = np.array([at for at, _ in seen]), np.array([value for _, value in seen])
    return [_judged(client, take, spoken, times, openings) for take in takes]


def _judged(client: Client, take: Take, spoken: Spoken, times: Curve, openings: Curve) -> Judged:
    first, samples = client.sound.between(take.began - 0.7, take.ended + 0.7)
    start = client.voice.wall(first)
    loudness = envelope(samples, MEDIA_RATE)
    mouth = resampled(times, openings, start, len(loudness))
    at, waveform = place(spoken.samples, samples)
    asked_at = at / MEDIA_RATE + np.arange(len(spoken.openings)) / RATE
    asked = resampled(asked_at, spoken.openings, 0.0, len(loudness))
    return Judged(take.name, offset(mouth, loudness), offset(mouth, asked), waveform, len(samples) / MEDIA_RATE)

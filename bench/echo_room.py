"""A room in which the avatar's loudspeaker is heard by the user's microphone: simulated, as fast as it computes."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from asr.vad import VoiceActivity
from avatar.tts.espeak import EspeakSynthesizer
from bench.utterances import ROOM
from core.bands import FRAME_S, Levels, band_levels
from core.echo_delay import STEP_S
from core.frames import LISTEN_RATE
from core.turn import TurnDetector
from core.turn_events import BargeIn, EndOfTurn, PossibleBargeIn, SpeechDiscarded, TurnEvent
from tests.speech import resample

BLOCK = LISTEN_RATE // 50
PACKET_S = 0.02
_TAPS_S = (0.0, 0.011, 0.023, 0.041)
_TAPS = (1.0, 0.5, 0.35, 0.2)


def avatar_voice(sentences: Sequence[str]) -> list[NDArray[np.int16]]:
    """The embedded voice saying each of them: int16 at 16 kHz, at the level at which the avatar speaks."""
    return asyncio.run(_spoken(sentences))


async def _spoken(sentences: Sequence[str]) -> list[NDArray[np.int16]]:
    voice = EspeakSynthesizer()
    await voice.start()
    try:
        return [await _sentence(voice, sentence) for sentence in sentences]
    finally:
        await voice.close()


async def _sentence(voice: EspeakSynthesizer, sentence: str) -> NDArray[np.int16]:
    chunks = [chunk.pcm async for chunk in voice.synthesize(sentence)]
    return resample(np.concatenate([pcm.samples for pcm in chunks]), chunks[0].rate, LISTEN_RATE)


@dataclass(slots=True)
class Scene:
    """What happened during one reply. Times in seconds on the session's listening clock."""

    held: list[float] = field(default_factory=list)
    interrupted: float | None = None


class EchoRoom:
    """One session: turn-taking wired as the listener does it, the avatar as the stage does it, without words.

    An undecided end of turn counts as an interruption: what a recogniser makes of an echo is not to be trusted.
    `coupling_db`: how much weaker than it was played the avatar's voice reaches the microphone.
    """

    def __init__(self, coupling_db: float, seed: int = 1) -> None:
        self._random = np.random.default_rng(seed)
        self._gain = 10 ** (coupling_db / 20) / float(np.sqrt(np.sum(np.square(_TAPS))))
        self._detector = TurnDetector()
        self._activity = VoiceActivity()
        self._played: NDArray[np.int16] = np.zeros(LISTEN_RATE, np.int16)
        self._heard: NDArray[np.int16] = np.zeros(LISTEN_RATE, np.int16)
        self._delay = 0.1
        self._frame_end = 0.0
        self.now = 0.0

    def reply(self, voice: NDArray[np.int16], user: NDArray[np.int16] | None = None, after_s: float = 0.0) -> Scene:
        """The avatar says something, the user begins to speak `after_s` into it; then a second of silence."""
        self._delay = float(self._random.uniform(0.05, 0.24))
        scene, position, began, held = Scene(), 0, self.now, False
        while position < len(voice) and scene.interrupted is None:
            block = np.zeros(BLOCK, np.int16)
            if not held:
                part = voice[position : position + BLOCK]
                block[: len(part)] = part
                position += BLOCK
            for event in self._block(block, self._speech(user, self.now - began - after_s), speaking=True):
                held = self._took(event, scene, held)
        rest = 0 if user is None else max(0.0, after_s + len(user) / LISTEN_RATE - (self.now - began))
        for _ in range(int((rest + 1.5) / PACKET_S)):
            silence = np.zeros(BLOCK, np.int16)
            for event in self._block(silence, self._speech(user, self.now - began - after_s), speaking=False):
                self._took(event, scene, held)
        return scene

    @staticmethod
    def _took(event: TurnEvent, scene: Scene, held: bool) -> bool:
        if isinstance(event, PossibleBargeIn):
            scene.held.append(event.time)
            return True
        if isinstance(event, BargeIn | EndOfTurn) and scene.interrupted is None:
            scene.interrupted = event.time
        return held and not isinstance(event, SpeechDiscarded)

    @staticmethod
    def _speech(user: NDArray[np.int16] | None, since: float) -> NDArray[np.int16]:
        start = round(since * LISTEN_RATE)
        if user is None or start + BLOCK <= 0:
            return np.zeros(0, np.int16)
        return np.pad(user[max(0, start) : start + BLOCK], (max(0, -start), 0))

    def _block(self, played: NDArray[np.int16], said: NDArray[np.int16], *, speaking: bool) -> Iterator[TurnEvent]:
        self._played = np.concatenate([self._played[BLOCK:], played])
        sound = self._random.normal(0, ROOM, BLOCK)
        for tap, at in zip(_TAPS, _TAPS_S, strict=True):
            end = len(self._played) - int((self._delay + at) * LISTEN_RATE)
            sound += self._gain * tap * self._played[end - BLOCK : end]
        sound[: len(said)] += said
        self.now += PACKET_S
        heard = np.clip(sound, -32768, 32767).astype(np.int16)
        self._heard = np.concatenate([self._heard[BLOCK:], heard])
        for frame in self._activity.push(heard):
            self._detector.avatar_speaking(speaking, self._frame_end)
            self._frame_end = frame.time
            for moment in (frame.time - STEP_S, frame.time) if speaking else ():
                self._detector.on_avatar_level(moment, self._bands(self._played, moment))
            bands = self._bands(self._heard, frame.time)
            yield from self._detector.on_frame(frame.time, frame.probability, frame.level_db, bands)

    def _bands(self, sound: NDArray[np.int16], until: float) -> Levels:
        end = len(sound) - round((self.now - until) * LISTEN_RATE)
        return band_levels(sound[end - round(FRAME_S * LISTEN_RATE) : end], LISTEN_RATE)

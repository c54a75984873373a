"""The embedded voice: espeak-ng from the wheel, offline, a hundred languages, with phoneme times."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncGenerator, AsyncIterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import numpy as np

from avatar.espeak.library import EspeakLibrary, PhonemeEvent, Voice, espeak_library
from avatar.espeak.text import clean, mandarin_markup, pieces
from avatar.language import language_of
from avatar.tts.espeak_chunks import ChunkAssembler
from core.errors import SynthesizerError
from core.frames import Samples, SpeechChunk

_MANDARIN = ("cmn", "zh", "zh-cmn", "cmn-latn-pinyin")
_CALIBRATION = "1 2 3 4 5 6 7 8 9 10"
_SPEECH_FLOOR = 0.01
_GAIN_LIMITS = (0.25, 4.0)


class EspeakSynthesizer:
    """Speaks with espeak-ng. One engine thread per adapter, one engine per process: sentences take turns.

    A text is spoken in pieces of at most 300 characters. A piece is synthesised at once, some thousand times
    faster than it plays; the next one only starts when the listener has taken the last, so that a slow
    listener holds neither the engine nor more than one piece of audio.
    """

    name = "espeak"

    def __init__(
        self,
        *,
        voice: str | None = None,
        english_voice: str = "en-us",
        chinese_voice: str = "cmn",
        variant: str = "f5",
        rate_wpm: int = 160,
        chinese_rate_wpm: int = 200,
        pitch: int = 38,
        pitch_range: int = 50,
        level_dbfs: float = -20.0,
        gap_ms: int = 120,
        library: str = "",
        data: str = "",
    ) -> None:
        """`voice` speaks everything; without it the text's language chooses.

        The defaults are, of the women's voices that ship with espeak-ng, those that a recogniser understands best.
        `variant` is the timbre added to voices that name none ("f1".."f5" female, "m1".."m8" male, "" plain).
        `rate_wpm` 80..450, `pitch` and `pitch_range` 0..99. `level_dbfs` is the RMS of speech, `gap_ms` the silence
        after each text. `library` and `data` replace the espeak-ng of the wheel. Raises `SynthesizerError`.
        """
        if not (80 <= rate_wpm <= 450 and 80 <= chinese_rate_wpm <= 450):
            raise SynthesizerError("espeak: rate_wpm and chinese_rate_wpm must lie in 80..450", adapter=self.name)
        if not (0 <= pitch <= 99 and 0 <= pitch_range <= 99):
            raise SynthesizerError("espeak: pitch and pitch_range must lie in 0..99", adapter=self.name)
        self._voice = voice
        self._voices = {"en": english_voice, "zh": chinese_voice}
        self._variant = variant
        self._style = Voice("", rate_wpm, pitch, pitch_range)
        self._chinese_rate = chinese_rate_wpm
        self._level = 10 ** (level_dbfs / 20)
        self._gap = gap_ms / 1000
        self._paths = (library, data)
        self._gains: dict[Voice, float] = {}
        self._engine: EspeakLibrary | None = None
        self._worker: ThreadPoolExecutor | None = None
        self._closed = threading.Event()

    async def start(self) -> None:
        """Load the engine and measure the level of its usual voices. Raises `SynthesizerError`."""
        if self._worker is None:
            self._closed.clear()
            self._worker = ThreadPoolExecutor(1, thread_name_prefix="espeak")
        await asyncio.get_running_loop().run_in_executor(self._worker, self._load)

    async def close(self) -> None:
        """Stop speaking and end the thread; the library itself stays loaded."""
        self._closed.set()
        worker, self._worker = self._worker, None
        if worker is not None:
            worker.shutdown(wait=False, cancel_futures=True)

    async def synthesize(self, text: str, *, voice: str | None = None) -> AsyncGenerator[SpeechChunk, None]:
        """Speak `text`: 22 050 Hz chunks of 40 ms and more, each with its phonemes. Nothing for unspeakable text.

        Markup is read as text. Closing the iterator stops the engine at its next buffer (60 ms of audio, some
        20 µs of work). Raises `SynthesizerError`.
        """
        spoken = clean(text)
        if not spoken:
            return
        utterance = _Utterance(self._closed)
        try:
            parts = pieces(spoken)
            chosen = self._choose(spoken, voice)
            while (part := next(parts, None)) is not None:
                async for chunk in utterance.chunks(self._submit(utterance, part, chosen)):
                    yield chunk
            async for chunk in utterance.chunks(self._submit(utterance, None, chosen)):
                yield chunk
        finally:
            utterance.cancelled.set()

    def _submit(self, utterance: _Utterance, part: str | None, voice: Voice) -> asyncio.Future[None]:
        if self._worker is None or self._engine is None:
            raise SynthesizerError("espeak is not running.", adapter=self.name)
        loop = asyncio.get_running_loop()
        return loop.run_in_executor(self._worker, self._speak, utterance, part, voice)

    def _choose(self, text: str, voice: str | None) -> Voice:
        language = language_of(text)
        timbre = voice[1:] if voice and voice.startswith("+") else self._variant
        chosen = None if voice and voice.startswith("+") else voice
        name = chosen or self._voice or self._voices.get(language, language)
        if "+" not in name and timbre:
            name = f"{name}+{timbre}"
        rate = self._chinese_rate if _is_mandarin(name) else self._style.rate_wpm
        return replace(self._style, name=name, rate_wpm=rate)

    def _load(self) -> None:
        engine = espeak_library(*self._paths)
        for text in ("a", "\u4f60"):
            self._gain(engine, self._choose(text, None))
        self._engine = engine

    def _gain(self, engine: EspeakLibrary, voice: Voice) -> float:
        """What brings `voice` to the wanted level. Fixed per voice: a gain that follows the speech would pump."""
        if voice not in self._gains:
            heard: list[Samples] = []

            def listen(samples: Samples, events: list[PhonemeEvent]) -> bool:
                heard.append(samples)
                return True

            engine.speak(_CALIBRATION, voice, listen)
            x = np.concatenate(heard).astype(np.float32) / 32768
            frames = x[: len(x) // 256 * 256].reshape(-1, 256)
            rms = np.sqrt(np.mean(frames**2, axis=1))
            speech = rms[rms > _SPEECH_FLOOR]
            level = float(np.sqrt(np.mean(speech**2))) if len(speech) else self._level
            self._gains[voice] = float(np.clip(self._level / level, *_GAIN_LIMITS))
        return self._gains[voice]

    def _speak(self, utterance: _Utterance, part: str | None, voice: Voice) -> None:
        """In the engine thread: one piece of the text, or (None) what the assembler still holds."""
        engine = self._engine
        if engine is None or utterance.stopped:
            return
        if utterance.assembler is None:
            gain = self._gain(engine, voice)
            utterance.assembler = ChunkAssembler(engine.rate, rate_wpm=voice.rate_wpm, gain=gain, gap=self._gap)
        if part is None:
            utterance.hand_over(utterance.assembler.finish())
            return
        utterance.assembler.next_text()
        mandarin = _is_mandarin(voice.name)
        engine.speak(mandarin_markup(part) if mandarin else part, voice, utterance.listen, markup=mandarin)


def _is_mandarin(voice: str) -> bool:
    return voice.partition("+")[0].lower() in _MANDARIN


class _Utterance:
    """The hand-over of one text from the engine thread to the loop; bounded by the length of a piece."""

    def __init__(self, closed: threading.Event) -> None:
        self.assembler: ChunkAssembler | None = None
        self.cancelled = threading.Event()
        self._closed = closed
        self._loop = asyncio.get_running_loop()
        self._queue: asyncio.Queue[SpeechChunk | None] = asyncio.Queue()

    @property
    def stopped(self) -> bool:
        return self.cancelled.is_set() or self._closed.is_set()

    def listen(self, samples: Samples, events: list[PhonemeEvent]) -> bool:
        """The engine's sink; in its thread."""
        if self.stopped or self.assembler is None:
            return False
        return self.hand_over(self.assembler.push(samples, events))

    def hand_over(self, chunk: SpeechChunk | None) -> bool:
        """Pass `chunk` to the loop; False when nobody listens any more. In the engine thread."""
        if chunk is not None:
            try:
                self._loop.call_soon_threadsafe(self._queue.put_nowait, chunk)
            except RuntimeError:
                return False  # the loop has ended
        return True

    async def chunks(self, work: asyncio.Future[None]) -> AsyncIterator[SpeechChunk]:
        """Everything that `work` hands over. Raises what `work` raises, and `SynthesizerError` when closed."""
        # The future's callback runs after those of the hand-over: the None is always last.
        work.add_done_callback(lambda _: self._queue.put_nowait(None))
        while (chunk := await self._queue.get()) is not None:
            yield chunk
        if work.cancelled() or self._closed.is_set():
            raise SynthesizerError("espeak was closed while it spoke.", adapter="espeak")
        work.result()

"""The espeak-ng shared library: one engine for the whole process, used by one thread at a time.

Interface as declared in espeak-ng's public header `speak_lib.h` (version 1.50 and later).
"""

from __future__ import annotations

import ctypes
import logging
import re
import threading
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from core.errors import SynthesizerError
from core.frames import Samples

_log = logging.getLogger(__name__)

_SYNCHRONOUS = 2
_PHONEME_EVENTS, _PHONEME_IPA, _DONT_EXIT = 0x0001, 0x0002, 0x8000
_UTF8, _PHONEME_MARKUP, _END_PAUSE = 0x0001, 0x0100, 0x1000
_RATE, _VOLUME, _PITCH, _RANGE = 1, 2, 3, 4
_EVENT_LIST_END, _EVENT_PHONEME = 0, 7
_SYMBOL_BYTES = 8
_IN_IPA, _SEPARATOR = 0x02, "|"
_BUFFER_MS = 60
_MOST_CHANGES = 10
"""Changes of the voice wait in the engine's queue until it speaks; some fifty would push out the first phoneme."""
_SWITCH = re.compile(r"\([\w-]+\)")
"""The engine's note that it reads on in another language: "(en)"."""


class _EventId(ctypes.Union):
    _fields_ = (("number", ctypes.c_int), ("name", ctypes.c_char_p), ("string", ctypes.c_char * _SYMBOL_BYTES))


class _Event(ctypes.Structure):
    _fields_ = (
        ("type", ctypes.c_int),
        ("unique_identifier", ctypes.c_uint),
        ("text_position", ctypes.c_int),
        ("length", ctypes.c_int),
        ("audio_position", ctypes.c_int),
        ("sample", ctypes.c_int),
        ("user_data", ctypes.c_void_p),
        ("id", _EventId),
    )


_Callback = ctypes.CFUNCTYPE(ctypes.c_int, ctypes.POINTER(ctypes.c_short), ctypes.c_int, ctypes.POINTER(_Event))


@dataclass(frozen=True, slots=True)
class PhonemeEvent:
    """`symbol` (IPA, empty for a pause) begins at `sample`, counted from the start of the spoken text."""

    symbol: str
    sample: int


@dataclass(frozen=True, slots=True)
class Voice:
    """How to speak: espeak voice name (with "+variant"), words per minute, pitch and its range (0..99)."""

    name: str
    rate_wpm: int = 165
    pitch: int = 50
    pitch_range: int = 50


Sink = Callable[[Samples, list[PhonemeEvent]], bool]
"""Takes the next samples and events; returns False to stop."""


class EspeakLibrary:
    """The loaded engine. Its state is global to the process, so every call takes the same lock."""

    def __init__(self, library: str, data: str) -> None:
        """Load `library` with its `data` folder (espeak-ng-data). Raises `SynthesizerError`."""
        try:
            self._lib = ctypes.CDLL(library)
        except OSError as error:
            raise SynthesizerError(
                f"espeak-ng could not be loaded from {library}: {error}. Run `pip install --force-reinstall "
                "espeakng-loader`, or set `library` to the path of your system's libespeak-ng.",
                adapter="espeak",
            ) from error
        self._data = Path(data)
        if not (self._data / "phontab").is_file():
            raise SynthesizerError(
                f"espeak-ng has no voice data in {data}: set `data` to the folder that holds `phontab`.",
                adapter="espeak",
            )
        self._voices = _voice_names(self._data / "lang")
        self._lock = threading.Lock()
        self._current: Voice | None = None
        self._changes = 0
        self._sink: Sink | None = None
        self._failure: BaseException | None = None
        # The engine keeps the pointer: the object must live as long as the library.
        self._callback = _Callback(self._on_audio)
        options = _PHONEME_EVENTS | _PHONEME_IPA | _DONT_EXIT
        self.rate: int = self._lib.espeak_Initialize(_SYNCHRONOUS, _BUFFER_MS, data.encode(), options)
        """Samples per second of everything it speaks."""
        if self.rate <= 0:
            raise SynthesizerError(f"espeak-ng did not start with the data in {data}.", adapter="espeak")
        self._lib.espeak_SetSynthCallback(self._callback)
        self._lib.espeak_TextToPhonemes.restype = ctypes.c_char_p

    def check(self, name: str) -> None:
        """Raise `SynthesizerError` unless a voice of that name exists."""
        with self._lock:
            self._select(Voice(name))

    def speak(self, text: str, voice: Voice, sink: Sink, *, markup: bool = False) -> None:
        """Speak `text`, handing audio to `sink` as it is made; returns when done or when `sink` returned False.

        Blocks (about a thousandth of the speech's length); others wait their turn. `markup` lets "[[…]]" hold
        espeak phoneme mnemonics. What `sink` raises is raised here. Raises `SynthesizerError`.
        """
        with self._lock:
            self._select(voice)
            self._sink, self._failure = sink, None
            try:
                code = self._synthesize(text, _END_PAUSE | (_PHONEME_MARKUP if markup else 0))
            finally:
                self._sink = None
            if self._failure is not None:
                raise self._failure
            if code != 0:
                raise SynthesizerError(f"espeak-ng could not speak (code {code}).", adapter="espeak", retryable=True)

    def pronounce(self, text: str, voice: str) -> list[list[list[str]]]:
        """`text` as IPA symbols of words of clauses, as `voice` says it; some 50 µs for a sentence.

        Waits for a piece that is being spoken, some milliseconds. Raises `SynthesizerError` on an unknown voice.
        """
        data = ctypes.create_string_buffer(text.replace("\0", " ").encode("utf-8", "replace"))
        rest = ctypes.c_void_p(ctypes.addressof(data))
        clauses = []
        with self._lock:
            self._select(Voice(voice))
            if self._changes >= _MOST_CHANGES:
                self._synthesize("", 0)
            while rest.value:
                written = self._lib.espeak_TextToPhonemes(ctypes.byref(rest), _UTF8, ord(_SEPARATOR) << 8 | _IN_IPA)
                clauses.append((written or b"").decode("utf-8", "ignore"))
        return [[_symbols(word) for word in _SWITCH.sub("", clause).split()] for clause in clauses if clause.strip()]

    def _synthesize(self, text: str, flags: int) -> int:
        self._changes = 0
        # A NUL ends the text for the engine, whatever its length says.
        data = text.replace("\0", " ").encode("utf-8", "replace") + b"\0"
        return int(self._lib.espeak_Synth(data, len(data), 0, 1, 0, _UTF8 | flags, None, None))

    def _select(self, voice: Voice) -> None:
        if voice == self._current:
            return
        self._current = None
        language, _, variant = voice.name.partition("+")
        file = self._voices.get(language.strip().lower())
        # The engine takes a variant it doesn't have for none at all, silently; and either could be a path.
        known = not variant or ("/" not in variant and "\\" not in variant and self._has_variant(variant))
        name = f"{file}+{variant}" if variant else str(file)
        if file is None or not known or self._lib.espeak_SetVoiceByName(name.encode()) != 0:
            wrong = language if file is None else voice.name  # a timbre may be ours and not what was asked for
            raise SynthesizerError(
                f'espeak-ng has no voice "{wrong}". Examples: en-us, en-gb+f5, en-gb-scotland, cmn+f2, de+m3.',
                adapter="espeak",
                code="unknown_voice",
            )
        for parameter, value in (
            (_RATE, voice.rate_wpm),
            (_VOLUME, 100),
            (_PITCH, voice.pitch),
            (_RANGE, voice.pitch_range),
        ):
            self._lib.espeak_SetParameter(parameter, value, 0)
        self._current = voice
        self._changes += 1

    def _has_variant(self, variant: str) -> bool:
        return (self._data / "voices" / "!v" / variant).is_file()

    def _on_audio(self, wave: ctypes._Pointer[ctypes.c_short], count: int, events: ctypes._Pointer[_Event]) -> int:
        """Called by the engine with each buffer; 1 stops it. An exception can't cross C, so it is kept."""
        if self._sink is None:
            return 1
        try:
            samples = np.ctypeslib.as_array(wave, (count,)).copy() if wave and count > 0 else np.zeros(0, np.int16)
            return 0 if self._sink(samples, _phonemes(events)) else 1
        except BaseException as error:  # noqa: BLE001 - raised again by speak()
            self._failure = error
            return 1


def _symbols(word: str) -> list[str]:
    return [symbol for symbol in word.split(_SEPARATOR) if symbol]


def _phonemes(events: ctypes._Pointer[_Event]) -> list[PhonemeEvent]:
    found = []
    index = 0
    while events[index].type != _EVENT_LIST_END:
        event = events[index]
        if event.type == _EVENT_PHONEME:
            # Long symbols fill all eight bytes without a terminator, cut inside a character at worst.
            raw = ctypes.string_at(ctypes.addressof(event) + _Event.id.offset, _SYMBOL_BYTES)
            found.append(PhonemeEvent(raw.split(b"\0", 1)[0].decode("utf-8", "ignore"), event.sample))
        index += 1
    return found


def _voice_names(folder: Path) -> dict[str, str]:
    """Lower-case name → file of every voice: its file's name, and the names and language codes written in it.

    The engine itself finds no voice by "en-gb" or "zh", though its files declare these.
    """
    names: dict[str, str] = {}
    files = sorted(path for path in folder.rglob("*") if path.is_file())
    for path in files:
        for line in path.read_text("utf-8", "replace").splitlines():
            key, _, value = line.partition(" ")
            if key == "language":
                names.setdefault(value.split()[0].lower() if value.split() else "", path.name)
            elif key == "name":
                names.setdefault(value.strip().lower(), path.name)
    names.update({path.name.lower(): path.name for path in files})
    return names


_loaded: dict[tuple[str, str], EspeakLibrary] = {}
_loading = threading.Lock()


def espeak_library(library: str = "", data: str = "") -> EspeakLibrary:
    """The process's engine; loaded on the first call and kept, since it can't be loaded twice.

    `library` and `data` default to those inside the espeakng-loader wheel. Raises `SynthesizerError`.
    """
    if not library or not data:
        try:
            import espeakng_loader
        except ImportError as error:
            raise SynthesizerError(
                "espeak-ng is not installed: run `pip install espeakng-loader`, or set `library` and `data`.",
                adapter="espeak",
            ) from error
        library = library or str(espeakng_loader.get_library_path())
        data = data or str(espeakng_loader.get_data_path())
    with _loading:
        key = (library, data)
        if key not in _loaded:
            _loaded[key] = EspeakLibrary(library, data)
            _log.debug("espeak-ng loaded from %s", library)
        return _loaded[key]

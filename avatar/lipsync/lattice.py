"""The sounds of a text as a chain of states: how long each lasts, where a pause may be, what may be left out.

A sound is a row of states that are each left with the same probability, so that its length follows a negative
binomial distribution; after every word stands a pause that may be skipped; any sound may be skipped, seldom.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from avatar.lipsync.ipa import Manner, targets_of
from avatar.lipsync.labels import visemes_of
from avatar.lipsync.pronunciation import Word
from core.frames import VISEME_RATE, VISEMES

_SIL = VISEMES.index("sil")
_SECONDS = {
    Manner.PAUSE: 0.20,
    Manner.VOWEL: 0.085,
    Manner.ROUNDED: 0.080,
    Manner.TONGUE: 0.070,
    Manner.LABIODENTAL: 0.085,
    Manner.CLOSURE: 0.075,
    Manner.BREATH: 0.05,
}
_STRESSED, _LONG = 1.3, 1.25
_STATES = 3
"""States of a sound: it lasts at least as many frames (30 ms)."""
_OMITTED = 0.02
"""How likely a sound is left out."""
_NEAR = 0.6
"""Share of a state's expectation that lies on its viseme; the rest on the other parts of the sound's mouth."""

Floats = NDArray[np.float32]


@dataclass(frozen=True, slots=True)
class Sound:
    """One viseme of a text. `mouth`: shape (15,), what it looks like; `seconds`: how long it usually takes."""

    viseme: int
    mouth: Floats
    seconds: float
    symbol: str = ""


@dataclass(frozen=True, slots=True, eq=False)
class Lattice:
    """States in order. From each of them speech stays, goes on to the next, or leaves some out.

    `onward`, shape (n, reach + 1): column k is the probability that k states further comes next; rows sum to 1.
    `visemes`, shape (n, 15): the viseme that each state expects. `word`: number of the word a state belongs to; a
    pause belongs to the word before it.
    """

    onward: Floats
    visemes: Floats
    word: NDArray[np.intp]

    def __len__(self) -> int:
        return len(self.word)


class Transitions:
    """Probabilities from state to state among `size` neighbours, changed in place as one looks further on.

    `matrix`, shape (size, size): rows "from", columns "to"; 0 beyond the last state.
    """

    def __init__(self, lattice: Lattice, size: int) -> None:
        """The first `size` states, which must be more than twice as many as one moves on at most."""
        self._onward = np.pad(lattice.onward, ((0, size), (0, 0)))
        self._reach = self._onward.shape[1] - 1
        values = np.zeros(size * size + self._reach, np.float32)
        self.matrix: Floats = values[: size * size].reshape(size, size)
        shape, item = (size, self._reach + 1), values.itemsize
        self._diagonals: Floats = np.ndarray(shape, np.float32, values, strides=((size + 1) * item, item))
        """Row i begins at the matrix's diagonal; what has no room in its row falls into the beginning of the next."""
        self.look(0)

    def look(self, low: int) -> None:
        """Set `matrix` to the states from `low` on."""
        size = len(self.matrix)
        np.copyto(self._diagonals, self._onward[low : low + size])
        self.matrix[size - self._reach :, : self._reach] = 0


def sounds_of(word: Word) -> list[Sound]:
    """The visemes of a word, in order. A breath (h) lengthens what follows."""
    sounds: list[Sound] = []
    breath = 0.0
    for symbol in word.symbols:
        targets = [target for target in targets_of(symbol) if target.manner is not Manner.PAUSE]
        names = [name for name, _ in visemes_of(symbol) if name not in ("", "sil")]
        if not names:
            breath += _SECONDS[Manner.BREATH]
            continue
        stressed = symbol[0] in "ˈˌ"
        for name, target in zip(names, targets, strict=False):
            seconds = _SECONDS[target.manner]
            if target.manner in (Manner.VOWEL, Manner.ROUNDED):
                seconds *= (_STRESSED if stressed else 1.0) * (_LONG if "ː" in symbol else 1.0)
            sounds.append(Sound(VISEMES.index(name), target.weights, seconds + breath, symbol))
            breath = 0.0
    return sounds


class _Builder:
    def __init__(self) -> None:
        self.visemes: list[Floats] = []
        self.stay: list[float] = []
        self.jump: list[float] = []
        self.jump_to: list[int] = []
        self.word: list[int] = []

    def add(self, sound: Sound, states: int, word: int) -> None:
        leave = min(0.9, states / (sound.seconds * VISEME_RATE))
        for _ in range(states):
            expected = (1 - _NEAR) * sound.mouth
            expected[sound.viseme] += _NEAR
            self.visemes.append(expected / expected.sum())
            self.stay.append(1 - leave)
            self.jump.append(0.0)
            self.jump_to.append(len(self.jump_to))
            self.word.append(word)

    def let_jump(self, source: int, target: int, probability: float) -> None:
        self.jump[source], self.jump_to[source] = probability, target


def lattice_of(words: Sequence[Word]) -> Lattice:
    """The chain for `words`: silence, the words with their pauses, and silence that never ends."""
    silence = Sound(_SIL, _one(_SIL), _SECONDS[Manner.PAUSE])
    builder = _Builder()
    builder.add(silence, 1, 0)
    for number, word in enumerate(words):
        ends: list[int] = []
        for sound in sounds_of(word):
            first = len(builder.stay)
            builder.add(sound, _STATES, number)
            if len(ends) > 1:
                builder.let_jump(ends[-2], first, _OMITTED)
            ends.append(len(builder.stay) - 1)
        if ends:
            builder.add(silence, 1, number)
            builder.let_jump(ends[-1], len(builder.stay), 1 - word.pause)
    return _finished(builder)


def _finished(builder: _Builder) -> Lattice:
    count = len(builder.stay)
    # the last silence has no end
    builder.stay[-1] = 1.0
    source, target = np.arange(count), np.array(builder.jump_to, np.intp)
    inside = target < count
    stay = np.array(builder.stay, np.float32)
    jump = (1 - stay) * np.where(inside, np.array(builder.jump, np.float32), 0)
    further = np.where(inside, target - source, 0)
    onward = np.zeros((count, max(1, int(further.max())) + 1), np.float32)
    onward[:, 0], onward[:, 1] = stay, 1 - stay - jump
    onward[source, further] += jump
    return Lattice(onward, np.stack(builder.visemes), np.array(builder.word, np.intp))


def _one(viseme: int) -> Floats:
    row = np.zeros(len(VISEMES), np.float32)
    row[viseme] = 1.0
    return row

"""Timed mouths for clients that draw a figure of their own: the formats, and the messages that carry them. Pure.

`ovr`: weights of the 15 visemes of Oculus' OVRLipSync. `arkit`: blend shapes of Apple's ARKit. `fay`: Fay's run-length
`Lips`, one viseme per 33 ms.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from enum import StrEnum
from itertools import groupby
from typing import Any

import numpy as np
from numpy.typing import NDArray

from core.acts import Deed
from core.frames import VISEME_RATE, VISEMES, MouthShape, VisemeFrames

Shape = Callable[[VisemeFrames], MouthShape]
"""The mouth of an interval, from its viseme frames of shape (k, 15)."""

STEP_MS = 40
FAY_STEP_MS = 33
_ROW_MS = 1000 / VISEME_RATE
_PP = VISEMES.index("PP")


class VisemeFormat(StrEnum):
    """How mouths are told."""

    OVR = "ovr"
    ARKIT = "arkit"
    FAY = "fay"


@dataclass(frozen=True, slots=True, eq=False)
class LipPiece:
    """Lips that are about to be seen: `frames` begin `at` seconds after the reply's first sound."""

    reply_id: str
    index: int
    """Of the utterance in the reply."""
    at: float
    frames: VisemeFrames


def arkit_of(mouth: MouthShape) -> dict[str, float]:
    """The ARKit coefficients of a mouth (names: ARFaceAnchor.BlendShapeLocation).

    ARKit's mouthClose brings the lips together relative to the jaw: as much as jawOpen, they touch.
    """
    return {
        "jawOpen": mouth.jaw_open,
        "mouthClose": mouth.close * mouth.jaw_open,
        "mouthFunnel": mouth.funnel,
        "mouthPucker": mouth.pucker,
        "mouthStretchLeft": mouth.stretch,
        "mouthStretchRight": mouth.stretch,
        "mouthPressLeft": mouth.press,
        "mouthPressRight": mouth.press,
        "mouthRollLower": mouth.roll_lower,
        "mouthUpperUpLeft": 0.4 * mouth.teeth,
        "mouthUpperUpRight": 0.4 * mouth.teeth,
        "tongueOut": 0.3 * mouth.tongue_up,
    }


NAMES: dict[VisemeFormat, tuple[str, ...]] = {
    VisemeFormat.OVR: VISEMES,
    VisemeFormat.ARKIT: tuple(arkit_of(MouthShape())),
    VisemeFormat.FAY: VISEMES,
}


def step_ms(form: VisemeFormat) -> int:
    """Milliseconds from frame to frame."""
    return FAY_STEP_MS if form is VisemeFormat.FAY else STEP_MS


def blended(frames: VisemeFrames) -> NDArray[np.float32]:
    """One row of weights, shape (15,), for an interval: the mean of its frames (k ≥ 1), but the strongest PP.

    A closure lasts two or three frames; averaged away, p, b and m would not close the lips.
    """
    # numpy's methods for the same take several times as long over so little, for each picture
    mean: NDArray[np.float32] = np.add.reduce(frames, axis=0) / np.float32(len(frames))
    strongest, rest = max(frames[:, _PP].tolist()), 1.0 - float(mean[_PP])
    if strongest > mean[_PP] and rest > 0.0:
        mean *= (1.0 - strongest) / rest
        mean[_PP] = strongest
    return mean


def viseme_message(piece: LipPiece, form: VisemeFormat, session_id: str, shape: Shape) -> dict[str, Any] | None:
    """The message `visemes` for a piece; None when it is too short to hold a frame.

    Frames lie at multiples of `step_ms` of the reply's time, so those of all pieces make one even row.
    """
    step = step_ms(form)
    begin, rows = round(piece.at * 1000), len(piece.frames)
    first = math.ceil(begin / step)
    last = math.ceil((begin + rows * _ROW_MS) / step)
    if first >= last:
        return None
    # a frame is the mouth at its time; one of Fay's Lips is what is seen from its time on
    early = 0 if form is VisemeFormat.FAY else step / 2
    windows = [_window(piece.frames, number * step - begin - early, step) for number in range(first, last)]
    message: dict[str, Any] = {
        "type": "visemes",
        "session_id": session_id,
        "reply": piece.reply_id,
        "index": piece.index,
        "at_ms": first * step,
        "format": form.value,
        "step_ms": step,
    }
    match form:
        case VisemeFormat.FAY:
            spoken = [VISEMES[int(np.argmax(blended(window)))] for window in windows]
            return message | {"Lips": [{"Lip": name, "Time": step * len(list(run))} for name, run in groupby(spoken)]}
        case VisemeFormat.ARKIT:
            values = [list(arkit_of(shape(window)).values()) for window in windows]
        case _:
            values = [blended(window).tolist() for window in windows]
    return message | {"names": list(NAMES[form]), "frames": [[round(value, 3) for value in row] for row in values]}


def clear_message(reply_id: str, at: float, session_id: str) -> dict[str, Any]:
    """The message `visemes_clear`: nothing of the reply at or after `at` seconds will sound."""
    return {"type": "visemes_clear", "session_id": session_id, "reply": reply_id, "at_ms": round(at * 1000)}


def act_message(reply_id: str, at: float, deed: Deed, session_id: str) -> dict[str, Any]:
    """The message `act`: the face does this `at` seconds after the reply's first sound; of "", at once."""
    return {"type": "act", "session_id": session_id, "reply": reply_id, "at_ms": round(at * 1000), "act": deed.value}


def _window(frames: VisemeFrames, offset_ms: float, step: int) -> VisemeFrames:
    """The frames of `step` milliseconds from `offset_ms` on, at least one."""
    first = min(len(frames) - 1, max(0, round(offset_ms / _ROW_MS)))
    return frames[first : max(first + 1, round((offset_ms + step) / _ROW_MS))]

"""Values that travel between stages. Immutable, no behaviour beyond arithmetic."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum

import numpy as np
from numpy.typing import NDArray

MEDIA_RATE = 48_000
"""Samples per second of the media clock and of everything that is played (the RTP clock of Opus)."""

LISTEN_RATE = 16_000
"""Samples per second of everything that is listened to (VAD, ASR, audio-driven lips)."""

AUDIO_FRAME = MEDIA_RATE // 50
"""Samples in one 20 ms packet of played audio."""

FPS = 25
"""Pictures per second."""

PICTURE = MEDIA_RATE // FPS
"""Media samples per picture."""

VISEME_RATE = 100
"""Viseme frames per second."""

VISEMES = (
    "sil", "PP", "FF", "TH", "DD", "kk", "CH", "SS", "nn", "RR", "aa", "E", "ih", "oh", "ou",
)  # fmt: skip
"""The 15 Oculus/OVR visemes, in the order of every weight vector of shape (15,)."""

Samples = NDArray[np.int16]
"""Mono PCM, shape (n,), dtype int16."""

VisemeFrames = NDArray[np.float32]
"""Viseme weights, shape (n, 15), dtype float32, rows sum to 1, `VISEME_RATE` rows per second."""

Picture = NDArray[np.uint8]
"""One I420 picture, shape (height * 3 // 2, width), dtype uint8, C-contiguous, BT.601 limited range."""


@dataclass(frozen=True, slots=True)
class Pcm:
    """Mono 16-bit audio. `samples`: shape (n,), int16; `rate`: samples per second."""

    samples: Samples
    rate: int

    @property
    def seconds(self) -> float:
        """Length in seconds."""
        return len(self.samples) / self.rate


@dataclass(frozen=True, slots=True)
class SoundPiece:
    """A piece of what the avatar plays. `samples`: int16 at `MEDIA_RATE`, whole packets of `AUDIO_FRAME`; not to be
    written to.

    `at`: seconds after the reply's first sound. What is nobody's reply (a clip's sound) has the `reply_id` "", and `at`
    then counts from the avatar's beginning.
    """

    reply_id: str
    at: float
    samples: Samples


@dataclass(frozen=True, slots=True)
class Phoneme:
    """One phoneme of synthesised speech. Times in seconds from the start of the utterance."""

    symbol: str
    """IPA, as the synthesizer writes it; empty string or "_" for a pause."""
    start: float
    end: float


@dataclass(frozen=True, slots=True)
class SpokenWord:
    """One word of synthesised speech, as it stands in the text. Times in seconds from the start of the utterance."""

    text: str
    start: float
    end: float


@dataclass(frozen=True, slots=True)
class SpeechChunk:
    """A piece of one utterance as a synthesizer yields it, in order.

    `phonemes` are those whose start lies in this chunk, timed from the start of the *utterance*
    (not of the chunk); None when the synthesizer knows no timing (lips then follow text and audio).
    `words`, where the synthesizer times words only: those that begin in this chunk or later, each once, in order.
    """

    pcm: Pcm
    phonemes: tuple[Phoneme, ...] | None = None
    words: tuple[SpokenWord, ...] = ()
    arrived: float | None = None
    """When it came over the network (monotonic seconds); None when it was made here."""


@dataclass(frozen=True, slots=True)
class Transcript:
    """What the user said. Times in seconds on the listening clock of the session."""

    text: str
    final: bool = True
    start: float = 0.0
    end: float = 0.0
    confidence: float | None = None
    engine: str = ""


@dataclass(frozen=True, slots=True)
class MouthShape:
    """Blend parameters of a mouth, each in [0, 1]; all zero is a relaxed closed mouth.

    The names follow ARKit where ARKit has one (see docs/avatars.md).
    """

    jaw_open: float = 0.0
    close: float = 0.0
    """Lips together in spite of an open jaw (p, b, m): 1 forces contact."""
    press: float = 0.0
    """Lips pressed against each other (the hold of p, b, m)."""
    funnel: float = 0.0
    """Lips pushed forward and open (oh, sh)."""
    pucker: float = 0.0
    """Lips rounded and narrow (ou, w)."""
    stretch: float = 0.0
    """Corners drawn apart (E, ih)."""
    roll_lower: float = 0.0
    """Lower lip under the upper teeth (f, v)."""
    tongue_up: float = 0.0
    """Tongue tip at or between the teeth (th, l, d, n)."""
    teeth: float = 0.0
    """How much of the upper teeth shows."""


class Activity(StrEnum):
    """What the avatar is doing; also the `status` of a `status_update`."""

    IDLE = "idle"
    LISTENING = "listening"
    RECOGNIZING = "recognizing"
    THINKING = "thinking"
    SPEAKING = "speaking"
    INTERRUPTED = "interrupted"
    ERROR = "error"


class Expression(StrEnum):
    """A lasting mood of the face."""

    NEUTRAL = "neutral"
    HAPPY = "happy"
    SAD = "sad"
    SURPRISED = "surprised"
    THINKING = "thinking"
    APOLOGETIC = "apologetic"


class Gesture(StrEnum):
    """A short movement of the head; it ends by itself."""

    NOD = "nod"
    SHAKE = "shake"
    TILT = "tilt"


@dataclass(frozen=True, slots=True)
class FaceCue:
    """Everything a face needs for one picture.

    `time`: media time of the picture in seconds, strictly increasing within a session.
    `loudness`: RMS of the avatar's own speech around `time`, 0..1 (for head motion and brows).
    `gesture` began at media time `gesture_start`; the same gesture with a later start is a new one.
    `shut`: how far the eyelids are held shut, 0..1; the face blinks by itself besides.
    `worn`: the expression is there at once, and the face's alone: the head does not go with it.
    """

    time: float
    mouth: MouthShape = field(default_factory=MouthShape)
    activity: Activity = Activity.IDLE
    loudness: float = 0.0
    expression: Expression = Expression.NEUTRAL
    gesture: Gesture | None = None
    gesture_start: float = 0.0
    shut: float = 0.0
    worn: bool = False


@dataclass(frozen=True, slots=True)
class FaceChoice:
    """Which face a session shows; "" leaves it to the settings.

    `background`: "studio" (the presenter's own), "#rrggbb", "#rrggbb-#rrggbb" (gradient from top to bottom), the name
    or path of a picture that the settings allow, or "transparent": the picture is then twice as wide, colour at the
    left and the matte as grey at the right, for a page that composes them.
    """

    presenter: str = ""
    background: str = ""


@dataclass(frozen=True, slots=True)
class PresenterInfo:
    """A presenter that a face can show: `name` for programs, `title` and `about` for people.

    `voices`: what they speak with where nobody chose, by the name of the synthesizer.
    """

    name: str
    title: str
    about: str = ""
    voices: Mapping[str, str] = field(default_factory=dict, hash=False)


@dataclass(frozen=True, slots=True)
class Utterance:
    """One finished turn of a conversation, as a dialogue back end sees it."""

    role: str
    """"user" or "assistant"."""
    text: str


@dataclass(frozen=True, slots=True)
class Progress:
    """How far the playback of a reply had come when it was cleared."""

    utterances: int = 0
    """Utterances of the reply that were played to their end."""
    fraction: float = 0.0
    """Share of the next one that was played, 0..1."""


class LinkKind(StrEnum):
    """How a session's page gets picture and sound."""

    WEBRTC = "webrtc"
    WEBSOCKET = "websocket"
    """Sound over a WebSocket; the page draws by itself."""


class LinkState(StrEnum):
    """Of the media connection to the browser."""

    NEW = "new"
    CONNECTING = "connecting"
    CONNECTED = "connected"
    CLOSED = "closed"
    """Closed by the browser, or failed."""

"""The contracts of all stages. An adapter implements one of them; nothing else is asked of it.

Adapters hold models and configuration and are shared by all sessions; streams hold the state of one
session or one utterance. Every adapter class is constructed with its own section of the settings as
keyword arguments, is started once with `start()` and closed once with `close()`.
"""

from __future__ import annotations

import importlib
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from typing import Any, Protocol, runtime_checkable

from core.acts import Act
from core.errors import SettingsError
from core.frames import (
    FaceChoice,
    FaceCue,
    Picture,
    PresenterInfo,
    Progress,
    Samples,
    SoundPiece,
    SpeechChunk,
    Transcript,
    Utterance,
    VisemeFrames,
)
from core.voice_events import Turns, VoiceEvent

_NO_CHOICE = FaceChoice()


@runtime_checkable
class Adapter(Protocol):
    """Life cycle shared by all adapters."""

    name: str
    """Short name as used in the settings and in metrics."""

    async def start(self) -> None:
        """Load what is needed, off the event loop. Raises `AdapterError` with a message that says what to do."""

    async def close(self) -> None:
        """Free everything. Idempotent."""


class RecognizerStream(Protocol):
    """One listening period (one user turn).

    A stream may also have `failure: RecognizerError | None`, set as soon as the turn is lost: a chain of recognisers
    (asr/chain.py) then goes on with the next one at once instead of at `finish`.
    """

    def push(self, samples: Samples) -> None:
        """Add audio: int16, shape (n,), at `LISTEN_RATE`. Never blocks; bounded by the longest turn allowed."""

    async def finish(self) -> Transcript:
        """End of the turn: the final transcript (text may be empty). Raises `RecognizerError`."""

    async def cancel(self) -> None:
        """Drop the turn and free its resources. Idempotent, also after `finish`: the words are not answered then."""


@runtime_checkable
class Recognizer(Adapter, Protocol):
    """Speech to text."""

    languages: tuple[str, ...]
    """BCP-47 primary tags it understands, or ("*",)."""

    def open(self, on_partial: Callable[[Transcript], None]) -> RecognizerStream:
        """Begin a turn. `on_partial` is called on the event loop with each newer hypothesis (final=False)."""


@runtime_checkable
class Dialogue(Adapter, Protocol):
    """Decides what to say."""

    def reply(self, history: Sequence[Utterance], text: str) -> AsyncIterator[str]:
        """Stream the answer to `text` in pieces of any size. `history` holds the earlier turns, oldest first.

        Closing the iterator cancels the request. Raises `DialogueError`.
        """


@runtime_checkable
class Synthesizer(Adapter, Protocol):
    """Text to speech."""

    def synthesize(self, text: str, *, voice: str | None = None) -> AsyncIterator[SpeechChunk]:
        """Speak one sentence. Chunks come in order, all at one sample rate; closing the iterator cancels.

        `voice` overrides the voice that the adapter would choose by the text's language. Raises `SynthesizerError`.
        """


class VoiceCall(Protocol):
    """One session's line to a remote voice service. Nothing here waits or raises; all on one event loop.

    What the user does takes effect in the order of the calls. Nothing that belongs to a reply is told after `abort`.
    """

    def listen(self, *, until_finish: bool = True) -> None:
        """The user's turn begins: sound follows, until `finish`, or until the service says that the turn is over.

        A reply that is awaited or told is aborted, unless the service's turns are `Turns.OPEN` and `until_finish` is
        False. Without a connection the turn is kept, and sent when there is one.
        """

    def push(self, samples: Samples) -> None:
        """What the user says: int16, shape (n,), at `LISTEN_RATE`."""

    def finish(self) -> None:
        """The user's turn is over: `UserSaid` and a reply may follow. One that understood nothing is silent."""

    def ask(self, text: str) -> None:
        """The user typed this. A turn that has begun is dropped, a reply that is awaited or told aborted."""

    def abort(self) -> None:
        """Drop the turn that has begun, and the reply that is awaited or told."""

    def events(self) -> AsyncIterator[VoiceEvent]:
        """Connects, and tells what happens; for one listener, once. Ends after `close` and not before."""

    async def close(self) -> None:
        """End the connection and free everything. Idempotent."""


@runtime_checkable
class VoiceService(Adapter, Protocol):
    """Speech to speech: a remote service that hears, thinks and speaks. `start` checks the settings, not the way."""

    turns: Turns
    """Who tells when the user has spoken, while the microphone is open."""

    def open(self, session_id: str) -> VoiceCall:
        """A session's line; it connects when its `events` are read. Raises nothing."""


class LipStream(Protocol):
    """Lips of one utterance."""

    def feed(self, chunk: SpeechChunk) -> VisemeFrames:
        """Take the next piece (its PCM at `LISTEN_RATE`), return the frames that are now decided, shape (n, 15).

        May lag behind the audio by the look-ahead; CPU-bound, called in a worker thread.
        """

    def finish(self) -> VisemeFrames:
        """The remaining frames; afterwards ceil(seconds * VISEME_RATE) frames have been returned in all."""


@runtime_checkable
class LipSync(Adapter, Protocol):
    """Mouth shapes for speech."""

    def open(self, text: str = "") -> LipStream:
        """A fresh stream for one utterance, which says `text`; "" when that is not known (uploaded sound)."""


class FaceStream(Protocol):
    """The face of one session. Called from one thread at a time, not always the same one.

    A stream may also have `quick = True`, when no picture takes longer than a few milliseconds: it is then drawn by the
    thread that encodes it, which saves a hand-over, but a picture that does not come holds up those after it.
    """

    def draw(self, cue: FaceCue) -> Picture:
        """The picture for `cue.time`. The array is the caller's to keep. Raises `FaceError`."""


@runtime_checkable
class Face(Adapter, Protocol):
    """A presenter."""

    def open(self, width: int, height: int, *, seed: int = 0, choice: FaceChoice = _NO_CHOICE) -> FaceStream:
        """A new session's face. `width` and `height` are even; `seed` varies blinks and idle motion.

        A presenter or a size that was not shown before may take seconds: call it in a thread. Raises `FaceError` for a
        choice that can't be shown: code "unknown_presenter" or "unknown_background".
        """

    def presenters(self) -> tuple[PresenterInfo, ...]:
        """Those a `FaceChoice` may name, the one of the settings first. Quick; before `start` too."""


@runtime_checkable
class PicturedFace(Protocol):
    """What a `Face` may have, too: pictures of the operator's that can be behind its presenters."""

    def pictures(self, side: int) -> Mapping[str, bytes]:
        """Those a `FaceChoice` may name as its background, in the order to offer them, each as a thumbnail: WebP of
        `side` × `side` pixels.

        Reads every one: call it in a thread. One that can't be shown is left out and told in the log. Raises
        `FaceError`.
        """


class SpeechWriter(Protocol):
    """One reply's way onto the stage. Used by one task at a time."""

    async def begin(self, text: str, acts: Sequence[Act] = ()) -> None:
        """A new utterance (sentence) follows; `text` is what it says, "" for uploaded sound.

        The face does `acts` as their places in the sound are played.
        """

    async def write(self, chunk: SpeechChunk) -> None:
        """Queue the next piece. Waits while the stage holds enough; raises `SynthesizerError`."""

    async def end(self) -> None:
        """The utterance is complete; what the lips still held back is queued."""

    async def act(self, acts: Sequence[Act]) -> None:
        """The face does this once everything queued so far was played."""

    async def played(self) -> float:
        """Wait until everything queued has been played (or was cleared); the face then eases to neutral.

        Returns how many seconds after the reply's first sound that was, 0 where there was none.
        """


class Stage(Protocol):
    """Where replies are played. Calls are made on the event loop."""

    def writer(self, reply_id: str, *, lead_s: float | None = None) -> SpeechWriter:
        """Open the stage for a reply. Pieces of any other reply are refused from now on.

        `lead_s`: its sound comes live, no faster than it is spoken. Each piece is prepared at once, and the first one,
        as well as the first after it ran dry, waits so long (seconds), so that late ones leave no gap.
        """

    def clear(self) -> Progress:
        """Silence now: drop everything that is queued, tell how far playback had come."""

    def hold(self) -> bool:
        """Silence now, but keep what is queued for `resume`. False when nothing sounds, or it is held already."""

    def resume(self) -> bool:
        """Go on where `hold` stopped. False when nothing is held."""

    @property
    def held(self) -> bool:
        """Whether it is held."""


class StageListener(Protocol):
    """Told what is really played, at the moment it is handed to the audio track (on the event loop)."""

    def utterance_started(self, reply_id: str, index: int, text: str, at: float) -> None:
        """Utterance `index` of the reply begins to sound `at` seconds after the reply's first sound."""

    def utterance_ended(self, reply_id: str, index: int, text: str) -> None:
        """Utterance `index` has been played to its end."""


class SoundSink(Protocol):
    """Gets what the avatar plays, beside or instead of a WebRTC connection.

    Called on the event loop, must not wait. One that raises is dropped and gets no more. Silence is not handed over.
    """

    def sound(self, piece: SoundPiece) -> None:
        """The next piece, in order; perhaps before it is due (see `core.parts.Media.listen`)."""

    def cleared(self, reply_id: str, at: float) -> None:
        """Nothing of the reply sounds `at` seconds after its first sound or later; what was handed over is void there.

        After a hold the reply goes on at a later `at`, beginning with a little that was played before.
        """


_Table = Mapping[str, str]


def load_adapter(kind: str, engine: str, table: _Table, options: Mapping[str, Any]) -> Any:
    """Construct the adapter that the settings name.

    `engine` is a key of `table` or "package.module:Class"; `options` are its keyword arguments.
    Raises `SettingsError` naming what is allowed.
    """
    target = table.get(engine, engine)
    module_name, colon, class_name = target.partition(":")
    if not colon:
        raise SettingsError(
            f"{kind}.engine: {engine!r} is unknown; allowed: {', '.join(sorted(table))} or 'package.module:Class'"
        )
    try:
        factory = getattr(importlib.import_module(module_name), class_name)
    except (ImportError, AttributeError) as error:
        raise SettingsError(f"{kind}.engine: {engine!r} can't be loaded: {error}") from error
    try:
        return factory(**options)
    except TypeError as error:
        raise SettingsError(f"{kind}: {engine!r} does not take these options: {error}") from error

"""The speech queue of one avatar on its media clock.

Speech is queued as PCM with viseme frames; the audio track pulls samples, the video track asks for the
mouth at a media time. Nothing rendered is queued, so clearing the queue silences the avatar at once.
All methods run on the event loop's thread.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import replace
from typing import Protocol

from avatar.acting import Acting
from avatar.lateness import RUN_OUT, Lateness
from avatar.lip_preview import LipPreview, LipViewer
from avatar.lipsync.mouth import mouth_between, relaxed
from avatar.played import Played
from avatar.speech import Placed, Speech, added, faded_in, rms
from avatar.spoken_reply import SpokenReply
from avatar.taps import Frame, Tap, Taps
from avatar.timeline import Timeline
from core.acts import Deed
from core.frames import AUDIO_FRAME, MEDIA_RATE, PICTURE, Activity, FaceCue, MouthShape, Progress, Samples, VisemeFrames
from core.stages import SoundSink, StageListener

MAX_QUEUED_S = 20.0
"""A writer waits while this much speech is queued."""
KEEP_PLAYED_S = 1.0
"""Played speech is kept this long for pictures that are drawn late."""
MOUTH_WINDOW_S = (-0.02, 0.02)
"""The part of the speech around a picture's timestamp that its mouth shows."""
PULL = 3 * AUDIO_FRAME
"""Samples that a pump pulls in one go while it is ahead: fewer timers and messages."""


class Backing(Protocol):
    """What sounds while nobody speaks."""

    def sound(self, position: int, free: bool) -> Samples | None:
        """The `AUDIO_FRAME` samples at `position` of the media clock, called once for each packet; None for silence.

        `free`: nobody speaks in this packet, nor pauses in the middle of a reply.
        """

    @property
    def active(self) -> bool:
        """Whether something may sound; else nobody need ask."""


class Pacer(Protocol):
    """Pulls the stage while no track does, and before anything is due."""

    def due(self) -> int:
        """The media clock: up to here (whole packets, the one that sounds now included) is played."""

    def wake(self) -> None:
        """There is something to pull."""


class SpeechStage:
    """Queue, mixer and timeline of one avatar."""

    def __init__(self, listener: StageListener) -> None:
        self._listener = listener
        self._timeline = Timeline()
        self._held: list[Speech] | None = None
        self._cursor = 0
        """Up to here is played: handed to the track, or due."""
        self._read = 0
        """Up to here is read. Behind the cursor only while a pacer is ahead of real time."""
        self._reply = SpokenReply()
        self._acting = Acting(self._tell_act)
        self._drained = asyncio.Event()
        self._drained.set()
        self._roomy = asyncio.Event()
        self._roomy.set()
        self._activity = Activity.IDLE
        self._rest = MouthShape()
        self._backing: Backing | None = None
        self._preview: LipPreview | None = None
        self._pacer: Pacer | None = None
        self._taps = Taps()
        self._played = Played()
        self._lateness = Lateness()
        self.underruns = 0
        """How often speech ran dry inside an utterance (the synthesizer was slower than real time)."""

    def use_backing(self, backing: Backing) -> None:
        """What sounds while nobody speaks; set once."""
        self._backing = backing

    def watch_lips(self, viewer: LipViewer) -> None:
        """Who is told the lips; set once."""
        self._preview = LipPreview(viewer, self._timeline, self._reply)

    def use_pacer(self, pacer: Pacer | None) -> None:
        """Who pulls while no track does. What was read ahead of real time is read again."""
        self._pacer = pacer
        if pacer is None:
            self._take_back()

    def heard_later(self, told: Callable[[], float]) -> None:
        """How late it is heard (see `Lateness`); set once."""
        self._lateness = Lateness(told)

    def tap(self, sink: SoundSink, dropped: Callable[[], None] = lambda: None) -> Callable[[], None]:
        """Have what is played handed to `sink`; returns what ends it (idempotent). `dropped`: it raised, and is out."""
        tap = Tap(sink, self._cursor, dropped)
        self._taps.add(tap)
        ahead = range(self._cursor, self._read, AUDIO_FRAME)
        tap.hand(filter(None, (self._frame(at, self._timeline.samples(at, AUDIO_FRAME), False) for at in ahead)))
        return lambda: self._taps.remove(tap)

    # -- writing

    def open(self, reply_id: str, lead_s: float = 0.0) -> None:
        """Accept pieces of this reply only; pieces of others are dropped when they arrive.

        `lead_s`: its first piece, and the first after it ran dry, wait so long, so that late ones leave no gap.
        """
        self._reply.open(reply_id, round(lead_s * MEDIA_RATE))

    def put(self, speech: Speech) -> bool:
        """Queue a piece behind the others. False when it belongs to a reply that is no longer wanted."""
        if speech.reply_id != self._reply.id:
            return False
        speech = self._reply.add(speech)
        if self._held is None:
            self._skip_silence(AUDIO_FRAME)
            self._place(speech, self._reply.lead if len(speech.samples) else 0)
        else:
            self._held.append(speech)
        self._drained.clear()
        self._wake()
        if self.queued_seconds >= MAX_QUEUED_S:
            self._roomy.clear()
        return True

    def lips(self, reply_id: str, utterance: int, rows: VisemeFrames) -> None:
        """The utterance's next lips, for pieces that came without. Those of another reply are dropped."""
        if reply_id != self._reply.id or not len(rows):
            return
        first = self._reply.add_rows(utterance, len(rows))
        for placed in self._timeline:
            if placed.speech.reply_id == reply_id and placed.speech.utterance == utterance:
                placed.speech = placed.speech.with_lips(first, rows)
        for number, speech in enumerate(self._held or ()):
            if speech.utterance == utterance:
                self._held[number] = speech.with_lips(first, rows)  # type: ignore[index]
        self._show_lips()

    def _place(self, speech: Speech, lead: int = 0) -> None:
        dry = self._timeline.tail <= self._cursor  # what was read ahead is still to be heard
        start = max(self._timeline.tail, self._read + (lead if dry else 0))
        if start > self._timeline.tail and not speech.first and self._reply.start is not None and len(speech.samples):
            self.underruns += 1
        if self._reply.start is None and len(speech.samples):
            start = self._reply.begin(start)
        self._timeline.append(Placed(speech, start))

    async def room(self) -> None:
        """Wait until another piece may be queued."""
        await self._roomy.wait()

    async def drained(self) -> None:
        """Wait until everything queued has been played or cleared."""
        await self._drained.wait()

    def clear(self) -> Progress:
        """Silence now. Returns how far the reply had come; later pieces of it are refused."""
        self._catch_up()
        until = self._lateness.heard(self._cursor, self._reply.lead)
        heard = self._reply.heard(self._timeline, self._held or (), until)
        self._withdraw(until)
        self._held = None
        self._timeline.cut([placed for placed in self._timeline if placed.end <= self._cursor], self._cursor)
        self._reply.id = ""
        self._acting.clear(self._cursor / MEDIA_RATE)
        self._drained.set()
        self._roomy.set()
        self._wake()
        return heard

    def finish(self, reply_id: str) -> float:
        """The reply was played to its end: its expression goes. Returns its length (s) from its first sound on."""
        if reply_id != self._reply.id:
            return 0.0
        length = self._reply.since_start(min(self._timeline.tail, self._cursor))
        self._acting.finish(self._cursor / MEDIA_RATE)
        self._reply.start = None
        return length

    def hold(self) -> bool:
        """Silence now, but keep what is queued for `resume`. False when nothing sounds, or it is held already."""
        self._catch_up()
        if self._held is not None or self._timeline.tail <= self._cursor:
            return False
        until = self._lateness.heard(self._cursor, self._reply.lead)
        cut = self._timeline.gap(until)
        self._withdraw(until)
        self._held, played = [], []
        for placed in self._timeline:
            before, after = placed.split(min(cut, until), self._cursor)
            played += [before] if before is not None else []
            self._held += [after] if after is not None else []
        self._timeline.cut(played, self._cursor)
        self._wake()
        return True

    def resume(self) -> bool:
        """Go on a little before where `hold` stopped; the media clock went on. False when nothing is held."""
        if self._held is None:
            return False
        self._catch_up()
        held, self._held = self._held, None
        self._timeline.tail = self._cursor
        for number, speech in enumerate(held):
            self._place(speech if number else replace(speech, samples=faded_in(speech.samples)))
        self._wake()
        return True

    @property
    def held(self) -> bool:
        """Whether it is held."""
        return self._held is not None

    @property
    def speaking(self) -> bool:
        """Whether sound is queued, playing or held."""
        return self._held is not None or self._timeline.tail > self._cursor

    @property
    def queued_seconds(self) -> float:
        """Seconds of speech not yet played."""
        held = sum(len(speech.samples) for speech in self._held or ())
        return (max(0, self._timeline.tail - self._cursor) + held) / MEDIA_RATE

    # -- playing

    def read(self, position: int) -> Samples:
        """The next `AUDIO_FRAME` samples, for the audio track; `position` is their place on the media clock."""
        samples, frame = self._fetch(position)
        self._taps.hand([frame] if frame is not None else [])
        self._reach(position + AUDIO_FRAME)
        return samples

    def pull(self, due: int, ahead: int) -> None:
        """Play until `due`, for the pacer, and hand over what is queued for the next `ahead` samples after it."""
        if self.idle:
            self._pass(due)
            return
        frames = []
        # what is not queued is not read ahead: it would be silence, and what is said next could only come after it
        while self._read < due or self._read + AUDIO_FRAME <= min(due + ahead, self._timeline.tail):
            frame = self._fetch(self._read)[1]
            if frame is not None:
                frames.append(frame)
        self._taps.hand(frames)
        if due > self._cursor:
            self._reach(due)

    def next_change(self) -> int | None:
        """Until where the pacer should pull next; None while there is nothing to play."""
        if self.idle:
            return None
        return self._timeline.next_change(self._cursor, PULL)

    @property
    def idle(self) -> bool:
        """Whether there is nothing to play, and nothing to tell of what was."""
        sounding = self._timeline.tail > self._cursor or (self._backing is not None and self._backing.active)
        return not sounding and (self._held is not None or self._drained.is_set())

    @property
    def position(self) -> int:
        """Up to where it is played, on the media clock."""
        return self._cursor

    def cue(self, time: float) -> FaceCue:
        """What the face shows at media time `time` (seconds)."""
        lo, hi = (int((time + edge) * MEDIA_RATE) for edge in MOUTH_WINDOW_S)
        frames, samples = self._timeline.visemes(lo, hi), self._timeline.samples(lo, hi - lo)
        if len(frames):
            self._rest = mouth_between(frames)
        else:
            self._rest = relaxed(self._rest)
        activity = Activity.SPEAKING if len(frames) else self._activity
        expression, gesture, since = self._acting.at(time)
        return FaceCue(time, self._rest, activity, rms(samples), expression, gesture, since)

    def show(self, activity: Activity) -> None:
        """What the avatar is doing while it does not speak."""
        self._activity = activity

    def played(self, seconds: float, ago: float) -> Samples:
        """What sounded, a clip included, during `seconds` until `ago` seconds before now, at `MEDIA_RATE`.

        Shape (n,); the last `avatar.played.KEPT_S` are known.
        """
        self._skip_silence()
        now = self._cursor if self._pacer is None else self._pacer.due()
        late = self._lateness.samples(self._reply.lead)
        return self._played.between(seconds, ago + (self._read - now + late) / MEDIA_RATE)

    def picture_due(self) -> int:
        """Where the pictures of a new connection begin: with the one that is due."""
        return max(0, self._cursor - 1) // PICTURE * PICTURE  # the packet that ends there sounds now

    # -- inside

    def _fetch(self, position: int) -> tuple[Samples, Frame | None]:
        """One packet, and the same for the taps if it is somebody's."""
        samples = self._timeline.samples(position, AUDIO_FRAME)
        backing = self._backing.sound(position, not self._performing) if self._backing is not None else None
        if backing is not None:
            samples = added(samples, backing)
        self._played.add(samples)
        self._read = position + AUDIO_FRAME
        return samples, self._frame(position, samples, backing is not None) if self._taps else None

    def _frame(self, position: int, samples: Samples, backed: bool) -> Frame | None:
        if self._reply.id and self._reply.start is not None and self._timeline.speaks(self._reply.id, position):
            return Frame(position, self._reply.id, (position - self._reply.start) / MEDIA_RATE, samples)
        return Frame(position, "", position / MEDIA_RATE, samples) if backed else None

    def _reach(self, cursor: int) -> None:
        """So far it is played."""
        before, self._cursor = self._cursor, cursor
        self._read = max(self._read, cursor)
        self._announce(before)
        self._show_lips()
        self._timeline.forget(before - int(KEEP_PLAYED_S * MEDIA_RATE) - self._lateness.samples(0))
        if self.queued_seconds < MAX_QUEUED_S:
            self._roomy.set()
        if not self.speaking:
            self._drained.set()

    def _catch_up(self) -> None:
        """With a pacer: to what is due at this moment, and not further."""
        if self._pacer is not None:
            self.pull(self._pacer.due(), 0)
            self._take_back()

    def _skip_silence(self, but: int = 0) -> None:
        """With a pacer that has nothing to pull: to this moment, but for the last `but` samples."""
        if self._pacer is not None and self.idle:
            self._pass(self._pacer.due() - but)

    def _pass(self, due: int) -> None:
        """Silence until then."""
        if due > self._cursor:
            self._played.silence(due - self._cursor)
            self._cursor = self._read = due

    def _take_back(self) -> None:
        self._played.take_back(self._read - self._cursor)
        self._read = self._cursor

    def _wake(self) -> None:
        if self._pacer is not None:
            self._pacer.wake()

    @property
    def _performing(self) -> bool:
        """Whether a reply sounds, is held, or pauses between two sentences."""
        return self.speaking or (self._reply.id != "" and self._reply.start is not None)

    def _announce(self, position: int) -> None:
        for placed in self._timeline.until(self._cursor):
            speech = placed.speech
            if not placed.announced:
                placed.announced = True
                if speech.first:
                    at = self._reply.since_start(placed.start)
                    self._listener.utterance_started(speech.reply_id, speech.utterance, speech.text, at)
                    if speech.reply_id != self._reply.id:
                        break
                if speech.first or speech.acts:
                    self._acting.begin(speech.utterance, speech.text, speech.acts)
            if speech.reply_id != self._reply.id:
                continue  # of an earlier reply, and only kept for late pictures
            self._act(placed, position)
            if speech.last and placed.end <= self._cursor and self._reply.end(speech.utterance):
                self._listener.utterance_ended(speech.reply_id, speech.utterance, speech.text)

    def _act(self, placed: Placed, position: int) -> None:
        if placed.end >= position:
            now = min(self._cursor, placed.end)
            self._acting.follow(self._reply.sounded(placed.speech, now - placed.start), now / MEDIA_RATE)

    def _tell_act(self, deed: Deed, time: float) -> None:
        if self._preview is not None:
            self._preview.act(deed, round(time * MEDIA_RATE))

    def _show_lips(self) -> None:
        if self._preview is not None:
            self._preview.show(self._cursor)

    def _withdraw(self, heard_until: int) -> None:
        """What was told of the reply and is still to come does not come."""
        self._played.hush(self._cursor - heard_until - RUN_OUT)
        self._lateness.cut(self._cursor)
        if self._held is not None or self._reply.start is None or not self._reply.id:
            return
        at = self._reply.since_start(self._cursor)
        self._taps.clear(self._reply.id, at, self._cursor)
        if self._preview is not None:
            self._preview.withdraw(self._cursor)
        if self._cursor <= self._reply.start:
            self._reply.start = None  # nothing of it was heard: it begins anew

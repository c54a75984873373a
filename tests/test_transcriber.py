"""Row E3: a file becomes the user's words and a question; failures, interruption and the end leave nothing behind."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator, Callable
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest

from core.conversation import Conversation
from core.errors import BadRequest, RecognizerError, Refused, SessionNotFound
from core.events import Doing, Event, Failed, Heard, Uploaded, UploadState
from core.frames import LISTEN_RATE, Activity, Samples, Transcript
from core.recording import Pace
from core.transcriber import MAX_FILES, Transcriber
from tests.fakes import ScriptedDialogue, ToneSynthesizer
from tests.test_segments import LoudIsSpeech, sound


class Tape:
    """A recording in memory."""

    def __init__(self, samples: Samples, seconds: float | None = None) -> None:
        self._samples = samples
        self.seconds = seconds
        self.closed = False

    async def pieces(self) -> AsyncGenerator[Samples, None]:
        for start in range(0, len(self._samples), 8000):
            yield self._samples[start : start + 8000]
            await asyncio.sleep(0)

    def close(self) -> None:
        self.closed = True


class Clerk:
    """A recogniser that gives `words` one turn after the other; an exception among them is raised at `finish`."""

    name = "clerk"
    languages: tuple[str, ...] = ("*",)

    def __init__(self, *words: str | Exception) -> None:
        self.words = list(words)
        self.open_streams = 0
        self.most_seconds = 0.0
        self.hold: asyncio.Event | None = None

    async def start(self) -> None:
        """Nothing to load."""

    async def close(self) -> None:
        """Nothing to free."""

    def open(self, on_partial: Callable[[Transcript], None]) -> ClerkStream:
        self.open_streams += 1
        return ClerkStream(self, on_partial)


class ClerkStream:
    def __init__(self, clerk: Clerk, on_partial: Callable[[Transcript], None]) -> None:
        self._clerk = clerk
        self._on_partial = on_partial
        self._count = 0
        self._closed = False

    def push(self, samples: Samples) -> None:
        self._count += len(samples)
        self._on_partial(Transcript("so far", final=False))

    async def finish(self) -> Transcript:
        self._clerk.most_seconds = max(self._clerk.most_seconds, self._count / LISTEN_RATE)
        if self._clerk.hold is not None:
            await self._clerk.hold.wait()
        word = self._clerk.words.pop(0)
        if isinstance(word, Exception):
            raise word
        return Transcript(word, engine="clerk")

    async def cancel(self) -> None:
        if not self._closed:
            self._closed = True
            self._clerk.open_streams -= 1


class Bench:
    """A transcriber that runs, and what it tells."""

    def __init__(self, clerk: Clerk, timeout_s: float = 5.0, speed: float = 20) -> None:
        self.clerk = clerk
        self.events: list[Event] = []
        self.dialogue = ScriptedDialogue()
        self.conversation = Conversation(
            dialogue=self.dialogue, synthesizer=ToneSynthesizer(), emit=self.events.append, show=lambda activity: None
        )
        self.pool = ThreadPoolExecutor(2)
        self.transcriber = Transcriber(
            recognizer=clerk, voice_activity=LoudIsSpeech, conversation=self.conversation, emit=self.events.append,
            executor=self.pool, timeout_s=timeout_s, max_turn_s=30, retry_s=0, pace=Pace(speed),
        )  # fmt: skip
        self.task = asyncio.create_task(self.transcriber.run())

    async def ended(self, count: int = 1) -> list[UploadState]:
        """The ends of uploads, once there are so many."""
        ends: list[UploadState] = []
        async with asyncio.timeout(10):
            while len(ends) < count:
                await asyncio.sleep(0.005)
                ends = [event.state for event in self.uploads() if event.state is not UploadState.RECOGNIZING]
        return ends

    def uploads(self) -> list[Uploaded]:
        return [event for event in self.events if isinstance(event, Uploaded)]

    def heard(self) -> list[Transcript]:
        return [event.transcript for event in self.events if isinstance(event, Heard)]

    async def close(self) -> None:
        self.task.cancel()
        await asyncio.wait({self.task})
        self.pool.shutdown()


@pytest.fixture
async def bench() -> AsyncIterator[Callable[..., Bench]]:
    made: list[Bench] = []

    def make(*words: str | Exception, **options: float) -> Bench:
        made.append(Bench(Clerk(*words), **options))
        return made[-1]

    yield make
    for one in made:
        await one.close()
        assert one.clerk.open_streams == 0


def question(sentences: int = 1) -> Samples:
    return sound(*[part for _ in range(sentences) for part in ((0.5, 0), (0.8, 5000), (1.0, 0))])


async def test_e3_all_sentences_become_one_question(bench: Callable[..., Bench]) -> None:
    one = bench("what is", "seven times six")
    tape = Tape(question(2), seconds=4.6)
    assert await one.transcriber.ask(tape) == "u1"
    assert await one.ended() == [UploadState.FINAL]
    final = one.heard()[-1]
    assert (final.text, final.final, final.engine) == ("what is seven times six", True, "clerk")
    assert 0.1 <= final.start <= 0.5
    assert 3.6 <= final.end <= 4.0
    partials = [said.text for said in one.heard() if not said.final]
    assert partials[0] == "so far"
    assert all(text in ("so far", "what is", "what is so far") for text in partials)
    assert one.conversation.waiting == 1  # nothing runs the conversation here
    assert tape.closed
    shares = [upload.progress for upload in one.uploads() if upload.state is UploadState.RECOGNIZING]
    assert shares == sorted(shares, key=lambda share: share or 0)
    assert Doing(Activity.RECOGNIZING) in one.events


async def test_e3_chinese_sentences_are_joined_without_a_space(bench: Callable[..., Bench]) -> None:
    one = bench("你好。", "", "六乘七等于多少？")
    await one.transcriber.ask(Tape(question(3)))
    await one.ended()
    assert one.heard()[-1].text == "你好。六乘七等于多少？"


@pytest.mark.parametrize("samples", [sound((3, 0)), np.zeros(0, np.int16)], ids=["silent", "empty"])
async def test_e3_a_silent_file_is_refused_at_once(bench: Callable[..., Bench], samples: Samples) -> None:
    one, tape = bench(), Tape(samples)
    with pytest.raises(BadRequest) as caught:
        await one.transcriber.ask(tape)
    assert caught.value.code == "no_speech"
    assert tape.closed
    assert one.events == []


async def test_e3_no_words_are_an_error_that_pages_can_tell(bench: Callable[..., Bench]) -> None:
    one = bench("")
    await one.transcriber.ask(Tape(question()))
    assert await one.ended() == [UploadState.ERROR]
    assert one.uploads()[-1].code == "not_understood"
    assert one.heard()[-1] == Transcript("", engine="clerk")  # takes the partial back
    assert one.conversation.activity is Activity.IDLE
    assert not [event for event in one.events if isinstance(event, Failed)]  # the recogniser did its work


async def test_e3_a_passing_failure_is_tried_again_with_the_same_sound(bench: Callable[..., Bench]) -> None:
    away = RecognizerError("it is away", retryable=True)
    one = bench("first", away, away, "second")
    await one.transcriber.ask(Tape(question(2)))
    assert await one.ended() == [UploadState.FINAL]
    assert one.heard()[-1].text == "first second"


@pytest.mark.parametrize(
    "failures",
    [[RecognizerError("the key is wrong", code="asr_auth")], [RecognizerError("away", retryable=True)] * 3],
    ids=["lasting", "repeated"],
)
async def test_e3_a_lasting_failure_ends_it_and_the_next_file_goes_on(
    bench: Callable[..., Bench], failures: list[RecognizerError]
) -> None:
    one = bench(*failures, "well")
    broken, good = Tape(question()), Tape(question())
    await one.transcriber.ask(broken)
    await one.transcriber.ask(good)
    assert await one.ended(2) == [UploadState.ERROR, UploadState.FINAL]
    failed = [event for event in one.events if isinstance(event, Failed)]
    assert [(event.stage, event.adapter) for event in failed] == [("asr", "clerk")]
    codes = [upload.code for upload in one.uploads() if upload.state is UploadState.ERROR]
    assert codes == [failures[0].code]
    assert broken.closed
    assert good.closed


async def test_k2_neither_words_nor_what_a_server_quotes_of_them_is_logged(
    bench: Callable[..., Bench], caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("DEBUG")
    away = RecognizerError("it said no", retryable=True, quoted="periwinkle")
    one = bench("marmalade", "", away, away, away)
    for _ in range(3):
        await one.transcriber.ask(Tape(question()))
    assert await one.ended(3) == [UploadState.FINAL, UploadState.ERROR, UploadState.ERROR]
    assert "it said no" in caplog.text
    assert not [word for word in ("marmalade", "periwinkle", "so far") if word in caplog.text]


async def test_e3_a_recogniser_that_never_answers_is_given_up(bench: Callable[..., Bench]) -> None:
    one = bench(timeout_s=0.05)
    one.clerk.hold = asyncio.Event()
    await one.transcriber.ask(Tape(question()))
    assert await one.ended() == [UploadState.ERROR]
    assert one.uploads()[-1].message == "the recogniser did not answer in time"


async def test_e3_interrupting_stops_the_file_and_those_that_wait(bench: Callable[..., Bench]) -> None:
    one = bench("never")
    one.clerk.hold = asyncio.Event()
    tapes = [Tape(question()) for _ in range(3)]
    assert not one.transcriber.interrupt()
    for tape in tapes:
        await one.transcriber.ask(tape)
    async with asyncio.timeout(5):
        while not one.clerk.most_seconds:
            await asyncio.sleep(0.005)
    assert one.transcriber.interrupt()
    assert await one.ended(3) == [UploadState.STOPPED] * 3
    assert all(tape.closed for tape in tapes)
    assert one.conversation.activity is Activity.IDLE
    assert one.clerk.open_streams == 0
    one.clerk.hold, one.clerk.words = None, ["again"]
    await one.transcriber.ask(Tape(question()))
    await one.ended(4)
    assert one.heard()[-1].text == "again"


async def test_e3_interrupting_also_stops_what_is_only_being_looked_at(bench: Callable[..., Bench]) -> None:
    one, tape = bench(), Tape(np.concatenate([sound((30, 0)), question()]))
    asking = asyncio.create_task(one.transcriber.ask(tape))
    await asyncio.sleep(0)
    assert one.transcriber.interrupt()
    with pytest.raises(Refused) as caught:
        await asking
    assert caught.value.code == "interrupted"
    assert tape.closed
    assert one.events == []


async def test_e3_only_a_few_wait_and_the_rest_is_refused(bench: Callable[..., Bench]) -> None:
    one = bench()
    one.clerk.hold = asyncio.Event()
    tapes = [Tape(question()) for _ in range(MAX_FILES + 2)]
    results = await asyncio.gather(*(one.transcriber.ask(tape) for tape in tapes), return_exceptions=True)
    refused = [tape for tape, result in zip(tapes, results, strict=True) if isinstance(result, Refused)]
    assert len(refused) == 2
    assert all(tape.closed for tape in refused)
    assert len({result for result in results if isinstance(result, str)}) == MAX_FILES


async def test_e3_the_end_of_the_session_frees_everything(bench: Callable[..., Bench]) -> None:
    one = bench()
    one.clerk.hold = asyncio.Event()
    tapes = [Tape(question()) for _ in range(3)]
    for tape in tapes[:2]:
        await one.transcriber.ask(tape)
    while not one.clerk.most_seconds:
        await asyncio.sleep(0.005)
    one.task.cancel()
    await asyncio.wait({one.task})
    assert all(tape.closed for tape in tapes[:2])
    assert one.clerk.open_streams == 0
    with pytest.raises(SessionNotFound):
        await one.transcriber.ask(tapes[2])
    assert tapes[2].closed


async def test_e3_while_the_microphone_hears_something_the_file_keeps_quiet(bench: Callable[..., Bench]) -> None:
    one = bench("said")
    one.conversation.do(Activity.LISTENING)
    await one.transcriber.ask(Tape(question()))
    await one.ended()
    assert [said.text for said in one.heard()] == ["said"]
    assert Doing(Activity.RECOGNIZING) not in one.events


async def test_e3_long_speech_reaches_the_recogniser_in_bounded_turns(bench: Callable[..., Bench]) -> None:
    one = bench(*["word"] * 20, speed=1000)
    await one.transcriber.ask(Tape(sound((70, 5000))))
    assert await one.ended() == [UploadState.FINAL]
    assert 10 < one.clerk.most_seconds <= 20


def test_e3_the_pace_follows_the_recogniser_within_bounds() -> None:
    pace = Pace()
    for _ in range(20):
        pace.finished(0.01)
    assert pace.speed == Pace.FASTEST
    pace.finished(0.3)
    assert pace.speed == Pace.FASTEST
    for _ in range(20):
        pace.finished(3.0)
    assert pace.speed == Pace.SLOWEST

"""Tags in a reply: they move the face at their place in the speech, and are never spoken, shown or kept."""

from __future__ import annotations

import asyncio
import re

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from avatar.acting import LEAST_S, Acting, Sounded
from avatar.speech import Speech
from avatar.stage import SpeechStage
from core.acts import MARKS, Act, Deed, weight
from core.events import Replying, ReplyState
from core.frames import AUDIO_FRAME, MEDIA_RATE, VISEME_RATE, Expression, Gesture
from core.markup import MarkupFilter
from core.sentences import Piece, SentenceCutter
from tests.fakes import ScriptedDialogue
from tests.test_reply import Setup
from tests.test_stage import Log, play

NOD, SHAKE, TILT = Gesture
NEUTRAL, HAPPY, SAD, SURPRISED, THINKING, APOLOGETIC = Expression
FRAME_S = AUDIO_FRAME / MEDIA_RATE


def cut(*deltas: str) -> list[Piece]:
    cutter = SentenceCutter()
    return [piece for delta in deltas for piece in cutter.feed(delta)] + cutter.finish()


def deeds(text: str) -> list[Deed]:
    return [act.deed for piece in cut(text) for act in piece.acts]


def spoken(text: str) -> str:
    return " ".join(piece.text for piece in cut(text) if piece.text)


@pytest.mark.parametrize(
    ("raw", "words", "done"),
    [
        ("[happy] Hello there!", "Hello there!", [HAPPY]),
        ("[HAPPY]Hello [Nod] there[ tilt ]!", "Hello there!", [HAPPY, NOD, TILT]),
        ("[sad][shake] No.", "No.", [SAD, SHAKE]),
        ("[surprised](laughs) Oh!", "Oh!", [SURPRISED, HAPPY]),
        ("【happy】你好！【nod】很高兴见到你。", "你好！ 很高兴见到你。", [HAPPY, NOD]),
        ("[emotion: happy] Yes. [gesture=nod] Good.", "Yes. Good.", [HAPPY, NOD]),
        ("*nods* Yes. (smiles warmly) Good. *shakes my head* No.", "Yes. Good. No.", [NOD, HAPPY, SHAKE]),
        ("（点头）好。*微笑* 【歪头】真的？", "好。 真的？", [NOD, HAPPY, TILT]),
        ("*sighs* Oh. [gasps] Ah!", "Oh. Ah!", [SAD, SURPRISED]),
        ("[[happy]] Hi there", "Hi there", [HAPPY]),
        ("[thinking] Well, let me see. [neutral] Yes.", "Well, let me see. Yes.", [THINKING, NEUTRAL]),
        ("[apologetic]\n- one\n- two", "one two", [APOLOGETIC]),
        ("[happy] # Title\n[nod]*really* good", "Title really good", [HAPPY, NOD]),
        ("I am *happy* to (sad) [foo] nod [nodding off] [happy days].",
         "I am happy to (sad) [foo] nod [happy days].", [NOD]),
        ("Say [1] [^n] [a](http://b.c) `[nod]` <think>[sad]</think>", "Say a", [NOD]),
        ("*waves* Hello.", "Hello.", []),
        ("［happy］你好。［ Nod ］好。【foo】［bar］吗？", "你好。 好。【foo】［bar］吗？", [HAPPY, NOD]),
        ("【高兴】你好！[难过]唉。［惊讶］啊！【思考】嗯，【抱歉】对不起。【平静】好。",
         "你好！ 唉。啊！嗯，对不起。 好。", [HAPPY, SAD, SURPRISED, THINKING, APOLOGETIC, NEUTRAL]),
        ("【表情：开心】好。【动作：摇头】不。【天气】晴。", "好。不。 【天气】晴。", [HAPPY, SHAKE]),
    ],
)  # fmt: skip
def test_tags_and_stage_directions_are_acted_not_spoken(raw: str, words: str, done: list[Deed]) -> None:
    assert spoken(raw) == words
    assert deeds(raw) == done


def test_a_tag_belongs_to_the_words_around_it() -> None:
    first, second = cut("[happy] One two three four. [nod] Five six [tilt] seven eight. [sad]")[:2]
    assert first == Piece("One two three four.", (Act(HAPPY, 0.0),))
    assert [act.deed for act in second.acts] == [NOD, TILT]
    assert second.acts[0].share == 0
    assert 0.3 < second.acts[1].share < 0.6


def test_tags_after_the_last_word_come_without_text() -> None:
    assert cut("Goodbye then! [happy]")[-1] == Piece("", (Act(HAPPY, 0.0),))
    assert cut("[nod]") == [Piece("", (Act(NOD, 0.0),))]
    assert cut("Bye[nod]") == [Piece("Bye", (Act(NOD, 1.0),))]


def test_hostile_repetition_is_bounded() -> None:
    pieces = cut("[nod]" * 5000 + "Hello. " + "[happy][sad]" * 5000)
    assert [piece.text for piece in pieces] == ["Hello.", ""]
    assert max(len(piece.acts) for piece in pieces) <= 16


_WORDS = st.lists(
    st.sampled_from(
        ["Hello", "there.", "Yes,", "do!", "你好。", "很好，", "3.5", "7*6", "**bold**", "*word*", "Dr.", "-"]
    )
)
_TAG = st.sampled_from(
    [f"[{deed}]" for deed in (*Expression, *Gesture)]
    + ["[NOD]", "【happy】", "【点头】", "［高兴］", "[Sad ]", "*nods*"]
)


@settings(max_examples=150, deadline=None)
@given(_WORDS, st.lists(st.tuples(st.integers(0, 30), _TAG), max_size=6), st.data())
def test_f1_tags_never_change_what_is_spoken_however_they_are_split(
    words: list[str], tags: list[tuple[int, str]], data: st.DataObject
) -> None:
    """Anywhere between words, in any pieces: the same text as without, and every tag is done once, in order."""
    tagged = [word + " " for word in words]
    for place, tag in tags:
        tagged.insert(min(place, len(tagged)), tag)
    text, plain = "".join(tagged), "".join(word + " " for word in words)
    borders = sorted(data.draw(st.lists(st.integers(0, len(text)), max_size=12)))
    deltas = [text[start:end] for start, end in zip([0, *borders], [*borders, len(text)], strict=True)]
    pieces = cut(*deltas)
    assert pieces == cut(text) == cut(*text)
    assert [piece.text for piece in pieces if piece.text] == [piece.text for piece in cut(plain)]
    wanted = [part for part in tagged if not part.endswith(" ")]
    assert sum(len(piece.acts) for piece in pieces) == len(wanted)
    for piece in pieces:
        shares = [act.share for act in piece.acts]
        assert shares == sorted(shares)
        assert all(0 <= share <= 1 for share in shares)


@settings(max_examples=100, deadline=None)
@given(st.text(max_size=120), _TAG)
def test_no_tag_and_no_mark_is_ever_spoken(text: str, tag: str) -> None:
    marked = text + "".join(MARKS) + "\n" + tag + text
    for piece in cut(marked):
        assert not set(piece.text) & set(MARKS)
    assert tag not in spoken("word " + tag + " word")
    filtered = MarkupFilter()
    assert not set(filtered.feed("".join(MARKS) + " ") + filtered.finish()) & set(MARKS), "marks come only from tags"


def test_weight_takes_every_text() -> None:
    assert weight("") == 0
    assert weight("one two") < weight("one, two") < weight("one. two, three")
    assert weight("你好") > weight("ab")
    assert all(weight(char) > 0 for char in "a中7²½")


# -- on the stage


def speech(
    seconds: float, *acts: Act, utterance: int = 0, first: bool = True, last: bool = True, text: str = "u"
) -> Speech:
    visemes = np.zeros((int(np.ceil(seconds * VISEME_RATE)), 15), np.float32)
    visemes[:, 0] = 1
    samples = np.full(int(seconds * MEDIA_RATE), 1000, np.int16)
    return Speech("r1", utterance, text, samples, visemes, first, last, acts)


def staged(*pieces: Speech) -> SpeechStage:
    stage = SpeechStage(Log())
    stage.open("r1")
    for piece in pieces:
        stage.put(piece)
    return stage


def expression(stage: SpeechStage, time: float) -> Expression:
    return stage.cue(time).expression


def test_an_act_happens_when_its_place_is_played() -> None:
    stage = staged(speech(1.0, Act(HAPPY, 0.0), Act(NOD, 0.5)), speech(1.0, Act(SAD, 0.25), utterance=1))
    play(stage, 100)
    assert [expression(stage, t) for t in (0.0, 0.5, 1.2, 1.3)] == [HAPPY, HAPPY, HAPPY, SAD]
    assert stage.cue(0.4).gesture is None
    cue = stage.cue(1.9)
    assert cue.gesture is NOD
    assert abs(cue.gesture_start - 0.5) <= FRAME_S


def test_an_act_waits_for_no_end_of_its_utterance() -> None:
    """While the voice still speaks, the length is estimated by the text; once it is known it counts."""
    text = "x" * 26  # two seconds
    stage = staged(speech(1.5, Act(NOD, 0.5), text=text, last=False))
    play(stage, 60)
    assert abs(stage.cue(1.2).gesture_start - 1.0) <= FRAME_S
    short = staged(speech(0.4, Act(NOD, 0.5), text=text, last=False))
    short.put(speech(0.4, text=text, first=False))
    play(short, 60)
    assert abs(short.cue(1.0).gesture_start - 0.4) <= FRAME_S


def test_holding_keeps_what_was_not_done_and_repeats_nothing() -> None:
    stage = staged(speech(2.0, Act(HAPPY, 0.0), Act(NOD, 0.25), Act(TILT, 0.75)))
    play(stage, 30)  # 0.6 s
    assert stage.hold()
    play(stage, 50, start=30)
    assert expression(stage, 1.5) is HAPPY
    assert stage.cue(1.5).gesture is NOD
    assert stage.resume()
    play(stage, 100, start=80)  # from 1.6 s on it plays what began before 0.6 s
    cues = [stage.cue(1.6 + n / 25) for n in range(50)]
    starts = sorted({cue.gesture_start for cue in cues})
    assert len(starts) == 2, "the nod is not done again"
    assert [cue.gesture for cue in cues][-1] is TILT
    assert 1.6 + 0.9 < starts[1] < 1.6 + 1.3


def test_clearing_drops_what_was_not_done_and_the_expression() -> None:
    stage = staged(speech(2.0, Act(HAPPY, 0.0), Act(NOD, 0.5)))
    play(stage, 20)
    stage.clear()
    play(stage, 100, start=20)
    assert expression(stage, 0.3) is HAPPY
    assert expression(stage, 0.5) is NEUTRAL
    assert stage.cue(2.0).gesture is None


async def test_an_expression_ends_with_its_reply_but_can_be_seen() -> None:
    stage = staged(speech(3.0, Act(HAPPY, 0.0)))
    play(stage, 150)
    stage.finish("another")
    assert expression(stage, 4.0) is HAPPY, "not by the end of another reply"
    stage.finish("r1")
    assert expression(stage, 3.1) is NEUTRAL
    late = staged(speech(1.0), Speech("r1", 0, "", np.zeros(0, np.int16), np.zeros((0, 15), np.float32),
                                      acts=(Act(HAPPY, 0.0),)))  # fmt: skip
    play(late, 60)
    late.finish("r1")
    assert expression(late, 1.1) is HAPPY
    assert expression(late, 1.0 + LEAST_S + 0.1) is NEUTRAL
    await asyncio.wait_for(late.drained(), 1)


def test_a_new_expression_replaces_the_end_of_the_last_ones() -> None:
    acting = Acting()
    acting.do(HAPPY, 1.0)
    acting.finish(1.1)
    acting.do(SAD, 2.0)
    assert [acting.at(t)[0] for t in (0.5, 1.0, 1.9, 2.0, 9.0)] == [NEUTRAL, HAPPY, HAPPY, SAD, SAD]
    acting.finish(2.1)
    acting.clear(2.2)
    assert acting.at(2.2)[0] is NEUTRAL


@settings(max_examples=100, deadline=None)
@given(st.lists(st.floats(0, 1), max_size=8), st.lists(st.integers(1, 3000), min_size=1, max_size=30))
def test_every_act_is_done_once_and_in_order(shares: list[float], steps: list[int]) -> None:
    acting, deed = Acting(), [HAPPY, SAD]
    acting.begin(3, "some words", [Act(deed[n % 2], share) for n, share in enumerate(sorted(shares))])
    done = []
    total, played = sum(steps), 0
    for number, step in enumerate(steps):
        played += step
        acting.follow(Sounded(3, played, total, True), float(number))
        acting.follow(Sounded(2, total, total, True), float(number))
        done.append(acting.at(float(number))[0])
    assert done[-1] is (deed[(len(shares) - 1) % 2] if shares else NEUTRAL)


# -- in replies


@pytest.mark.parametrize("kind", ["chat", "echo"])
async def test_f5_tags_are_in_no_subtitle_no_history_and_no_chat(kind: str) -> None:
    text = "[happy] Hello there! [nod] Yes, of *smiles* course. [sad]"
    setup = Setup(ScriptedDialogue(text))
    setup.conversation.chat("hello") if kind == "chat" else setup.conversation.say(text)
    end = await setup.ending()
    assert (end.state, end.text) == (ReplyState.END, "Hello there! Yes, of course.")
    assert setup.voice.spoken == ["Hello there!", "Yes, of course."]
    assert setup.stage.acts == [(0, HAPPY), (1, NOD), (1, HAPPY), (1, SAD)]
    told = [event.text for event in setup.events if isinstance(event, Replying)]
    assert not any(re.search(r"[\[\]*]|happy|nod", line) for line in told)
    if kind == "chat":
        setup.conversation.chat("again")
        await setup.ending(2)
        history, _ = setup.dialogue.calls[1]
        assert history[-1].text == "Hello there! Yes, of course."
    setup.task.cancel()


async def test_a_reply_of_a_tag_alone_is_acted_and_ends() -> None:
    setup = Setup(ScriptedDialogue("[nod]"))
    setup.conversation.chat("all right?")
    end = await setup.ending()
    assert (end.state, end.text) == (ReplyState.END, "")
    assert setup.stage.acts == [(-1, NOD)]
    setup.task.cancel()

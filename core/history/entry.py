"""What of a conversation is kept: its entries, and how events become entries."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Sequence
from dataclasses import dataclass, field

from core.events import Event, Heard, Replying, ReplyState, Sounding, Typed
from core.frames import Utterance

USER, ASSISTANT = "user", "assistant"
FINAL, INTERRUPTED, ERROR = "final", "interrupted", "error"

_OPEN_ANSWERS = 1024


@dataclass(frozen=True, slots=True)
class Entry:
    """One line of a kept conversation. Ids grow in the order of the events and are never used twice."""

    id: int
    """0 until it is written."""
    session_id: str
    at_ms: int
    """Unix time in milliseconds."""
    role: str
    """"user" or "assistant"."""
    sender: str
    """As `chat_message` has it: "回音" for speech, "user" for typed text, or the avatar's name."""
    text: str
    engine: str
    """Of the recogniser or the dialogue; "" for typed text, "echo" for a text that was only read out."""
    state: str
    """"final"; "interrupted" or "error": `text` is what was heard of the answer until then."""


@dataclass(slots=True)
class _Answer:
    """An answer that is being spoken."""

    engine: str
    sentences: list[str] = field(default_factory=list)
    played: int = 0

    @property
    def heard(self) -> str:
        """The sentences that were played to their end."""
        return " ".join(self.sentences[: self.played])


class Scribe:
    """Turns one server's events into entries. Remembers the sentences of the answers that are being spoken."""

    def __init__(self, avatar_name: str) -> None:
        self._avatar_name = avatar_name
        self._answers: OrderedDict[str, _Answer] = OrderedDict()

    def entry(self, session_id: str, event: Event, at_ms: int) -> Entry | None:
        """What is to be kept of `event`; None for most."""
        match event:
            case Heard(transcript=said) if said.final:
                return _entry(session_id, at_ms, USER, "回音", said.text, said.engine, FINAL)
            case Typed(text=text):
                return _entry(session_id, at_ms, USER, "user", text, "", FINAL)
            case Replying():
                return self._spoken(session_id, event, at_ms)
            case Sounding(status="end") if (answer := self._answers.get(session_id)) is not None:
                answer.played += 1
        return None

    def cut_off(self, session_id: str, at_ms: int) -> Entry | None:
        """What was heard of an answer that the end of its session cut off; None when there is none."""
        answer = self._answers.pop(session_id, None)
        if answer is None:
            return None
        return self._own(session_id, at_ms, answer.heard, answer.engine, INTERRUPTED)

    def open_sessions(self) -> list[str]:
        """Sessions in which an answer is being spoken."""
        return list(self._answers)

    # -- inside

    def _spoken(self, session_id: str, event: Replying, at_ms: int) -> Entry | None:
        match event.state:
            case ReplyState.START:
                self._answers[session_id] = _Answer(event.engine)
                if len(self._answers) > _OPEN_ANSWERS:
                    self._answers.popitem(last=False)
                return None
            case ReplyState.SENTENCE:
                if (answer := self._answers.get(session_id)) is not None:
                    answer.sentences.append(event.text)
                return None
        self._answers.pop(session_id, None)
        if event.state is ReplyState.ERROR:
            # the event's text is a message to the user, not the avatar's words
            return self._own(session_id, at_ms, event.heard, event.engine, ERROR)
        state = FINAL if event.state is ReplyState.END else INTERRUPTED
        return self._own(session_id, at_ms, event.text, event.engine, state)

    def _own(self, session_id: str, at_ms: int, text: str, engine: str, state: str) -> Entry | None:
        return _entry(session_id, at_ms, ASSISTANT, self._avatar_name, text, engine, state)


def utterances_of(entries: Sequence[Entry], turns: int) -> list[Utterance]:
    """The last `turns` turns as a dialogue engine sees them: user first, then alternating; read-out texts left out."""
    found: list[Utterance] = []
    for entry in entries:
        if entry.role == ASSISTANT and (entry.engine == "echo" or not found):
            continue
        if found and found[-1].role == entry.role:
            found[-1] = Utterance(entry.role, f"{found[-1].text}\n{entry.text}")
        else:
            found.append(Utterance(entry.role, entry.text))
    starts = [index for index, turn in enumerate(found) if turn.role == USER]
    return found[starts[-turns] :] if 0 < turns < len(starts) else found if turns > 0 else []


def _entry(session_id: str, at_ms: int, role: str, sender: str, text: str, engine: str, state: str) -> Entry | None:
    if not text.strip():
        return None
    # half an emoji from a page or an engine can't be written as UTF-8
    whole = text.encode("utf-8", "replace").decode()
    return Entry(0, session_id, at_ms, role, sender, whole, engine, state)

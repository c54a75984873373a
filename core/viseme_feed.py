"""Who is told the lips of which session, and how. On the event loop."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from core.acts import Deed
from core.messages import Message
from core.visemes import LipPiece, Shape, VisemeFormat, act_message, clear_message, viseme_message

Deliver = Callable[[Message], object]


@dataclass(frozen=True, eq=False, slots=True)
class _Subscription:
    form: VisemeFormat
    deliver: Deliver
    acts: bool


class VisemeFeed:
    """The subscriptions of all sessions. `shape` makes the mouth of an interval.

    A session without subscribers costs nothing; with some, each piece is made once per format.
    """

    def __init__(self, shape: Shape) -> None:
        self._shape = shape
        self._subscriptions: dict[str, set[_Subscription]] = {}

    def subscribe(
        self, session_id: str, form: VisemeFormat, deliver: Deliver, *, acts: bool = False
    ) -> Callable[[], None]:
        """Have `deliver` called with each message, which must not wait; returns what ends it (idempotent).

        `acts`: also with what the face does besides speaking.
        """
        subscription = _Subscription(form, deliver, acts)
        self._subscriptions.setdefault(session_id, set()).add(subscription)

        def end() -> None:
            subscriptions = self._subscriptions.get(session_id, set())
            subscriptions.discard(subscription)
            if not subscriptions:
                self._subscriptions.pop(session_id, None)

        return end

    def viewer(self, session_id: str) -> SessionViewer:
        """For the session's stage."""
        return SessionViewer(self, session_id)

    @property
    def subscribers(self) -> int:
        """Of all sessions."""
        return sum(map(len, self._subscriptions.values()))

    def show(self, session_id: str, piece: LipPiece) -> None:
        """A piece is about to be seen."""
        subscriptions = tuple(self._subscriptions.get(session_id, ()))
        messages = {
            form: viseme_message(piece, form, session_id, self._shape)
            for form in {subscription.form for subscription in subscriptions}
        }
        for subscription in subscriptions:
            if (message := messages[subscription.form]) is not None:
                subscription.deliver(message)

    def clear(self, session_id: str, reply_id: str, at: float) -> None:
        """What was announced from `at` on is not seen."""
        for subscription in tuple(self._subscriptions.get(session_id, ())):
            subscription.deliver(clear_message(reply_id, at, session_id))

    def act(self, session_id: str, reply_id: str, at: float, deed: Deed) -> None:
        """The face does something at that place of a reply."""
        for subscription in tuple(self._subscriptions.get(session_id, ())):
            if subscription.acts:
                subscription.deliver(act_message(reply_id, at, deed, session_id))


class SessionViewer:
    """Implements `avatar.lip_preview.LipViewer` for one session."""

    def __init__(self, feed: VisemeFeed, session_id: str) -> None:
        self._feed = feed
        self._session_id = session_id

    def lips(self, piece: LipPiece) -> None:
        """See `avatar.lip_preview.LipViewer`."""
        self._feed.show(self._session_id, piece)

    def lips_cleared(self, reply_id: str, at: float) -> None:
        """See `avatar.lip_preview.LipViewer`."""
        self._feed.clear(self._session_id, reply_id, at)

    def acted(self, reply_id: str, at: float, deed: Deed) -> None:
        """See `avatar.lip_preview.LipViewer`."""
        self._feed.act(self._session_id, reply_id, at, deed)

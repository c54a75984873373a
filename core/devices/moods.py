"""The face's moods by the names that devices know, each with the emoji that stands for it on a small display."""

from __future__ import annotations

from core.frames import Expression

MOODS: dict[Expression, tuple[str, str]] = {
    Expression.NEUTRAL: ("neutral", "😶"),
    Expression.HAPPY: ("happy", "🙂"),
    Expression.SAD: ("sad", "😔"),
    Expression.SURPRISED: ("surprised", "😲"),
    Expression.THINKING: ("thinking", "🤔"),
    Expression.APOLOGETIC: ("embarrassed", "😳"),
}

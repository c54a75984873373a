"""How a client behaves, and what it counted."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field

from asr.doubao.errors import NAME
from core.errors import RecognizerError

SEQUENCE_MODES = ("explicit", "auto")


@dataclass(frozen=True, slots=True)
class Options:
    """`sequence_mode`: "explicit" numbers every message, "auto" leaves numbering to the server.

    `max_speed`: times real time at which audio that waits (the beginning of a turn, a replay, a file) is sent; 0 for
    no limit. `keep_alive_s`: after so long without audio a packet of silence is sent, for at most `keep_alive_for_s`;
    then the server may end the session, and the next audio opens another. `idle_after_s`: a session that the server
    ends for want of audio, so long after the last one and without an open sentence, had nothing more to say; earlier
    than that audio is on its way and is sent again. `max_audio_s`: audio that is kept for a
    replay, or waits to be sent.
    """

    sequence_mode: str = "explicit"
    max_speed: float = 10.0
    connect_timeout_s: float = 10.0
    first_response_timeout_s: float = 5.0
    send_timeout_s: float = 5.0
    final_timeout_s: float = 4.0
    keep_alive_s: float = 2.0
    keep_alive_for_s: float = 120.0
    idle_after_s: float = 3.0
    max_audio_s: float = 120.0

    def check(self) -> None:
        """Raises `RecognizerError` naming the option that is wrong."""
        problem = ""
        if self.sequence_mode not in SEQUENCE_MODES:
            problem = f"asr.doubao.sequence_mode must be one of {', '.join(SEQUENCE_MODES)}"
        elif self.max_speed != 0 and self.max_speed < 1:
            problem = "asr.doubao.max_speed must be 0 or at least 1"
        if problem:
            raise RecognizerError(problem, adapter=NAME, code=f"{NAME}_settings")


@dataclass(slots=True)
class Stats:
    """Since the start. `errors` counts by the code of their rule."""

    connections: int = 0
    reconnects: int = 0
    mismatches: int = 0
    keep_alives: int = 0
    errors: Counter[str] = field(default_factory=Counter)

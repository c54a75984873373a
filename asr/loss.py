"""Whether a turn is lost, told by what was to bring its transcript."""

from __future__ import annotations

import asyncio
from typing import Any

from core.errors import RecognizerError


def loss_of(outcome: asyncio.Future[Any] | None) -> RecognizerError | None:
    """Why there will be no transcript, as soon as that is known; None while the turn goes on, or went well."""
    if outcome is None or not outcome.done() or outcome.cancelled():
        return None
    error = outcome.exception()
    return error if isinstance(error, RecognizerError) else None

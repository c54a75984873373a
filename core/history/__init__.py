"""Kept conversations: one SQLite file, one thread that touches it, and the events that become entries."""

from core.history.history import History

__all__ = ["History"]

"""Sound of devices that was lost, for the log and the metrics."""

from __future__ import annotations

from typing import NamedTuple


class DeviceTally(NamedTuple):
    """Packets."""

    unusable: int = 0
    """From the microphone: no packet of this version, or not to be decoded (what can be is concealed)."""
    early: int = 0
    """From the microphone: left out, as they came much faster than they were spoken."""
    unread: int = 0
    """To the device: left out, as it read too slowly."""

    def plus(self, other: DeviceTally) -> DeviceTally:
        """Both together."""
        return DeviceTally(*(one + two for one, two in zip(self, other, strict=True)))

    def told(self) -> str:
        """For the log."""
        if not any(self):
            return "no packet was lost"
        return f"packets lost: {self.unusable} unusable, {self.early} too early, {self.unread} not read in time"

"""One line at the bottom of a terminal that says how far a long job has come."""

from __future__ import annotations

from typing import TextIO

_WIDTH = 30


class ProgressBar:
    """Draws on `out` if `shown`. `total`: seconds of sound in all, None if nobody knows."""

    def __init__(self, out: TextIO, total: float | None, *, shown: bool) -> None:
        self._out = out
        self._total = total
        self._shown = shown
        self._drawn = ""

    def show(self, seconds: float, total: float | None = None) -> None:
        """So much is done; of `total`, where that is known better by now."""
        if not self._shown:
            return
        total = total or self._total
        line = f"{clock(seconds)} done"
        if total:
            share = min(1.0, seconds / total)
            done = round(share * _WIDTH)
            line = f"[{'#' * done}{'.' * (_WIDTH - done)}] {share:4.0%}  {clock(seconds)} of {clock(total)}"
        if line != self._drawn:
            self._out.write(f"\r{line}\x1b[K")
            self._out.flush()
            self._drawn = line

    def clear(self) -> None:
        """Make room for a line of text."""
        if self._drawn:
            self._out.write("\r\x1b[K")
            self._out.flush()
            self._drawn = ""


def clock(seconds: float) -> str:
    """Minutes and seconds, with hours where there are any: 0:07, 12:34, 1:02:03."""
    minutes, rest = divmod(int(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{rest:02}" if hours else f"{minutes}:{rest:02}"

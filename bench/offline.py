"""How much faster than real time videos are rendered without a server: the whole command, its start included."""

from __future__ import annotations

import asyncio
import re
import sys
import tempfile
import time
from pathlib import Path

from bench.processes import all_cores
from bench.result import ROOT, Figure, Options, Result
from bench.sounds import long_text

SIZES = {512: 8.0, 1080: None}
"""Side of the picture → times real time that are wanted."""
_LENGTH = re.compile(r": (\d+):(\d\d) in ")


async def measure(options: Options) -> Result:
    """See the module."""
    seconds = options.duration(40, 5)
    with all_cores():
        return await _measure(options, seconds)


async def _measure(options: Options, seconds: float) -> Result:
    result = Result("offline", "Videos without a server", settings={"speech_s": seconds, "runs": options.count(3, 1)})
    with tempfile.TemporaryDirectory() as folder:
        for side, goal in SIZES.items():
            path = Path(folder) / f"{side}.mp4"
            speeds = [await _render(side, seconds, path) for _ in range(options.count(3, 1))]
            result.details[f"{side}×{side}"] = {"file_kB": round(path.stat().st_size / 1000)}
            result.figures.append(Figure(f"times real time, {side}×{side}", "×", speeds, goal=goal, at_least=True))
    return result


async def _render(side: int, seconds: float, path: Path) -> float:
    command = [sys.executable, "-m", "avatar", long_text(seconds), "-o", str(path), "--size", f"{side}x{side}"]
    began = time.monotonic()
    process = await asyncio.create_subprocess_exec(*command, cwd=ROOT, stdout=asyncio.subprocess.PIPE)
    output, _ = await process.communicate()
    spent = time.monotonic() - began
    found = _LENGTH.search(output.decode())
    assert process.returncode == 0, output
    assert found, output
    return (60 * int(found[1]) + int(found[2])) / spent

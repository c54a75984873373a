"""Time per picture of the embedded face, as JSON: `python bench/face.py --sizes 256 512 720 1080`.

One thread, steady speech with loudness and mouth changing in every picture, so nothing is cached away.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import math
import sys
import time
from pathlib import Path

import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from avatar.face.vector import VectorFace
from core.frames import Activity, FaceCue, MouthShape


def speech(index: int) -> FaceCue:
    """The cue of the index-th picture of endless talk."""
    jaw = 0.4 + 0.4 * math.sin(index / 2.3)
    mouth = MouthShape(
        jaw_open=jaw,
        close=max(0.0, math.sin(index / 5.1)) ** 8,
        pucker=max(0.0, math.sin(index / 7.7)) ** 2,
        stretch=max(0.0, math.sin(index / 6.1)) ** 2,
        teeth=0.3,
    )
    return FaceCue(index * 0.04, mouth, Activity.SPEAKING, 0.1 + 0.1 * math.sin(index / 1.7))


def measure(face: VectorFace, size: int, count: int, activity: str) -> dict[str, float]:
    """Milliseconds per picture at size × size, over `count` pictures."""
    began = time.perf_counter()
    stream = face.open(size, size, seed=1)
    opened = time.perf_counter() - began
    wall, cpu = [], []
    for index in range(-25, count):
        cue = speech(index + 25) if activity == "speaking" else FaceCue((index + 25) * 0.04)
        a, b = time.perf_counter(), time.thread_time()
        stream.draw(cue)
        if index >= 0:
            wall.append(time.perf_counter() - a)
            cpu.append(time.thread_time() - b)
    return {
        "size": size,
        "open_ms": round(opened * 1e3, 1),
        "median_ms": round(float(np.median(wall)) * 1e3, 3),
        "p99_ms": round(float(np.percentile(wall, 99)) * 1e3, 3),
        "cpu_mean_ms": round(float(np.mean(cpu)) * 1e3, 3),
        "core_percent_at_25fps": round(float(np.mean(cpu)) * 2500, 2),
    }


def main() -> int:
    """Command line."""
    parser = argparse.ArgumentParser(description="Time per picture of the embedded face, as JSON.")
    parser.add_argument("--presenter", default="mira")
    parser.add_argument("--sizes", type=int, nargs="+", default=[256, 512, 720, 1080], help="sides of square pictures")
    parser.add_argument("--pictures", type=int, default=500, help="pictures measured per size")
    parser.add_argument("--activity", choices=("speaking", "idle"), default="speaking")
    options = parser.parse_args()
    face = VectorFace(options.presenter)
    began = time.perf_counter()
    asyncio.run(face.start())
    started = time.perf_counter() - began
    sizes = [measure(face, size, options.pictures, options.activity) for size in options.sizes]
    print(json.dumps({"activity": options.activity, "start_ms": round(started * 1e3), "sizes": sizes}, indent=2))
    return 0


if __name__ == "__main__":
    sys.exit(main())

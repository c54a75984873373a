"""Figures, their statistics, and the file they are kept in."""

from __future__ import annotations

import json
import os
import platform
import shlex
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import numpy as np
import psutil

ROOT = Path(__file__).resolve().parent.parent
RESULTS = ROOT / "bench" / "results"

NOMINAL = "nominal"
"""Floor of something that is sent at this very interval."""
Statistic = Literal["median", "p95", "p99", "max", "min", "largest"]


@dataclass(frozen=True, slots=True)
class Options:
    """The command line: `quick` runs are short and prove the tool, not the product."""

    quick: bool = False
    seconds: float | None = None
    long: bool = False
    pinned: bool = True

    def count(self, full: int, quick: int) -> int:
        """Repeats of a measurement."""
        return quick if self.quick else full

    def duration(self, full: float, quick: float) -> float:
        """Seconds of a measurement; `--seconds` wins."""
        return self.seconds or (quick if self.quick else full)


@dataclass(frozen=True, slots=True)
class Figure:
    """One measured quantity.

    `judged`: which statistic of the samples is held against `goal`; "largest" is the largest absolute value.
    `floor`: the physical or measured limit in the same unit, and `floor_note` where it comes from.
    """

    name: str
    unit: str
    samples: Sequence[float]
    judged: Statistic = "median"
    goal: float | None = None
    at_least: bool = False
    floor: float | None = None
    floor_note: str = ""
    note: str = ""

    @property
    def value(self) -> float:
        """The statistic that counts."""
        return statistic(self.samples, self.judged)

    @property
    def met(self) -> bool | None:
        """Whether the goal is met; None without a goal. Nothing measured meets nothing."""
        if self.goal is None:
            return None
        if not self.samples:
            return False
        return self.value >= self.goal if self.at_least else self.value <= self.goal

    def described(self) -> dict[str, Any]:
        """As JSON."""
        return {
            "figure": self.name,
            "unit": self.unit,
            "value": rounded(self.value),
            "statistic": self.judged,
            "goal": self.goal,
            "goal_is": "at least" if self.at_least else "at most",
            "met": self.met,
            "floor": rounded(self.floor),
            "floor_note": self.floor_note,
            "note": self.note,
            **summary(self.samples),
        }


@dataclass(slots=True)
class Result:
    """What one measurement found."""

    name: str
    title: str
    figures: list[Figure] = field(default_factory=list)
    settings: dict[str, Any] = field(default_factory=dict)
    details: dict[str, Any] = field(default_factory=dict)


def statistic(samples: Sequence[float], which: Statistic) -> float:
    """One number of many; NaN of none."""
    if not len(samples):
        return float("nan")
    values = np.asarray(samples, float)
    match which:
        case "median":
            return float(np.median(values))
        case "p95":
            return float(np.percentile(values, 95))
        case "p99":
            return float(np.percentile(values, 99))
        case "max":
            return float(values.max())
        case "min":
            return float(values.min())
        case "largest":
            return float(np.abs(values).max())


def summary(samples: Sequence[float]) -> dict[str, Any]:
    """n, median, p95, p99, min and max."""
    if not len(samples):
        return {"n": 0}
    p95, p99 = np.percentile(np.asarray(samples, float), [95, 99])
    return {
        "n": len(samples),
        "median": rounded(statistic(samples, "median")),
        "p95": rounded(float(p95)),
        "p99": rounded(float(p99)),
        "min": rounded(statistic(samples, "min")),
        "max": rounded(statistic(samples, "max")),
    }


def rounded(value: float | None) -> float | None:
    """To a tenth, or three digits when small; None for what is not a number."""
    if value is None or value != value:
        return None
    return round(value, 1) if abs(value) >= 10 else round(value, 3)


def described(result: Result, options: Options, others_cpu: float) -> dict[str, Any]:
    """The whole file: where the figures come from, and the figures."""
    return {
        "name": result.name,
        "title": result.title,
        "commit": commit(),
        "command": shlex.join(["python", "-m", "bench", *sys.argv[1:]]),
        "date": time.strftime("%Y-%m-%d %H:%M:%S %z"),
        "machine": machine(),
        "quick": options.quick,
        "others_cpu": rounded(others_cpu),
        "settings": {"pinned": "server on core 0, client on core 1" if pinnable(options) else "no", **result.settings},
        "figures": [figure.described() for figure in result.figures],
        "details": result.details,
    }


def write(content: Mapping[str, Any], folder: Path) -> Path:
    """Keep a result as `folder`/<name>.json."""
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"{content['name']}.json"
    path.write_text(json.dumps(content, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
    return path


def commit() -> str:
    """The short hash, "+dirty" when tracked files differ (results themselves aside)."""

    def git(*args: str) -> str:
        return subprocess.run(["git", *args], cwd=ROOT, capture_output=True, text=True, check=False).stdout.strip()

    changed = git("status", "--porcelain", "--untracked-files=no", "--", ".", ":!bench/results", ":!docs")
    return git("rev-parse", "--short", "HEAD") + ("+dirty" if changed else "")


def machine() -> dict[str, Any]:
    """What it was measured on."""
    model = platform.processor() or platform.machine()
    cpuinfo = Path("/proc/cpuinfo")
    if cpuinfo.exists():
        names = [line.partition(":")[2].strip() for line in cpuinfo.read_text().splitlines() if "model name" in line]
        model = names[0] if names else model
    memory = psutil.virtual_memory().total / 2**30
    return {
        "cpu": model,
        "cores": os.cpu_count(),
        "memory_gib": round(memory, 1),
        "system": f"{platform.system()} {platform.release()}",
        "python": platform.python_version(),
    }


def pinnable(options: Options) -> bool:
    """Whether server and client get a core each."""
    return options.pinned and hasattr(os, "sched_setaffinity") and (os.cpu_count() or 1) >= 2

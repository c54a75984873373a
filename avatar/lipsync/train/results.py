"""The table of the lips: every held-out set, ours beside the baselines. `python -m avatar.lipsync.train.results SETS`.

SETS is a folder that `python -m avatar.lipsync.train.sets` made. Prints the table and writes it to `--out`.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np

from avatar.lipsync.evaluate import Clip, Metric, evaluate, measured, read_folder, show_progress
from avatar.lipsync.metrics import Judged
from avatar.lipsync.network import Network
from avatar.lipsync.train.baselines import BASELINES, Baseline
from core.errors import BadRequest, LipSyncError
from core.frames import LISTEN_RATE, Samples

ROOT = Path(__file__).resolve().parents[3]
OUT = ROOT / "docs" / "lipsync-results.md"
TITLES = {
    "espeak-voices": "espeak-ng, timbres never heard",
    "espeak-languages": "espeak-ng, languages never heard",
    "flite-rms": "flite, a man made from recordings, never heard",
    "festival-italian": "festival, Italian voices made from recordings, never heard",
    "human": "human: a woman's recordings, never trained on",
}
_SILENCE_S = 1.0
_ROOM_DBFS, _NOISE_DB = -65.0, 20.0
_VOICES_IN_BABBLE = 6
Goals = dict[str, tuple[str, float]]
_GOALS: dict[tuple[str, bool], Goals] = {
    ("espeak-voices", False): {"accuracy": ("≥", 0.80)},
    ("espeak-languages", False): {"accuracy": ("≥", 0.78)},
    ("flite-rms", False): {"accuracy": ("≥", 0.70)},
    ("human", False): {
        "accuracy_20ms": ("≥", 0.72),
        "opening_r": ("≥", 0.80),
        "closure_recall_25fps": ("≥", 0.95),
        "closure_precision_25fps": ("≥", 0.60),
        "jerk": ("≤", 1.2),
    },
    ("human", True): {
        "accuracy_20ms": ("≥", 0.85),
        "opening_r": ("≥", 0.83),
        "closure_recall": ("≥", 0.98),
        "closure_precision": ("≥", 0.92),
        "wrong_text_auc": ("≥", 0.99),
        "jerk": ("≤", 1.2),
    },
    ("silence", False): {"open_in_silence": ("≤", 0.002)},
    ("noise", False): {"open_in_silence": ("≤", 0.01)},
}


def table(sets: Path) -> list[str]:
    """Lines of Markdown. Raises `BadRequest` or `LipSyncError`."""
    lines: list[str] = []
    for name, title in TITLES.items():
        if not (sets / name).is_dir():
            print(f"{name}: left out, {sets / name} is missing", file=sys.stderr)
            continue
        clips = read_folder(sets / name)
        lines += _section(name, title, clips)
        if name == "human":
            lines += _silences(clips)
    if not lines:
        raise BadRequest(f"{sets} holds none of {', '.join(TITLES)}: make them with avatar.lipsync.train.sets")
    return lines


def _section(name: str, title: str, clips: Sequence[Clip]) -> list[str]:
    print(name, file=sys.stderr)
    rows: list[tuple[str, list[Metric], Goals]] = [
        (label, measured([Judged(_by(baseline, clip), clip.segments) for clip in clips]), {})
        for label, baseline in BASELINES.items()
    ]
    for text in (False, True):
        label = "**ours, text known**" if text else "**ours, sound alone**"
        rows.append((label, evaluate(clips, text=text, progress=show_progress), _GOALS.get((name, text), {})))
    counts = {metric.key: metric.n for metric in rows[-1][1]}
    seconds = sum(len(clip.samples) / clip.rate for clip in clips)
    return [
        f"## {title[0].upper()}{title[1:]}",
        "",
        f"{len(clips)} clips, {seconds / 60:.1f} min, {counts['accuracy']} speech frames, "
        f"{counts['closure_recall']} p b m, {counts['open_in_silence']} silent frames.",
        "",
        "| | accuracy | ±20 ms | opening r | closures: recall / precision | at 25 fps | open in silence | jerk | "
        "wrong text, AUC | right text kept / wrong left |",
        "|---|---|---|---|---|---|---|---|---|---|",
        *(f"| {label} | {_cells(metrics, goals)} |" for label, metrics, goals in rows),
        "",
    ]


def _cells(metrics: Sequence[Metric], goals: Goals) -> str:
    values = {metric.key: metric.value for metric in metrics}

    def cell(key: str, form: str = ".2f") -> str:
        value = values.get(key)
        if value is None:
            return "–"
        shown = f"{100 * value:.1f} %" if key == "open_in_silence" else format(value, form)
        if key not in goals:
            return shown
        sign, goal = goals[key]
        met = value >= goal if sign == "≥" else value <= goal
        wanted = f"{100 * goal:g} %" if key == "open_in_silence" else f"{goal:.2f}"
        return f"{shown} ({sign} {wanted}{'' if met else ', missed'})"

    return " | ".join(
        (
            cell("accuracy", ".3f"),
            cell("accuracy_20ms", ".3f"),
            cell("opening_r", ".3f"),
            f"{cell('closure_recall')} / {cell('closure_precision')}",
            f"{cell('closure_recall_25fps')} / {cell('closure_precision_25fps')}",
            cell("open_in_silence"),
            cell("jerk"),
            cell("wrong_text_auc", ".3f"),
            f"{cell('right_text_kept')} / {cell('wrong_text_left')}",
        )
    )


def _silences(clips: Sequence[Clip]) -> list[str]:
    """Whether the mouth stays shut for a second before and after speech, in a quiet room and in babble."""
    quiet, noisy = _within_silence(clips)
    lines = [
        "### One second of silence before and after each of these clips",
        "",
        "| | open in silence | n |",
        "|---|---|---|",
    ]
    for label, padded, kind in (
        (f"quiet room ({_ROOM_DBFS:.0f} dBFS)", quiet, "silence"),
        (f"babble, {_NOISE_DB:.0f} dB below the speech", noisy, "noise"),
    ):
        metrics = evaluate(padded, text=False, progress=show_progress)
        metric = next(metric for metric in metrics if metric.key == "open_in_silence")
        sign, goal = _GOALS[(kind, False)]["open_in_silence"]
        value = metric.value or 0.0
        missed = "" if value <= goal else ", missed"
        lines.append(f"| {label} | {100 * value:.2f} % ({sign} {100 * goal:g} %{missed}) | {metric.n} |")
    return [*lines, ""]


def _within_silence(clips: Sequence[Clip]) -> tuple[list[Clip], list[Clip]]:
    rng = np.random.default_rng(1)
    quiet: list[Clip] = []
    noisy: list[Clip] = []
    for clip in clips:
        pad = round(_SILENCE_S * clip.rate)
        sound = np.pad(clip.samples.astype(float), (pad, pad))
        level = np.sqrt(np.mean(clip.samples.astype(float) ** 2)) + 1e-9
        segments = tuple((start + _SILENCE_S, end + _SILENCE_S, viseme) for start, end, viseme in clip.segments)
        room = rng.normal(0, 32768 * 10 ** (_ROOM_DBFS / 20), len(sound))
        babble = _babble(clips, len(sound), rng)
        babble *= level * 10 ** (-_NOISE_DB / 20) / (np.sqrt(np.mean(babble**2)) + 1e-9)
        for target, noise in ((quiet, room), (noisy, babble)):
            mixed = np.clip(sound + noise, -32768, 32767).astype(np.int16)
            target.append(replace(clip, samples=mixed, segments=segments))
    return quiet, noisy


def _babble(
    clips: Sequence[Clip], length: int, rng: np.random.Generator
) -> np.ndarray[tuple[int], np.dtype[np.float64]]:
    total = np.zeros(length)
    for index in rng.choice(len(clips), min(_VOICES_IN_BABBLE, len(clips)), replace=False):
        other = clips[int(index)].samples.astype(float)
        total += np.resize(np.roll(other, int(rng.integers(len(other)))), length) if len(other) else 0
    return total


def _by(baseline: Baseline, clip: Clip) -> np.ndarray[tuple[int, int], np.dtype[np.float32]]:
    samples: Samples = clip.samples
    if clip.rate != LISTEN_RATE:
        raise BadRequest(f"{clip.name}: the baselines take {LISTEN_RATE} Hz")
    return baseline(samples)


def document(lines: Sequence[str], command: str) -> str:
    """The whole page, with where its figures come from."""
    commit = subprocess.run(
        ["git", "rev-parse", "--short", "HEAD"], cwd=ROOT, capture_output=True, text=True, check=False
    ).stdout.strip()
    head = [
        "# Lips: results",
        "",
        f"Made by `{command}` at commit `{commit}`; {Network.load().parameters:,} parameters. What each figure is "
        "stands in `avatar/lipsync/metrics.py`; a goal stands in brackets. The baselines see whole clips, "
        "ours runs as in the server, in pieces of 200 ms. The human set is labelled by PocketSphinx's "
        "forced alignment. It was never trained on, but settings of the alignment (priors, pauses) and of the "
        "gate of silence were chosen on a part of it: another person's speech will score a little less. A wrong text "
        "is that of another clip, without a word of the right one.",
        "",
    ]
    return "\n".join([*head, *lines]).rstrip() + "\n"


def main() -> int:
    """Command line; its exit status."""
    parser = argparse.ArgumentParser(prog="python -m avatar.lipsync.train.results", description=__doc__)
    parser.add_argument("sets", type=Path, metavar="SETS")
    parser.add_argument("--out", type=Path, default=OUT, help="file of the table (default: docs/lipsync-results.md)")
    parser.add_argument("--command", default="make lipsync-eval", help="how it was made, for the page")
    given = parser.parse_args()
    try:
        lines = table(given.sets)
    except (BadRequest, LipSyncError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    print("\n".join(lines))
    given.out.write_text(document(lines, given.command), "utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())

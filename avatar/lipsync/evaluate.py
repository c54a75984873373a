"""Scores the lips on labelled speech: `python -m avatar.lipsync.evaluate FOLDER [--text] [--json]`.

FOLDER holds `NAME.wav` (any rate, mono, 16 bits) and `NAME.json`:
{"text": …, "segments": [[start_s, end_s, viseme], …]}. The sound goes through the same streaming tiers as in the
server, in pieces of 200 ms. `--text` lets the lips know the text, and scores every clip against the text of another
one too, one without a word of its own text: while the same words are said, no text is wrong. Exit status: 0 done,
2 wrong usage or folder.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import math
import re
import sys
import wave
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from avatar.lipsync import metrics
from avatar.lipsync.aligned import AlignedLipSync
from avatar.lipsync.audio import AudioLipSync
from avatar.lipsync.labels import Segment
from avatar.lipsync.metrics import Judged, Mask, Share
from avatar.resampler import Resampler
from core.errors import BadRequest, LipSyncError
from core.frames import LISTEN_RATE, VISEMES, Pcm, Samples, SpeechChunk, VisemeFrames
from core.stages import LipStream

PIECE_S = 0.2
"""Seconds of sound that are handed over in one go, as the server does."""


@dataclass(frozen=True, slots=True)
class Clip:
    """One labelled recording, at the rate of its file."""

    name: str
    samples: Samples
    rate: int
    text: str
    segments: tuple[Segment, ...]


@dataclass(frozen=True, slots=True)
class Metric:
    """One figure: `value` over `n` things of the kind `unit`; None where there is nothing to measure."""

    key: str
    title: str
    value: float | None
    n: int
    unit: str


def read_folder(folder: Path) -> list[Clip]:
    """All clips of `folder` by name. Raises `BadRequest` that says which file is wrong and how."""
    if not folder.is_dir():
        raise BadRequest(f"{folder} is no folder")
    sounds = sorted(folder.glob("*.wav"))
    if not sounds:
        raise BadRequest(f"{folder} holds no .wav files")
    return [_read_clip(path) for path in sounds]


def _read_clip(path: Path) -> Clip:
    text, segments = _read_labels(path.with_suffix(".json"))
    try:
        with wave.open(str(path)) as file:
            if file.getnchannels() != 1 or file.getsampwidth() != 2:
                raise BadRequest(f"{path} must be mono with 16 bits per sample")
            samples = np.frombuffer(file.readframes(file.getnframes()), "<i2").astype(np.int16)
            return Clip(path.stem, samples, file.getframerate(), text, segments)
    except (OSError, EOFError, wave.Error) as error:
        raise BadRequest(f"{path} can't be read as a wave file: {str(error) or 'it ends too early'}") from error


def _read_labels(path: Path) -> tuple[str, tuple[Segment, ...]]:
    try:
        record = json.loads(path.read_text("utf-8"))
        text = record.get("text", "")
        segments = tuple((float(start), float(end), str(viseme)) for start, end, viseme in record["segments"])
    except FileNotFoundError as error:
        raise BadRequest(f"{path} is missing: every .wav needs its labels") from error
    except (OSError, ValueError, TypeError, KeyError, AttributeError) as error:
        raise BadRequest(
            f'{path} must be {{"text": "…", "segments": [[start_s, end_s, viseme], …]}}: {error!r}'
        ) from error
    for start, end, viseme in segments:
        if viseme not in VISEMES:
            raise BadRequest(f"{path}: {viseme!r} is none of {' '.join(VISEMES)}")
        if not 0 <= start <= end:
            raise BadRequest(f"{path}: a segment from {start} to {end} s")
    if not isinstance(text, str):
        raise BadRequest(f"{path}: text must be a string")
    return text, segments


def pieces(clip: Clip) -> Iterator[SpeechChunk]:
    """Its sound as the lips get it."""
    resampler = Resampler(clip.rate, LISTEN_RATE)
    size = round(PIECE_S * clip.rate)
    for start in range(0, len(clip.samples), size):
        yield SpeechChunk(Pcm(resampler.feed(clip.samples[start : start + size]), LISTEN_RATE))
    yield SpeechChunk(Pcm(resampler.finish(), LISTEN_RATE))


def rows_of(stream: LipStream, clip: Clip) -> VisemeFrames:
    """The lips of a clip through a fresh stream, shape (n, 15)."""
    return np.concatenate([*(stream.feed(chunk) for chunk in pieces(clip)), stream.finish()])


def scored(lips: AlignedLipSync, clip: Clip, text: str) -> tuple[VisemeFrames, list[float], list[float]]:
    """The lips of a clip that is taken to say `text`; of every frame the score of the text, and the trust in it."""
    stream = lips.open(text)
    parts = [*(stream.judge(chunk) for chunk in pieces(clip)), stream.conclude()]
    scores = [score for part in parts for score in part.scores]
    return np.concatenate([part.rows for part in parts]), scores, [trust for part in parts for trust in part.trusts]


def measured(clips: Sequence[Judged]) -> list[Metric]:
    """Every figure over all clips."""

    def total(measure: Callable[..., Share], **options: Any) -> Share:
        return sum((measure(clip, **options) for clip in clips), Share(0.0, 0))

    correlation = metrics.opening_correlation(clips)
    rows = [
        ("accuracy", "accuracy", total(metrics.accuracy), "speech frames"),
        ("accuracy_20ms", "accuracy ±20 ms", total(metrics.accuracy, tolerance=metrics.TOLERANCE), "speech frames"),
        ("opening_r", "opening r", correlation, "frames"),
        ("closure_recall", "closure recall", total(metrics.closure_recall), "p b m"),
        ("closure_precision", "closure precision", total(metrics.closure_precision), "closures"),
        ("closure_recall_25fps", "closure recall at 25 fps", total(metrics.closure_recall, pictures=True), "p b m"),
        (
            "closure_precision_25fps",
            "closure precision at 25 fps",
            total(metrics.closure_precision, pictures=True),
            "closures",
        ),
        ("open_in_silence", "opening in silence", total(metrics.opening_in_silence), "silent frames"),
    ]
    pictures = sum(len(clip.pictures[0]) for clip in clips)
    jerk = metrics.jerk(clips)
    return [
        *(Metric(key, title, _number(share.value), share.n, unit) for key, title, share, unit in rows),
        Metric("jerk", "jerk / reference's", _number(jerk), pictures, "pictures"),
    ]


def evaluate(clips: Sequence[Clip], *, text: bool, progress: Callable[[int, int], None] | None = None) -> list[Metric]:
    """All figures of our lips on `clips`: the sound alone, or with the text. Raises `LipSyncError`."""
    by_text, by_sound = AlignedLipSync(), AudioLipSync()
    asyncio.run((by_text if text else by_sound).start())
    judged: list[Judged] = []
    right = _Verdict()
    wrong = _Verdict()
    for done, clip in enumerate(clips):
        if text:
            rows, *verdict = scored(by_text, clip, clip.text)
            judged.append(Judged(rows, clip.segments))
            other = wrong_text(clips, done)
            if clip.text and other:
                right.add(judged[-1].speech, *verdict)
                wrong.add(judged[-1].speech, *scored(by_text, clip, other)[1:])
        else:
            judged.append(Judged(rows_of(by_sound.open(), clip), clip.segments))
        if progress:
            progress(done + 1, len(clips))
    return measured(judged) + (_separations(right, wrong) if text else [])


@dataclass
class _Verdict:
    """Scores of frames of speech, and whether the text was trusted."""

    scores: list[float] = field(default_factory=list)
    trusted: list[bool] = field(default_factory=list)

    def add(self, speech: Mask, scores: list[float], trusts: list[float]) -> None:
        self.scores += np.array(scores)[speech].tolist()
        self.trusted += (np.array(trusts)[speech] > 0.5).tolist()


def _separations(right: _Verdict, wrong: _Verdict) -> list[Metric]:
    count, unit = len(right.scores), "speech frames"
    kept = sum(right.trusted) / count if count else None
    left = 1 - sum(wrong.trusted) / count if count else None
    separation = _number(metrics.separation(right.scores, wrong.scores))
    return [
        Metric("wrong_text_auc", "right text against wrong, AUC", separation, count, unit),
        Metric("right_text_kept", "right text trusted", kept, count, unit),
        Metric("wrong_text_left", "wrong text not trusted", left, count, unit),
    ]


def wrong_text(clips: Sequence[Clip], index: int) -> str:
    """The text of the next clip that says something else, without a word of this clip's; "" when there is none."""
    said = _words(clips[index].text)
    texts = (clip.text for clip in (*clips[index + 1 :], *clips[:index]))
    return next((text for text in texts if text and said.isdisjoint(_words(text))), "")


def _words(text: str) -> frozenset[str]:
    return frozenset(re.findall(r"\w+", text.lower()))


def _number(value: float) -> float | None:
    return None if math.isnan(value) else value


def main(argv: Sequence[str] | None = None) -> int:
    """Command line; its exit status."""
    parser = argparse.ArgumentParser(prog="python -m avatar.lipsync.evaluate", description="Score the lips.")
    parser.add_argument("folder", type=Path, metavar="FOLDER", help="NAME.wav (mono) and NAME.json")
    parser.add_argument("--text", action="store_true", help="the lips know the text")
    parser.add_argument("--json", action="store_true", help="figures as JSON")
    options = parser.parse_args(argv)
    try:
        clips = read_folder(options.folder)
        figures = evaluate(clips, text=options.text, progress=show_progress)
    except (BadRequest, LipSyncError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    if options.json:
        print(json.dumps({figure.key: asdict(figure) for figure in figures}, indent=1))
        return 0
    seconds = sum(len(clip.samples) / clip.rate for clip in clips)
    print(f"{len(clips)} clips, {seconds:.0f} s, {'text and sound' if options.text else 'sound alone'}")
    for figure in figures:
        value = "–" if figure.value is None else f"{figure.value:.4f}"
        print(f"{figure.title:30} {value:>8}   n = {figure.n} {figure.unit}")
    return 0


def show_progress(done: int, count: int) -> None:
    """A line on standard error, overwritten while it grows."""
    if sys.stderr.isatty() or done == count:
        print(f"\r{done}/{count} clips", end="\n" if done == count else "", file=sys.stderr, flush=True)


if __name__ == "__main__":
    sys.exit(main())

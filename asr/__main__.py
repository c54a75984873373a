"""Transcribe a file: `python -m asr FILE --engine X [--option key=value ...]`.

The text goes to standard output, one line per sentence or so, as soon as it is there; everything else to standard
error. Exit status: 0 done (also when nobody spoke), 1 the recogniser failed, 2 wrong usage or settings, 3 the file
can't be read, 130 interrupted.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import logging
import sys
from collections.abc import Sequence
from contextlib import aclosing
from pathlib import Path
from typing import Any

import numpy as np
import yaml

import asr
from asr.file_transcription import FileTranscription
from asr.sound_file import SoundFile
from asr.vad import VoiceActivity
from config.layers import load_settings
from config.settings import Settings
from core.errors import BadRequest, RecognizerError, SettingsError
from core.frames import Samples, Transcript
from core.progress import ProgressBar
from core.segments import Segment, Segmenter
from core.stages import Recognizer, load_adapter

PATIENT: dict[str, dict[str, Any]] = {
    "pocketsphinx": {"finish_timeout_s": 120.0},
    "sherpa": {"finish_timeout_s": 120.0},
    "automodel": {"finish_timeout_s": 120.0},
    "openai": {"timeout_s": 60.0},
    "chain": {"timeout_s": 60.0},
}
"""Options for work on files, where nobody waits for an answer; `--option` wins."""


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command; its exit status."""
    logging.basicConfig(level=logging.WARNING, format="%(levelname)s: %(message)s")
    options = _arguments(argv)
    try:
        return asyncio.run(_transcribe(options))
    except KeyboardInterrupt:
        print("interrupted", file=sys.stderr)
        return 130
    except BrokenPipeError:
        sys.stderr.close()  # whoever read our output has seen enough (head, less)
        return 1
    except SettingsError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    except BadRequest as error:
        print(f"error: {error}", file=sys.stderr)
        return 3
    except RecognizerError as error:
        again = "; the same command may work later" if error.retryable else ""
        print(f"error: {error}{again}", file=sys.stderr)
        return 1


def _arguments(argv: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m asr",
        description="Write down what is said in a sound or video file.",
        epilog=f"Engines: {', '.join(sorted(asr.ADAPTERS))}, or 'package.module:Class'; see docs/asr.md. "
        "An engine takes its options from its section of the settings, as the server does; --option overrides them.",
    )
    parser.add_argument("file", type=Path, metavar="FILE", help="anything that FFmpeg reads")
    parser.add_argument("--engine", help="recogniser (default: asr.engine of the settings)")
    parser.add_argument(
        "--option", action="append", default=[], metavar="KEY=VALUE", help="of the engine, e.g. language=zh; repeatable"
    )
    parser.add_argument(
        "--config", type=Path, metavar="FILE", help="settings (default: config/local.yaml, if it exists)"
    )
    parser.add_argument("--json", action="store_true", help="one JSON object at the end, with times in seconds")
    parser.add_argument(
        "--max-s", type=float, default=20.0, metavar="S", help="cut speech into turns of at most S (20)"
    )
    parser.add_argument("--whole", action="store_true", help="the file as one turn, nothing cut or left out")
    parser.add_argument("--no-progress", action="store_true", help="no progress bar, even on a terminal")
    options = parser.parse_args(argv)
    if not 1 <= options.max_s <= 600:
        parser.error("--max-s must be 1 to 600 seconds")
    return options


async def _transcribe(options: argparse.Namespace) -> int:
    settings = load_settings(options.config)
    engine = options.engine or settings.asr.engine
    file = await asyncio.to_thread(SoundFile, options.file)
    bar = ProgressBar(sys.stderr, file.duration, shown=sys.stderr.isatty() and not options.no_progress)
    try:
        recognizer: Recognizer = load_adapter(
            "asr", engine, asr.ADAPTERS, _engine_options(settings, engine, options.option)
        )
        await recognizer.start()
        try:
            cutter = _Whole() if options.whole else await asyncio.to_thread(_segmenter, options.max_s)
            job = FileTranscription(recognizer, cutter, file.pieces(), bar.show)
            found = await _report(job, bar, quiet=options.json)
        finally:
            await recognizer.close()
    finally:
        bar.clear()
        file.close()
    if options.json:
        print(json.dumps(_as_json(engine, file.duration, found), ensure_ascii=False, indent=2))
    elif not found:
        print("nothing was said, or nothing was understood", file=sys.stderr)
    return 0


async def _report(job: FileTranscription, bar: ProgressBar, *, quiet: bool) -> list[Transcript]:
    found: list[Transcript] = []
    bar.show(0.0)
    async with aclosing(job.transcripts()) as transcripts:
        async for transcript in transcripts:
            found.append(transcript)
            if not quiet:
                bar.clear()
                print(transcript.text, flush=True)
    return found


def _engine_options(settings: Settings, engine: str, given: Sequence[str]) -> dict[str, Any]:
    """Of the engine's section of the settings, then what suits files, then the command line."""
    section = settings.asr
    if engine != section.engine:
        section = section.model_copy(update={"engine": engine, "options": {}})
    options = {**section.engine_options(), **PATIENT.get(engine, {})}
    for item in given:
        key, equals, text = item.partition("=")
        if not equals or not key.strip():
            raise SettingsError(f"--option {item}: expected KEY=VALUE, e.g. language=zh")
        try:
            options[key.strip()] = yaml.safe_load(text) if text else ""
        except yaml.YAMLError:
            raise SettingsError(f"--option {key}: the value is no YAML") from None
    return options


def _segmenter(max_s: float) -> Segmenter:
    return Segmenter(VoiceActivity(), max_s)


class _Whole:
    """Cuts nothing."""

    def __init__(self) -> None:
        self._pieces: list[Samples] = []

    def push(self, samples: Samples) -> Sequence[Segment]:
        """Kept."""
        self._pieces.append(samples)
        return ()

    def finish(self) -> Sequence[Segment]:
        """All of it, once."""
        pieces, self._pieces = self._pieces, []
        return (Segment(np.concatenate(pieces), 0.0),) if pieces else ()


def _as_json(engine: str, duration: float | None, found: Sequence[Transcript]) -> dict[str, Any]:
    segments = [
        {
            "start": round(item.start, 3),
            "end": round(item.end, 3),
            "text": item.text,
            "confidence": item.confidence,
            "engine": item.engine,
        }
        for item in found
    ]
    return {
        "engine": engine,
        "duration": duration,
        "text": "\n".join(item.text for item in found),
        "segments": segments,
    }


if __name__ == "__main__":
    sys.exit(main())

"""The avatar without a server: `python -m avatar TEXT -o FILE` renders a video, `python -m avatar sheet NAME` a sheet.

Exit status of a video: 0 done, 1 an engine failed, 2 wrong usage or settings, 3 a file can't be read or written,
130 interrupted.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import logging
import re
import sys
import time
from collections.abc import AsyncIterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager
from pathlib import Path

import avatar.face
import avatar.face.sheet
import avatar.lipsync
import avatar.tts
from avatar.audio_file import AudioFile
from avatar.guard import FrameGuard
from avatar.offline import Narration, Playback, Renderer
from avatar.video_file import FORMATS, VideoFile
from config.command_line import overrides_of
from config.layers import load_settings
from config.settings import Settings
from core.cast import TRANSPARENT
from core.errors import AdapterError, BadRequest, EmanError, SettingsError
from core.frames import FaceChoice
from core.progress import ProgressBar, clock
from core.stages import Face, LipSync, Synthesizer, load_adapter

_SIDES = 128, 1920
_LONGEST_S = 4 * 3600.0
_WRONG_WORDS = ("unknown_presenter", "unknown_background", "unknown_voice", "nothing_to_say")


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command; its exit status."""
    words = list(sys.argv[1:] if argv is None else argv)
    if words[:1] == ["sheet"]:
        return avatar.face.sheet.main(words[1:])
    logging.basicConfig(level=logging.WARNING, format="%(levelname)s: %(message)s")
    options = _arguments(words)
    try:
        asyncio.run(_render(options))
    except KeyboardInterrupt:
        print("interrupted", file=sys.stderr)
        return 130
    except EmanError as error:
        print(f"error: {error}", file=sys.stderr)
        return _status(error)
    except OSError as error:
        print(f"error: {error.filename}: {error.strerror}" if error.filename else f"error: {error}", file=sys.stderr)
        return 3
    return 0


def _status(error: EmanError) -> int:
    if isinstance(error, SettingsError) or error.code in _WRONG_WORDS:
        return 2
    return 3 if isinstance(error, BadRequest) else 1


def _arguments(argv: Sequence[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m avatar",
        description="Render what the avatar says as a video file, faster than real time.",
        epilog="python -m avatar sheet NAME draws the contact sheet of a presenter.",
    )
    parser.add_argument("text", nargs="?", metavar="TEXT", help="what to say; tags such as [happy] or [nod] are acted")
    parser.add_argument("-o", "--output", type=_output, required=True, metavar="FILE", help=".mp4, .m4v, .mov or .mkv")
    parser.add_argument("--text-file", metavar="FILE", help="what to say, UTF-8; - reads standard input")
    parser.add_argument(
        "--audio", type=Path, metavar="FILE", help="speak this sound; a text then says which words are in it"
    )
    parser.add_argument(
        "--avatar", default="", metavar="NAME", help="presenter, or the folder of your own (default: of the settings)"
    )
    parser.add_argument("--voice", metavar="NAME", help="voice (default: the presenter's, by the text's language)")
    parser.add_argument("--size", type=_size, metavar="WxH", help="pixels (default: of the settings)")
    parser.add_argument(
        "--background", default="", metavar="WHAT",
        help="studio, #rrggbb, #rrggbb-#rrggbb, an image file, or transparent: colour and matte side by side",
    )  # fmt: skip
    parser.add_argument(
        "--config", type=Path, metavar="FILE", help="settings (default: config/local.yaml, if it exists)"
    )
    parser.add_argument(
        "--set", action="append", default=[], metavar="KEY=VALUE", help="any setting, e.g. tts.engine=X"
    )
    parser.add_argument("--no-progress", action="store_true", help="no progress bar, even on a terminal")
    options = parser.parse_args(argv)
    if not (options.text or options.text_file or options.audio):
        parser.error("nothing to say: give TEXT, --text-file or --audio")
    if options.text and options.text_file:
        parser.error("TEXT and --text-file exclude each other")
    return options


def _output(text: str) -> Path:
    path = Path(text)
    if path.suffix.lower() not in FORMATS:
        raise argparse.ArgumentTypeError(f"{path.name or text}: the file must end in {', '.join(FORMATS)}")
    return path


def _size(text: str) -> tuple[int, int]:
    found = re.fullmatch(r"(\d{2,4})[x×](\d{2,4})", text)
    if found is None:
        raise argparse.ArgumentTypeError(f"{text!r}: write it as 512x512")
    width, height = int(found[1]), int(found[2])
    if width % 2 or height % 2 or not all(_SIDES[0] <= side <= _SIDES[1] for side in (width, height)):
        raise argparse.ArgumentTypeError(f"both sides must be even, {_SIDES[0]} to {_SIDES[1]}")
    return width, height


async def _render(options: argparse.Namespace) -> None:
    began = time.monotonic()
    presenter, background, overrides = options.avatar, options.background, overrides_of(options.set)
    # a session may not name a path, who sits at the machine may
    if presenter and Path(presenter, "rig.yaml").is_file():
        overrides["face.vector.presenter"], presenter = json.dumps(presenter), ""
    if background and not background.startswith("#") and Path(background).is_file():
        overrides["face.vector.background"], background = json.dumps(background), ""
    settings = load_settings(options.config, overrides)
    text = await asyncio.to_thread(_text, options)
    async with _engines(settings, voiced=options.audio is None) as (synthesizer, lipsync, face):
        width, height = options.size or (settings.media.width, settings.media.height)
        choice = FaceChoice(presenter, background)
        stream = await asyncio.to_thread(lambda: face.open(width, height, choice=choice))
        columns = 2 if choice.background == TRANSPARENT else 1
        guard = FrameGuard(width, height, columns=columns)
        bar = ProgressBar(sys.stderr, None, shown=sys.stderr.isatty() and not options.no_progress)
        with ThreadPoolExecutor(1) as reading:
            voice = options.voice or _voice_of(face, presenter, synthesizer)
            script = await _script(options, text, voice, synthesizer, reading)
            try:
                with VideoFile(options.output, width * columns, height) as file:
                    renderer = Renderer(
                        lipsync=lipsync, face=stream, guard=guard, file=file,
                        show=lambda seconds: bar.show(seconds, script.expected_s),
                    )  # fmt: skip
                    await renderer.render(script)
            finally:
                bar.clear()
    if guard.failed:
        print(f"{guard.failed} pictures could not be drawn: the one before is shown", file=sys.stderr)
    spent = time.monotonic() - began
    print(f"{options.output}: {clock(file.seconds)} in {spent:.1f} s ({file.seconds / spent:.1f} times as fast)")


def _text(options: argparse.Namespace) -> str:
    if options.text_file is None:
        return options.text or ""
    try:
        return sys.stdin.read() if options.text_file == "-" else Path(options.text_file).read_text(encoding="utf-8")
    except UnicodeDecodeError:
        raise BadRequest(f"{options.text_file} is no UTF-8 text") from None


def _voice_of(face: Face, presenter: str, synthesizer: Synthesizer) -> str | None:
    """What the presenter speaks with; the first one is that of the settings."""
    found = next((one for one in face.presenters() if presenter in ("", one.name)), None)
    return found.voices.get(synthesizer.name) if found else None


async def _script(
    options: argparse.Namespace, text: str, voice: str | None, synthesizer: Synthesizer, reading: ThreadPoolExecutor
) -> Narration | Playback:
    if options.audio is None:
        narration = Narration(text, synthesizer, voice)
        if narration.empty:
            raise BadRequest("there is nothing in the text that can be spoken", code="nothing_to_say")
        return narration
    sound = AudioFile(options.audio.open("rb"), reading, _LONGEST_S)
    await sound.open()
    return Playback(sound.chunks(), text, sound.seconds)


@asynccontextmanager
async def _engines(settings: Settings, *, voiced: bool) -> AsyncIterator[tuple[Synthesizer, LipSync, Face]]:
    """The engines of the settings, started; the voice only where it is needed."""
    tts, lips, face_ = settings.tts, settings.lipsync, settings.face
    synthesizer: Synthesizer = load_adapter("tts", tts.engine, avatar.tts.ADAPTERS, tts.engine_options())
    lipsync: LipSync = load_adapter("lipsync", lips.engine, avatar.lipsync.ADAPTERS, lips.engine_options())
    face: Face = load_adapter("face", face_.engine, avatar.face.ADAPTERS, face_.engine_options())
    needed = [adapter for adapter in (synthesizer, lipsync, face) if voiced or adapter is not synthesizer]
    try:
        outcomes = await asyncio.gather(*(adapter.start() for adapter in needed), return_exceptions=True)
        for outcome in outcomes:
            if isinstance(outcome, AdapterError):
                raise outcome
            if isinstance(outcome, BaseException):
                raise outcome
        yield synthesizer, lipsync, face
    finally:
        await asyncio.gather(*(adapter.close() for adapter in needed))


if __name__ == "__main__":
    sys.exit(main())

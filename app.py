"""Eman: a voice avatar you can talk to. The command line.

python app.py                        serve with the embedded defaults
python app.py --set dialogue.engine=openai --set dialogue.openai.base_url=http://127.0.0.1:11434/v1
python app.py --print-config         show the settings in force
python app.py doctor                 check this machine and say what to do
python app.py token --hours 12       print a link that lets a visitor in while auth.enabled is true
"""

from __future__ import annotations

import asyncio
import logging
import signal
import sys
from collections.abc import Coroutine, Sequence
from typing import Any

import yaml

from avatar.diagnosis import check_media
from config.command_line import arguments, settings_from
from config.secrets import public_view
from config.settings import Settings
from config.wiring import signing
from core import allocator, log
from core.doctor import (
    Verdict,
    ask,
    check_access,
    check_history,
    check_origin,
    check_port,
    check_stage,
    connect,
    draw,
    listen,
    move,
    speak,
)
from core.errors import EmanError
from core.identity import visitor_link
from server import VERSION, Server

logger = logging.getLogger("app")


async def serve(settings: Settings) -> int:
    """Serve until SIGINT or SIGTERM; returns the exit status."""
    server = Server(settings)
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGTERM):
        try:
            loop.add_signal_handler(number, stop.set)
        except NotImplementedError:  # Windows
            signal.signal(number, lambda *_: loop.call_soon_threadsafe(stop.set))
    try:
        await server.start()
        if settings.log.format == "json":  # whoever collects the output wants nothing else
            logger.info("serving at %s", server.url)
        else:
            print(
                f"\n  Eman is at  {server.url}\n\n  Open it in a browser and press Start. Ctrl-C ends it.\n", flush=True
            )
        await stop.wait()
    finally:
        await server.stop()
    return 0


async def doctor(settings: Settings) -> int:
    """Check this machine, print what was found; 0 when Eman can run."""
    server = Server(settings)
    engines = server.engines
    print(f"Eman {VERSION} on Python {sys.version.split()[0]}\n")
    findings = [
        check_port(settings.server.host, settings.server.port),
        check_origin(settings.server.host),
        check_access(settings.server.host, tokens=settings.auth.enabled, admin=bool(settings.auth.admin_token)),
        await check_history(server.history, settings.history.file()),
    ]
    findings += await check_media(server.ice)
    findings += [
        await check_stage("hearing", engines.recognizer, listen),
        await check_stage("mind", engines.dialogue, ask),
        await check_stage("voice", engines.synthesizer, speak),
        *([await check_stage("voice service", engines.voice, connect)] if engines.voice is not None else []),
        await check_stage("lips", engines.lipsync, move),
        await check_stage("face", engines.face, draw),
    ]
    for finding in findings:
        print(finding)
    bad = sum(finding.verdict is Verdict.BAD for finding in findings)
    print(f"\n{bad} problem(s) to solve." if bad else "\nAll good: python app.py starts Eman.")
    return 1 if bad else 0


def _run(main: Coroutine[Any, Any, int]) -> int:
    """On uvloop where there is one: less CPU per session than asyncio's own loop."""
    if sys.platform == "win32":
        return asyncio.run(main)
    import uvloop

    return uvloop.run(main)


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line; returns the exit status."""
    options = arguments(argv)
    allocator.limit_arenas()
    try:
        settings = settings_from(options)
        if options.print_config:
            print(yaml.safe_dump(public_view(settings), sort_keys=False, allow_unicode=True))
            return 0
        if options.command == "token":
            url = options.url or f"http://localhost:{settings.server.port}"
            print(visitor_link(url, signing(settings).issue_visitor(options.hours * 3600)))
            if not (settings.auth.enabled and settings.auth.api_keys):
                print(
                    "It is not needed: all may start sessions while auth.api_keys is empty or auth off.",
                    file=sys.stderr,
                )
            return 0
        if options.command == "doctor":
            log.configure("error", settings.log.format)
            return _run(doctor(settings))
        log.configure(settings.log.level, settings.log.format)
        return _run(serve(settings))
    except (EmanError, OSError) as error:
        print(f"Eman can't start.\n{error}", file=sys.stderr)
        return 2


if __name__ == "__main__":
    sys.exit(main())

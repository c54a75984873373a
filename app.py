"""Eman: a voice avatar you can talk to. Composition root and command line.

python app.py                        serve with the embedded defaults
python app.py --set dialogue.engine=openai --set dialogue.openai.base_url=http://127.0.0.1:11434/v1
python app.py --print-config         show the settings in force
python app.py doctor                 check this machine and say what to do
"""

from __future__ import annotations

import argparse
import asyncio
import logging
import os
import signal
import sys
from collections.abc import Coroutine, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, BinaryIO

import yaml
from aiohttp import web

import asr
import avatar.face
import avatar.lipsync
import avatar.tts
import core.dialogue
from asr.vad import VoiceActivity
from avatar.audio_file import AudioFile
from avatar.avatar import Avatar
from avatar.diagnosis import check_media
from avatar.ice import IceServerConfig, IceServers
from avatar.poster import Poster
from config.settings import Settings, load_settings, public_view
from core import allocator, log
from core.conversation import Conversation, ConversationLimits
from core.doctor import Verdict, ask, check_origin, check_port, check_stage, draw, listen, move, speak
from core.errors import EmanError, SettingsError
from core.events import Event
from core.frames import Activity
from core.http_api import ApiLimits, HttpApi, Sound, envelope
from core.listener import Listener
from core.messages import messages_for
from core.reply import Timeouts
from core.services.digital_human import DigitalHumanService
from core.services.wsa import WSAWebSocketService
from core.sessions import LifecycleLimits, Parts, Sessions
from core.sse import EventStreams
from core.stages import Adapter, load_adapter
from core.turn import TurnSettings
from core.web_pages import add_headers, cross_origin, page_routes
from core.websocket_manager import UnifiedWebSocketManager
from core.websocket_router import WebSocketRouter

VERSION = "0.1.0"
WEB = Path(__file__).with_name("web")
logger = logging.getLogger("app")


class Server:
    """Everything one process serves. `start`, then `url`, then `stop`."""

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        self.recognizer = load_adapter("asr", settings.asr.engine, asr.ADAPTERS, settings.asr.engine_options())
        self.dialogue = load_adapter(
            "dialogue", settings.dialogue.engine, core.dialogue.ADAPTERS, settings.dialogue.engine_options()
        )
        self.synthesizer = load_adapter("tts", settings.tts.engine, avatar.tts.ADAPTERS, settings.tts.engine_options())
        self.lipsync = load_adapter(
            "lipsync", settings.lipsync.engine, avatar.lipsync.ADAPTERS, settings.lipsync.engine_options()
        )
        self.face = load_adapter("face", settings.face.engine, avatar.face.ADAPTERS, settings.face.engine_options())
        self.ice = IceServers(
            [IceServerConfig(**server.model_dump()) for server in settings.ice.servers],
            timeout_s=settings.ice.probe_timeout_s,
            interval_s=settings.ice.probe_interval_s,
        )
        self.sockets = UnifiedWebSocketManager()
        self.streams = EventStreams()
        self.sessions = Sessions(
            self._build,
            self._lifecycle(),
            on_gone=self._gone,
            watched=lambda session_id: bool(self.sockets.get_sessions_by_id(session_id)),
        )
        self.poster = Poster(self.face, settings.media.width, settings.media.height)
        # Pictures are drawn where aiortc encodes, in the loop's default executor: few threads keep their caches warm.
        self._media = ThreadPoolExecutor((os.cpu_count() or 1) + 1, "media")
        self._speech = ThreadPoolExecutor(2, "speech")
        self._tasks: list[asyncio.Task[None]] = []
        self._runner = web.AppRunner(self._application(), shutdown_timeout=1.0, access_log=None, auto_decompress=False)
        self.url = ""

    @property
    def adapters(self) -> list[Adapter]:
        """All stages of this server."""
        return [self.recognizer, self.dialogue, self.synthesizer, self.lipsync, self.face]

    async def start(self) -> None:
        """Load the adapters and listen. Raises `AdapterError`, `OSError`."""
        asyncio.get_running_loop().set_default_executor(self._media)
        await asyncio.gather(*(adapter.start() for adapter in self.adapters))
        if self.ice.configured:
            await self.ice.probe()
        await asyncio.to_thread(self._prepare_faces)
        await self._runner.setup()
        site = web.TCPSite(self._runner, self.settings.server.host, self.settings.server.port)
        await site.start()
        host, port = self._runner.addresses[0][:2]
        self.url = f"http://{'localhost' if host in ('127.0.0.1', '0.0.0.0', '::') else host}:{port}"
        self._tasks = [
            asyncio.create_task(self.ice.run(), name="ice probe"),
            asyncio.create_task(self._reap(), name="reaper"),
        ]
        allocator.settle()

    async def stop(self) -> None:
        """Free everything; takes about a second."""
        for task in self._tasks:
            task.cancel()
        if self._tasks:
            await asyncio.wait(self._tasks)
        self.streams.close_all()
        await self.sockets.close_all()
        await self.sessions.close_all()
        await self._runner.cleanup()
        await asyncio.gather(*(adapter.close() for adapter in self.adapters))
        self._speech.shutdown(wait=False, cancel_futures=True)

    # -- composition

    def _gone(self, session_id: str) -> None:
        self.streams.close(session_id)
        # its connection's last tasks end within the second; then what it held can go back
        asyncio.get_running_loop().call_later(1.0, allocator.release)

    def _prepare_faces(self) -> None:
        """Load what the first session would wait for."""
        self.face.open(self.settings.media.width, self.settings.media.height)

    def _build(self, session_id: str) -> Parts:
        def emit(event: Event) -> None:
            self.streams.publish(session_id, event)
            for message in messages_for(event, session_id, self.settings.avatar.name):
                self.sockets.broadcast_raw_message_to_session(session_id, message)

        def show(activity: Activity) -> None:
            media.stage.show(activity)

        conversation = Conversation(
            dialogue=self.dialogue, synthesizer=self.synthesizer, emit=emit, show=show, limits=self._limits()
        )
        size = self.settings.media
        media = Avatar(
            listener=conversation,
            lipsync=self.lipsync,
            face=self.face.open(size.width, size.height, seed=int(session_id) & 0x7FFFFFFF),
            ice=self.ice,
            codec=size.codec,
            speech=self._speech,
            pictures=self._media,
            on_audio=lambda samples: ears.hear(samples),
        )
        conversation.use_stage(media.speaker)
        ears = Listener(
            recognizer=self.recognizer,
            voice_activity=VoiceActivity(),
            settings=TurnSettings(**self.settings.turn.model_dump()),
            conversation=conversation,
            avatar=media.stage,
            emit=emit,
            timeout_s=self.settings.asr.timeout_s,
        )
        return Parts(conversation, media, ears)

    def _limits(self) -> ConversationLimits:
        settings = self.settings
        return ConversationLimits(
            queued_replies=settings.limits.max_queued_replies,
            history_turns=settings.dialogue.history_turns,
            timeouts=Timeouts(settings.dialogue.timeout_s, settings.tts.timeout_s),
        )

    def _lifecycle(self) -> LifecycleLimits:
        life = self.settings.lifecycle
        return LifecycleLimits(
            max_sessions=self.settings.limits.max_sessions,
            handshake_timeout_s=life.handshake_timeout_s,
            vanish_s=life.vanish_s,
            resume_s=life.resume_s,
        )

    def _application(self) -> web.Application:
        settings = self.settings
        upload = settings.limits.max_upload_mb << 20
        application = web.Application(
            # JSON is parsed on the loop: no more than the longest text needs, in which an escape takes 12 bytes
            client_max_size=max(1 << 20, 12 * settings.limits.max_text_chars),
            middlewares=[
                cross_origin(settings.server.allowed_origins, any_origin=settings.compat.livetalking),
                envelope,
            ],
        )
        api = HttpApi(
            self.sessions,
            self.streams,
            open_sound=self._open_sound,
            limits=ApiLimits(upload, settings.limits.max_text_chars),
            public_config=self._public_config,
            admin_config=self._admin_config,
        )
        router = WebSocketRouter(self.sockets, may_login=lambda session_id, token: None)
        WSAWebSocketService(self.sockets)
        DigitalHumanService(self.sockets, self.sessions)
        application.add_routes(api.routes())
        application.add_routes([web.get("/ws", router.handle)])
        application.add_routes(page_routes(WEB, self.poster.png))
        application.on_response_prepare.append(add_headers)
        return application

    async def _open_sound(self, file: BinaryIO) -> Sound:
        audio = AudioFile(file, self._speech, self.settings.limits.max_upload_minutes * 60)
        await audio.open()
        return audio.chunks

    def _admin_config(self) -> dict[str, Any]:
        settings = self.settings
        return {
            "fps": 50,  # LiveTalking counts packets of sound, not pictures
            "model": settings.face.engine,
            "avatar_id": str(settings.face.engine_options().get("presenter", "")),
            "tts": settings.tts.engine,
            "REF_FILE": str(settings.tts.engine_options().get("voice", "")),
            "transport": "webrtc",
            "batch_size": 1,
            "customopt": [],
            "max_session": settings.limits.max_sessions,
            "listenport": settings.server.port,
            "settings": public_view(settings),
        }

    def _public_config(self) -> dict[str, Any]:
        settings = self.settings
        return {
            "name": "Eman",
            "version": VERSION,
            "avatar_name": settings.avatar.name,
            "ice_servers": [server.model_dump(exclude_none=True) for server in settings.ice.servers],
            "asr": {"engine": self.recognizer.name, "languages": list(self.recognizer.languages)},
            "dialogue": {"engine": self.dialogue.name},
            "max_upload_mb": settings.limits.max_upload_mb,
            "max_text_chars": settings.limits.max_text_chars,
            "video": {"width": settings.media.width, "height": settings.media.height},
        }

    async def _reap(self) -> None:
        while True:
            await asyncio.sleep(self.settings.lifecycle.reaper_interval_s)
            await self.sessions.reap()
            await self.sockets.close_expired()


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
        print(f"\n  Eman is at  {server.url}\n\n  Open it in a browser and press Start. Ctrl-C ends it.\n", flush=True)
        await stop.wait()
    finally:
        await server.stop()
    return 0


async def doctor(settings: Settings) -> int:
    """Check this machine, print what was found; 0 when Eman can run."""
    server = Server(settings)
    print(f"Eman {VERSION} on Python {sys.version.split()[0]}\n")
    findings = [check_port(settings.server.host, settings.server.port), check_origin(settings.server.host)]
    findings += await check_media(server.ice)
    findings += [
        await check_stage("hearing", server.recognizer, listen),
        await check_stage("mind", server.dialogue, ask),
        await check_stage("voice", server.synthesizer, speak),
        await check_stage("lips", server.lipsync, move),
        await check_stage("face", server.face, draw),
    ]
    for finding in findings:
        print(finding)
    bad = sum(finding.verdict is Verdict.BAD for finding in findings)
    print(f"\n{bad} problem(s) to solve." if bad else "\nAll good: python app.py starts Eman.")
    return 1 if bad else 0


def arguments(argv: Sequence[str] | None = None) -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(prog="app.py", description="A voice avatar you can talk to.")
    parser.add_argument("command", nargs="?", choices=["serve", "doctor"], default="serve")
    parser.add_argument("--config", type=Path, metavar="FILE", help="YAML file over config/default.yaml")
    parser.add_argument("--host", help="address to listen on (server.host)")
    parser.add_argument("--port", type=int, help="port to listen on (server.port); 0 = any")
    parser.add_argument(
        "--set", action="append", default=[], metavar="KEY=VALUE", help="any setting, e.g. dialogue.engine=openai"
    )
    parser.add_argument("--print-config", action="store_true", help="print the settings in force and exit")
    return parser.parse_args(argv)


def settings_from(options: argparse.Namespace) -> Settings:
    """The settings of a command line. Raises `SettingsError`."""
    overrides: dict[str, str] = {}
    for item in options.set:
        key, equals, value = item.partition("=")
        if not equals:
            raise SettingsError(f"--set {item}: expected KEY=VALUE, e.g. server.port=8123")
        overrides[key.strip()] = value
    for key in ("host", "port"):
        if getattr(options, key) is not None:
            overrides[f"server.{key}"] = str(getattr(options, key))
    return load_settings(options.config, overrides)


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
        if options.command == "doctor":
            log.configure("error")
            return _run(doctor(settings))
        log.configure(settings.log.level)
        return _run(serve(settings))
    except (EmanError, OSError) as error:
        print(f"Eman can't start.\n{error}", file=sys.stderr)
        return 2


if __name__ == "__main__":
    sys.exit(main())

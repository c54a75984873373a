"""Eman: a voice avatar you can talk to. Composition root and command line.

python app.py                        serve with the embedded defaults
python app.py --set dialogue.engine=openai --set dialogue.openai.base_url=http://127.0.0.1:11434/v1
python app.py --print-config         show the settings in force
python app.py doctor                 check this machine and say what to do
python app.py token --hours 12       print a link that lets a visitor in while auth.enabled is true
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import signal
import sys
from collections.abc import Callable, Coroutine, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, BinaryIO
from zlib import crc32

import yaml
from aiohttp import web

import asr
import avatar.face
import avatar.lipsync
import avatar.tts
import core.dialogue
from asr.end_of_turn import EndOfTurnNetwork
from asr.tracker import RecognitionResultTracker
from asr.vad import VoiceActivity
from avatar.audio_file import AudioFile
from avatar.avatar import Avatar
from avatar.choreography import Choreography
from avatar.diagnosis import check_media
from avatar.guard import FrameGuard
from avatar.ice import IceServerConfig, IceServers
from avatar.lipsync.mouth import mouth_between
from avatar.opus.library import load_opus
from avatar.opus.packets import PacketDecoder
from avatar.painter import Painter
from avatar.poster import Posters
from config.command_line import arguments, settings_from
from config.settings import Settings, public_view
from config.wiring import (
    access_rules,
    admin_config,
    api_limits,
    background,
    backgrounds,
    body_limit,
    clip_shelf,
    conversation_limits,
    device_door,
    device_options,
    device_paths,
    lifecycle_limits,
    page_config,
    presenter,
    signing,
    turn_settings,
)
from core import allocator, log, messages
from core.access import Access
from core.admin_api import AdminApi
from core.asr_api import AsrApi
from core.cast import TRANSPARENT, Cast
from core.conversation import Conversation
from core.devices.aliases import check_paths
from core.devices.endpoint import DeviceEndpoint
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
from core.envelope import envelope_failures
from core.errors import AdapterError, BadRequest, EmanError
from core.events import Event, Failed
from core.frames import LISTEN_RATE, Activity, FaceChoice
from core.history import History
from core.history_api import HistoryApi
from core.http_api import HttpApi
from core.identity import visitor_link
from core.listener import Listener
from core.messages import messages_for
from core.metrics import Metrics
from core.monitor import Identity, Monitor, SoundFigures, Sources
from core.openapi import OpenApi
from core.outlet import outlet
from core.pictures import PictureTally
from core.presenter_api import PresenterApi
from core.process import ProcessMeter
from core.readiness import Readiness
from core.relay_ears import RelayEars
from core.services.asr import ASRWebSocketService
from core.services.audio import AudioService
from core.services.digital_human import DigitalHumanService
from core.services.visemes import VisemeService
from core.services.wsa import WSAWebSocketService, get_web_instance
from core.sessions import Ears, Parts, Sessions
from core.sse import EventStreams
from core.stages import Adapter, VoiceService, load_adapter
from core.transcriber import Transcriber
from core.upload_api import Openers, Sound, UploadApi
from core.viseme_feed import VisemeFeed
from core.voice_events import Turns
from core.voice_line import VoiceLine
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
        self._load_adapters()
        self.clips = clip_shelf(settings)
        self.ice = IceServers(
            [IceServerConfig(**server.model_dump()) for server in settings.ice.servers],
            timeout_s=settings.ice.probe_timeout_s,
            interval_s=settings.ice.probe_interval_s,
        )
        self.tokens = signing(settings)
        self.access = Access(self.tokens, access_rules(settings))
        self.history = History(
            settings.history.file(), retention_days=settings.history.retention_days, avatar_name=settings.avatar.name
        )
        self.tracker = RecognitionResultTracker()
        self.sockets = UnifiedWebSocketManager(resume_s=settings.lifecycle.resume_s)
        self.streams = EventStreams()
        self.visemes = VisemeFeed(mouth_between)
        self.sessions = Sessions(
            self._build,
            lifecycle_limits(settings),
            on_moved=self._moved,
            on_gone=self._gone,
            watched=lambda session_id: bool(self.sockets.get_sessions_by_id(session_id)),
        )
        width, height = settings.media.width, settings.media.height
        self.cast = Cast(
            self.face, width, height,
            background=background(settings), backgrounds=backgrounds(settings), lenient=settings.compat.livetalking,
        )  # fmt: skip
        self.posters = Posters(self.face, width, height, self.cast.thread)
        # Pictures are drawn where aiortc encodes, in the loop's default executor: few threads keep their caches warm.
        self._media = ThreadPoolExecutor((os.cpu_count() or 1) + 1, "media")
        self._speech = ThreadPoolExecutor(2, "speech")
        self._tasks: list[asyncio.Task[None]] = []
        self._serve_sockets()
        self._serve_operators()
        self.devices = DeviceEndpoint(
            self.sessions, self.cast, device_door(settings, self.access), device_options(settings),
            recall=lambda session_id: self.history.utterances(session_id, settings.dialogue.history_turns),
        )  # fmt: skip
        self._watchers: list[Callable[[str, Event], None]] = [
            self.streams.publish, self._tell_pages, self.history.record, self._track,
            self.monitor.record, self.metrics.record, self.devices.record,
        ]  # fmt: skip
        self.application = self._application()
        self._runner = web.AppRunner(self.application, shutdown_timeout=1.0, access_log=None, auto_decompress=False)
        self.url = ""

    @property
    def adapters(self) -> dict[str, Adapter]:
        """The stages of this server by their names."""
        voice = {"voice": self.voice} if self.voice is not None else {}
        return {
            "asr": self.recognizer, "dialogue": self.dialogue, "tts": self.synthesizer, **voice,
            "lipsync": self.lipsync, "face": self.face,
        }  # fmt: skip

    async def start(self) -> None:
        """Load the adapters and listen. Raises `AdapterError`, `OSError`."""
        asyncio.get_running_loop().set_default_executor(self._media)
        await self.sockets.start()
        for service in self._services:
            await service.start()
        outlet.attach(self._send_out)
        await self.history.start()
        await self.process.start()
        await self.monitor.start()
        await asyncio.gather(
            self._find_opus(), self._start_end_of_turn(), *(self._start_adapter(stage) for stage in self.adapters)
        )
        if self.ice.configured:
            await self.ice.probe()
        await self.cast.start()
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
        self.readiness.stop()
        for task in self._tasks:
            task.cancel()
        if self._tasks:
            await asyncio.wait(self._tasks)
        self.streams.close_all()
        await self.admin.close()
        await self.asr_api.close()
        await self.devices.close()
        outlet.detach(self._send_out)
        for service in self._services:
            await service.close()
        await self.sockets.close_all()
        await self.sessions.close_all()
        await self.monitor.close()
        await self.process.close()
        await self._runner.cleanup()
        await asyncio.gather(*(adapter.close() for adapter in self.adapters.values()))
        if self.end_of_turn is not None:
            await self.end_of_turn.close()
        await self.history.close()
        self.cast.close()
        self._speech.shutdown(wait=False, cancel_futures=True)

    # -- composition

    def _load_adapters(self) -> None:
        asr_, mind, tts = self.settings.asr, self.settings.dialogue, self.settings.tts
        lips, face = self.settings.lipsync, self.settings.face
        self.recognizer = load_adapter("asr", asr_.engine, asr.ADAPTERS, asr_.engine_options())
        self.dialogue = load_adapter("dialogue", mind.engine, core.dialogue.ADAPTERS, mind.engine_options())
        self.synthesizer = load_adapter("tts", tts.engine, avatar.tts.ADAPTERS, tts.engine_options())
        voice = self.settings.voice
        self.voice: VoiceService | None = None
        if voice.engine:
            self.voice = load_adapter("voice", voice.engine, core.dialogue.VOICES, voice.engine_options())
        self.lipsync = load_adapter("lipsync", lips.engine, avatar.lipsync.ADAPTERS, lips.engine_options())
        self.face = load_adapter("face", face.engine, avatar.face.ADAPTERS, face.engine_options())
        model = self.settings.turn.semantic_model
        self.end_of_turn = EndOfTurnNetwork(model) if model else None

    async def _start_end_of_turn(self) -> None:
        if self.end_of_turn is not None:
            await self.end_of_turn.start()

    async def _find_opus(self) -> None:
        """Before a session needs it: the first time takes long."""
        with contextlib.suppress(AdapterError):
            await asyncio.to_thread(load_opus)

    async def _start_adapter(self, stage: str) -> None:
        await self.adapters[stage].start()
        self.readiness.arrived(stage)

    def _serve_sockets(self) -> None:
        settings = self.settings
        self.wsa = WSAWebSocketService(self.sockets, may_claim=self.access.may_login)
        self.audio = AudioService(self.sockets, self.sessions, lambda: PacketDecoder(LISTEN_RATE))
        self._services = (
            self.wsa,
            self.audio,
            DigitalHumanService(self.sockets, self.sessions, self._keep_history),
            VisemeService(self.sockets, self.visemes),
            ASRWebSocketService(
                self.sockets, self.recognizer, self.sessions, self.tracker,
                timeout_s=settings.asr.timeout_s, max_turn_s=settings.turn.max_turn_s, failed=self._failed,
            ),
        )  # fmt: skip
        self._router = WebSocketRouter(
            self.sockets, services=self._services, access=self.access, login_timeout_s=settings.limits.login_timeout_s
        )

        self.asr_api = AsrApi(
            self.recognizer, self.access, max_turn_s=settings.turn.max_turn_s, timeout_s=settings.asr.timeout_s
        )

    def _serve_operators(self) -> None:
        self.process = ProcessMeter()
        self.pictures = PictureTally(self.sessions)
        self.readiness = Readiness(self.adapters)
        names = {stage: adapter.name for stage, adapter in self.adapters.items()}
        sources = Sources(
            identity=Identity(VERSION, names, presenter(self.settings), self.settings.limits.max_sessions),
            sessions=self.sessions,
            sockets=self.sockets,
            process=self.process,
            pictures=self.pictures,
            readiness=self.readiness,
            recognitions=self.tracker.recent,
            username_conflicts=lambda: self.wsa.conflicts,
            keeping=lambda: self.history.available,
            sockets_dropped=lambda: self.sockets.dropped,
            sound=lambda: SoundFigures(self.audio.sockets, self.audio.tally.sent, self.audio.tally.dropped),
        )
        self.monitor = Monitor(sources)
        self.metrics = Metrics(sources)
        self.admin = AdminApi(
            sources, self.monitor, self.metrics, access=self.access, sockets=self.sockets,
            config=lambda: admin_config(self.settings),
            issue=lambda session: self.tokens.issue(session.id, session.face),
            max_text_chars=self.settings.limits.max_text_chars,
        )  # fmt: skip

    def _application(self) -> web.Application:
        settings = self.settings
        application = web.Application(
            client_max_size=body_limit(settings),
            middlewares=[
                cross_origin(settings.server.allowed_origins, any_origin=settings.compat.livetalking),
                envelope_failures,
                self.access.middleware,
            ],
        )
        self._api = HttpApi(
            self.sessions,
            self.streams,
            self.cast,
            access=self.access,
            tokens=self.tokens,
            memory=self.history,
            history_turns=settings.dialogue.history_turns,
            limits=api_limits(settings),
            clips=self.clips,
            visemes=self.visemes,
            public_config=self._page_config,
        )
        application.add_routes(self._api.routes())
        openers = Openers(sound=self._open_sound, recording=self._open_recording)
        uploads = UploadApi(self.sessions, self.access, openers, max_bytes=api_limits(settings).max_upload_bytes)
        application.add_routes(uploads.routes())
        application.add_routes(HistoryApi(self.history, self.access, self._history_cleared).routes())
        application.add_routes(self.admin.routes())
        application.add_routes([web.get("/ws", self._router.handle)])
        application.add_routes(self.asr_api.routes())
        application.add_routes(PresenterApi(self.cast, self.posters).routes())
        application.add_routes(OpenApi(VERSION).routes())
        if settings.xiaozhi.enabled:
            check_paths(device_paths(settings), application.router.resources(), WEB)
            application.add_routes(self.devices.routes())
        application.add_routes(page_routes(WEB, self.posters.poster))
        application.on_response_prepare.append(add_headers)
        return application

    def _page_config(self) -> dict[str, Any]:
        config = page_config(self.settings, VERSION, self.recognizer, self.dialogue, self.voice)
        return {**config, "history": self.history.available}

    # -- what happens in sessions

    def _build(self, session_id: str, face: FaceChoice, voice: bool | None = None) -> Parts:
        def emit(event: Event) -> None:
            for watch in self._watchers:
                watch(session_id, event)

        def show(activity: Activity) -> None:
            media.stage.show(activity)

        line = self._line(session_id, emit, voice)
        self.sockets.keep(session_id)
        conversation = Conversation(
            dialogue=self.dialogue,
            synthesizer=self.synthesizer,
            emit=emit,
            show=show,
            limits=conversation_limits(self.settings),
            remote=line,
        )
        size = self.settings.media
        choreography = Choreography(size.width, size.height, self.clips.clips)
        media = Avatar(
            listener=conversation,
            lipsync=self.lipsync,
            painter=lambda choice: self._painter(session_id, choice, choreography),
            face=face,
            choreography=choreography,
            ice=self.ice,
            codec=self.settings.media.codec,
            speech=self._speech,
            on_audio=lambda samples: ears.hear(samples) if self._page_speaks(session_id) else None,
            took=self.metrics.observe_live_sound,
        )
        media.stage.watch_lips(self.visemes.viewer(session_id))
        conversation.use_stage(media.speaker)
        ears = self._ears(conversation, media, emit, line)
        files = Transcriber(
            recognizer=self.recognizer,
            voice_activity=VoiceActivity,
            conversation=conversation,
            emit=emit,
            executor=self._speech,
            timeout_s=self.settings.asr.timeout_s,
            max_turn_s=self.settings.turn.max_turn_s,
        )
        return Parts(conversation, media, ears, files, line)

    def _line(self, session_id: str, emit: Callable[[Event], None], wanted: bool | None) -> VoiceLine | None:
        """The session's line to the voice service; None where it is not to have one. Raises `BadRequest`."""
        settings, service = self.settings.voice, self.voice
        if service is None and wanted:
            raise BadRequest("this server has no voice service (voice.engine)", code="no_voice_service")
        if service is None or not (settings.sessions == "all" if wanted is None else wanted):
            return None
        call = service.open(session_id)
        return VoiceLine(call, service.name, service.turns, emit=emit, timeout_s=settings.timeout_s)

    def _ears(
        self, conversation: Conversation, media: Avatar, emit: Callable[[Event], None], line: VoiceLine | None
    ) -> Ears:
        turn = turn_settings(self.settings)
        if line is not None:
            line.use_conversation(conversation)
        if line is not None and self.voice is not None and self.voice.turns is not Turns.OURS:
            return RelayEars(
                line=line, turns=self.voice.turns, voice_activity=VoiceActivity(), conversation=conversation,
                avatar=media.stage, emit=emit, tail_s=turn.echo_tail_ms / 1000, max_turn_s=turn.max_turn_s,
            )  # fmt: skip
        return Listener(
            recognizer=line or self.recognizer,
            voice_activity=VoiceActivity(),
            settings=turn,
            conversation=conversation,
            avatar=media.stage,
            emit=emit,
            # the line ends its turns itself, in time
            timeout_s=self.settings.asr.timeout_s if line is None else self.settings.voice.timeout_s + 1.0,
            model=self.end_of_turn,
        )

    def _painter(self, session_id: str, choice: FaceChoice, choreography: Choreography) -> Painter:
        face = self.cast.open(choice, seed=crc32(session_id.encode()))
        size, columns = self.settings.media, 2 if self.cast.background(choice) == TRANSPARENT else 1
        shown = choreography.over(face, matte=columns == 2)
        return Painter(shown, FrameGuard(size.width, size.height, columns=columns), self._media)

    def _tell_pages(self, session_id: str, event: Event) -> None:
        for message in messages_for(event, session_id, self.settings.avatar.name):
            self.sockets.broadcast_raw_message_to_session(session_id, message)

    def _track(self, session_id: str, event: Event) -> None:
        session = self.sessions.get(session_id)
        if session is not None and session.storage:  # who wants nothing kept is not shown to operators either
            self.tracker.record(session_id, event)

    def _send_out(self, message: dict[str, Any]) -> int:
        return int(get_web_instance().send_direct_message(message))

    def _failed(self, session_id: str, failure: Failed) -> None:
        self.monitor.record(session_id, failure)
        self.metrics.record(session_id, failure)

    def _moved(self, session_id: str, page: str) -> None:
        self.audio.moved(session_id, page)
        self.sockets.broadcast_raw_message_to_session(session_id, messages.media(session_id, page))

    def _keep_history(self, session_id: str, kept: bool) -> None:
        self._api.keep_history(session_id, kept)
        if not kept:
            self.tracker.forget(session_id)

    def _history_cleared(self, session_id: str) -> None:
        self.tracker.forget(session_id)
        if (session := self.sessions.get(session_id)) is not None:
            session.conversation.forget()
        self.sockets.broadcast_raw_message_to_session(session_id, messages.history_cleared(session_id))

    def _page_speaks(self, session_id: str) -> bool:
        session = self.sessions.get(session_id)
        return session is None or not session.device  # of two microphones one is heard

    def _gone(self, session_id: str) -> None:
        self.devices.ended(session_id)
        self.audio.ended(session_id)
        self.streams.close(session_id)
        self.history.ended(session_id)
        self.sockets.release(session_id)
        self.tracker.close_session(session_id)
        self.monitor.forget(session_id)
        # its connection's last tasks end within the second; then what it held can go back
        asyncio.get_running_loop().call_later(1.0, allocator.release)

    async def _open_sound(self, file: BinaryIO) -> Sound:
        audio = AudioFile(file, self._speech, self.settings.limits.max_upload_minutes * 60)
        await audio.open()
        return audio.chunks

    async def _open_recording(self, file: BinaryIO) -> AudioFile:
        audio = AudioFile(file, self._speech, self.settings.limits.max_upload_minutes * 60, rate=LISTEN_RATE)
        await audio.open()
        return audio

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
    print(f"Eman {VERSION} on Python {sys.version.split()[0]}\n")
    findings = [
        check_port(settings.server.host, settings.server.port),
        check_origin(settings.server.host),
        check_access(settings.server.host, tokens=settings.auth.enabled, admin=bool(settings.auth.admin_token)),
        await check_history(server.history, settings.history.file()),
    ]
    findings += await check_media(server.ice)
    findings += [
        await check_stage("hearing", server.recognizer, listen),
        await check_stage("mind", server.dialogue, ask),
        await check_stage("voice", server.synthesizer, speak),
        *([await check_stage("voice service", server.voice, connect)] if server.voice is not None else []),
        await check_stage("lips", server.lipsync, move),
        await check_stage("face", server.face, draw),
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

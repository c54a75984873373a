"""The server: everything that one process serves, put together from the settings."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, BinaryIO

from aiohttp import web

from asr.tracker import RecognitionResultTracker
from assembly import Assembly
from avatar.audio_file import AudioFile
from avatar.ice import IceServerConfig, IceServers
from avatar.lipsync.mouth import mouth_between
from avatar.opus.library import load_opus
from avatar.opus.packets import PacketDecoder
from avatar.poster import Posters
from config.settings import Settings
from config.wiring import (
    access_rules,
    admin_config,
    api_limits,
    background,
    body_limit,
    clip_shelf,
    device_door,
    device_options,
    device_paths,
    lifecycle_limits,
    page_config,
    presenter,
    signing,
)
from core import allocator, messages
from core.access import Access
from core.admin_api import AdminApi
from core.asr_api import AsrApi
from core.cast import Cast
from core.devices.aliases import check_paths
from core.devices.endpoint import DeviceEndpoint
from core.envelope import envelope_failures
from core.errors import AdapterError
from core.events import Event, Failed
from core.frames import LISTEN_RATE, FaceChoice, Samples
from core.history import History
from core.history_api import HistoryApi
from core.http_api import HttpApi
from core.messages import messages_for
from core.metrics import Metrics
from core.monitor import DeviceFigures, Identity, Monitor, SoundFigures, Sources
from core.openapi import OpenApi
from core.outlet import outlet
from core.parts import Parts
from core.pictures import PictureTally
from core.presenter_api import PresenterApi
from core.process import ProcessMeter
from core.readiness import Readiness
from core.services.asr import ASRWebSocketService
from core.services.audio import AudioService
from core.services.digital_human import DigitalHumanService
from core.services.visemes import VisemeService
from core.services.wsa import WSAWebSocketService, get_web_instance
from core.sessions import Sessions
from core.sse import EventStreams
from core.upload_api import Openers, Sound, UploadApi
from core.viseme_feed import VisemeFeed
from core.web_pages import add_headers, cross_origin, page_routes
from core.websocket_manager import UnifiedWebSocketManager
from core.websocket_router import WebSocketRouter
from engines import Engines

logger = logging.getLogger("app")

VERSION = "0.1.0"
WEB = Path(__file__).with_name("web")


class Server:
    """Everything one process serves. `start`, then `url`, then `stop`."""

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        self.engines = Engines(settings)
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
            on_microphone=self._microphone,
        )
        width, height = settings.media.width, settings.media.height
        self.cast = Cast(
            self.engines.face, width, height,
            background=background(settings), backgrounds=settings.page.backgrounds, lenient=settings.compat.livetalking,
        )  # fmt: skip
        self.posters = Posters(self.engines.face, width, height, self.cast.thread)
        # Pictures are drawn where aiortc encodes, in the loop's default executor: few threads keep their caches warm.
        self._media = ThreadPoolExecutor((os.cpu_count() or 1) + 1, "media")
        self._speech = ThreadPoolExecutor(2, "speech")
        self._tasks: list[asyncio.Task[None]] = []
        self._serve_sockets()
        self._serve_operators()
        self._assembly = Assembly(
            settings, self.engines, self.cast, self.clips, self.ice, self.visemes, self.metrics,
            drawing=self._media, speech=self._speech, hear=self._hear,
        )  # fmt: skip
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
        await asyncio.gather(self._find_opus(), self.engines.start(self.readiness.arrived))
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
        await self.engines.close()
        await self.history.close()
        self.cast.close()
        self._speech.shutdown(wait=False, cancel_futures=True)

    # -- composition

    async def _find_opus(self) -> None:
        """Before a session needs it: the first time takes long."""
        with contextlib.suppress(AdapterError):
            await asyncio.to_thread(load_opus)

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
                self.sockets, self.engines.recognizer, self.sessions, self.tracker,
                timeout_s=settings.asr.timeout_s, max_turn_s=settings.turn.max_turn_s, failed=self._failed,
            ),
        )  # fmt: skip
        self._router = WebSocketRouter(
            self.sockets, services=self._services, access=self.access, login_timeout_s=settings.limits.login_timeout_s
        )

        self.asr_api = AsrApi(
            self.engines.recognizer, self.access, max_turn_s=settings.turn.max_turn_s, timeout_s=settings.asr.timeout_s
        )

    def _serve_operators(self) -> None:
        self.process = ProcessMeter()
        self.pictures = PictureTally(self.sessions)
        self.readiness = Readiness(self.engines.by_stage)
        names = {stage: adapter.name for stage, adapter in self.engines.by_stage.items()}
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
            devices=lambda: DeviceFigures(self.devices.connected, *self.devices.tally),
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
        config = page_config(self.settings, VERSION, self.engines.recognizer, self.engines.dialogue, self.engines.voice)
        return {**config, "history": self.history.available}

    # -- what happens in sessions

    def _build(self, session_id: str, face: FaceChoice, voice: bool | None = None) -> Parts:
        def emit(event: Event) -> None:
            for watch in self._watchers:
                watch(session_id, event)

        parts = self._assembly.parts(session_id, face, emit, voice)
        self.sockets.keep(session_id)
        return parts

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

    def _hear(self, session_id: str, samples: Samples) -> None:
        session = self.sessions.get(session_id)
        if session is not None:
            session.hear(samples)

    def _microphone(self, session_id: str, heard: bool, by: str) -> None:
        """Tell the page whose microphone it is: any that does not send it over its socket."""
        for socket in self.sockets.get_sessions_by_id(session_id):
            if not self.audio.speaks(socket):
                socket.send_message(messages.microphone(session_id, heard, by))

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
            try:
                await self.sessions.reap()
                await self.sockets.close_expired()
            except Exception:
                # this round ends here: without the next one no session would ever be freed
                logger.exception("the reaper stumbled")

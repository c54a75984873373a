"""Figures for Prometheus (names: docs/operations.md). Each server has a registry of its own.

No label has unbounded values: no session ids, no messages, nothing that users said.
"""

from __future__ import annotations

import re
from collections.abc import Iterable

from prometheus_client import CollectorRegistry, Counter, Histogram, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, InfoMetricFamily, Metric
from prometheus_client.registry import Collector

from core.events import Event, Failed, ReplyState, Timed
from core.monitor import Sources

BUCKETS_S = (0.05, 0.1, 0.15, 0.2, 0.3, 0.4, 0.5, 0.7, 1.0, 1.5, 2.0, 3.0, 5.0, 10.0, 30.0)
"""People notice 0.2 s and give up after some seconds."""
LIVE_BUCKETS_S = (0.001, 0.002, 0.003, 0.004, 0.005, 0.0075, 0.01, 0.015, 0.02, 0.03, 0.05, 0.1, 0.2, 0.5, 1.0)
"""A packet is 60 ms."""
SOURCES = ("speech", "text", "echo", "upload", "push")
MAX_ERROR_KINDS = 100
OTHER = "other"
_WORD = re.compile(r"[A-Za-z0-9_.:-]{1,60}")


class Metrics:
    """`record` as a watcher; `exposition` is what `/metrics` answers."""

    def __init__(self, sources: Sources) -> None:
        self._registry = CollectorRegistry()
        self._registry.register(_State(sources))
        self._turns = Counter("eman_turns", "Answers that are over.", ("source", "outcome"), registry=self._registry)
        for source in SOURCES:
            for outcome in (ReplyState.END, ReplyState.INTERRUPTED, ReplyState.ERROR):
                self._turns.labels(source, outcome.value)  # from 0 on: else the first one of each kind has no rate
        self._latency = Histogram(
            "eman_turn_latency_seconds",
            "From the end of the user's speech (or the request) to each step of the answer.",
            ("step", "source"),
            buckets=BUCKETS_S,
            registry=self._registry,
        )
        self._errors = Counter(
            "eman_errors", "Failures by where they happened.", ("stage", "adapter", "code"), registry=self._registry
        )
        self._kinds: set[tuple[str, str, str]] = set()
        self._live = Histogram(
            "eman_live_sound_delay_seconds",
            "From the arrival of a voice service's packet to its sound on the avatar's stage.",
            buckets=LIVE_BUCKETS_S,
            registry=self._registry,
        )

    def record(self, session_id: str, event: Event) -> None:
        """Watch one event of a session."""
        if isinstance(event, Timed):
            self._record_turn(event)
        elif isinstance(event, Failed):
            self._errors.labels(*self._kind(event)).inc()

    def observe_live_sound(self, seconds: float) -> None:
        """A packet of a voice service took so long to the stage."""
        self._live.observe(seconds)

    def exposition(self) -> bytes:
        """All figures in Prometheus' text format."""
        return generate_latest(self._registry)

    def _record_turn(self, event: Timed) -> None:
        source = event.source if event.source in SOURCES else OTHER
        self._turns.labels(source, event.outcome.value).inc()
        steps = {
            "transcript": event.transcript_ms,
            "first_token": event.first_token_ms,
            "first_audio": event.first_audio_ms,
            "on_wire": event.on_wire_ms,
        }
        for step, milliseconds in steps.items():
            if milliseconds is not None:
                self._latency.labels(step, source).observe(milliseconds / 1000)

    def _kind(self, event: Failed) -> tuple[str, str, str]:
        """Labels of an error; what is no plain word, or one kind too many, is "other"."""
        stage, adapter, code = (
            word if _WORD.fullmatch(word) else OTHER if word else "none"
            for word in (event.stage, event.adapter, event.code)
        )
        kind = (stage, adapter, code)
        if kind not in self._kinds and len(self._kinds) >= MAX_ERROR_KINDS:
            return OTHER, OTHER, OTHER
        self._kinds.add(kind)
        return kind


class _State(Collector):
    """What is true at the moment of the scrape, read then."""

    def __init__(self, sources: Sources) -> None:
        self._sources = sources

    def collect(self) -> Iterable[Metric]:
        yield from self._talk()
        yield from self._pictures()
        yield from self._process()

    def describe(self) -> Iterable[Metric]:
        return ()  # nothing is read while the server is still being put together

    def _talk(self) -> Iterable[Metric]:
        sources = self._sources
        sessions = sources.sessions.all()
        sockets = sources.sockets.sockets()
        speech = sum(float(session.media.status()["queued_seconds"]) for session in sessions)
        speaking = sum(bool(session.media.status()["speaking"]) for session in sessions)
        yield _gauge("eman_sessions", "Live sessions.", len(sessions))
        yield _gauge("eman_sessions_limit", "Sessions that are admitted at once.", sources.identity.max_sessions)
        yield _gauge("eman_sessions_speaking", "Sessions whose avatar speaks.", speaking)
        yield _gauge("eman_sockets", "WebSockets that are logged in.", len(sockets))
        waiting = sum(session.conversation.waiting for session in sessions)
        yield _gauge("eman_queued_replies", "Answers that wait for their turn.", waiting)
        yield _gauge("eman_queued_speech_seconds", "Speech that is ready and not yet played.", speech)
        messages = sum(socket.queued for socket in sockets)
        yield _gauge("eman_queued_messages", "Messages that wait for a socket.", messages)
        yield _counter(
            "eman_sockets_dropped", "Sockets that read too slowly or went silent.", sources.sockets_dropped()
        )
        sound = sources.sound()
        yield _gauge("eman_sound_sockets", "WebSockets that get the avatar's sound.", sound.sockets)
        yield _counter("eman_sound_frames_sent", "Pieces of sound sent over WebSockets.", sound.frames_sent)
        yield _counter(
            "eman_sound_frames_dropped", "Pieces of sound that a slow WebSocket missed.", sound.frames_dropped
        )
        yield from self._devices()
        conflicts = sources.username_conflicts()
        yield _counter("eman_username_conflicts", "Usernames claimed from different sessions.", conflicts)

    def _devices(self) -> Iterable[Metric]:
        devices = self._sources.devices()
        yield _gauge("eman_devices", "Devices that have a session.", devices.connected)
        lost = CounterMetricFamily("eman_device_packets_lost", "Packets of devices' sound.", labels=("reason",))
        for reason in ("unusable", "early", "unread"):
            lost.add_metric((reason,), getattr(devices, reason))
        yield lost

    def _pictures(self) -> Iterable[Metric]:
        totals = self._sources.pictures.totals()
        yield _counter("eman_pictures_sent", "Pictures handed to the encoder.", totals.sent)
        yield _counter("eman_pictures_late", "Pictures left out because they would have been late.", totals.skipped)
        yield _counter("eman_pictures_failed", "Pictures that could not be drawn.", totals.failed)

    def _process(self) -> Iterable[Metric]:
        process = self._sources.process
        identity = self._sources.identity
        versions = {"version": identity.version, **identity.adapters}
        yield InfoMetricFamily("eman_server", "Version, and adapters of the stages.", value=versions)
        ready = self._sources.readiness.ready
        yield _gauge("eman_ready", "1 when the server can serve.", int(ready))
        yield _gauge("eman_uptime_seconds", "Since the server was started.", process.uptime_s)
        yield _gauge("eman_loop_lag_seconds", "Worst delay of the event loop in the last second.", process.loop_lag_s)
        rss = process.latest.rss_bytes
        yield _gauge("eman_resident_memory_bytes", "Of the server and its worker processes.", rss)
        cpu = process.latest.cpu_s
        yield _counter("eman_cpu_seconds", "Processor time of the server and its worker processes.", cpu)


def _gauge(name: str, text: str, value: float) -> Metric:
    return GaugeMetricFamily(name, text, value=value)


def _counter(name: str, text: str, value: float) -> Metric:
    return CounterMetricFamily(name, text, value=value)

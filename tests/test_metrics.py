"""K2: figures in Prometheus' text format that move, never fall where they must not, and name nobody."""

from __future__ import annotations

import pytest
from prometheus_client.parser import text_string_to_metric_families

from core.events import Failed, Heard, Replying, ReplyState, Typed
from core.frames import Transcript
from core.metrics import MAX_ERROR_KINDS, Metrics
from tests.operators import ADAPTERS, Observatory, observatory, turn

Figures = dict[tuple[str, frozenset[tuple[str, str]]], float]


def figures(metrics: Metrics) -> Figures:
    """Every sample by its name and labels. Fails where the format is broken or a sample comes twice."""
    found: Figures = {}
    for family in text_string_to_metric_families(metrics.exposition().decode()):
        assert family.documentation, family.name
        assert family.type != "unknown", family.name
        for sample in family.samples:
            key = (sample.name, frozenset(sample.labels.items()))
            assert key not in found
            found[key] = sample.value
    return found


def figure(watch: Observatory, name: str, **labels: str) -> float | None:
    return figures(watch.metrics).get((name, frozenset(labels.items())))


async def test_k2_state_is_read_at_the_scrape() -> None:
    async with observatory() as watch:
        session, media = await watch.open()
        await watch.open()
        media.figures |= {"speaking": True, "queued_seconds": 1.5}
        watch.sockets.add(session.id, queued=3)
        watch.sockets.add("77", queued=4)
        watch.sockets.dropped, watch.conflicts = 5, 6
        now = {name: value for (name, labels), value in figures(watch.metrics).items() if not labels}
        assert now["eman_sessions"] == 2
        assert now["eman_sessions_limit"] == 8
        assert now["eman_sessions_speaking"] == 1
        assert now["eman_sockets"] == 2
        assert now["eman_queued_replies"] == 0
        assert now["eman_queued_speech_seconds"] == 1.5
        assert now["eman_queued_messages"] == 7
        assert now["eman_sockets_dropped_total"] == 5
        assert now["eman_username_conflicts_total"] == 6
        assert now["eman_ready"] == 0
        assert now["eman_loop_lag_seconds"] >= 0
        assert now["eman_resident_memory_bytes"] > 10 << 20
        assert now["eman_cpu_seconds_total"] >= 0
        assert now["eman_uptime_seconds"] > 0
        for stage in ADAPTERS:
            watch.sources.readiness.arrived(stage)
        await watch.sessions.close(session)
        assert figure(watch, "eman_sessions") == 1
        assert figure(watch, "eman_sessions_speaking") == 0
        assert figure(watch, "eman_ready") == 1


async def test_k2_version_and_adapters_are_told() -> None:
    async with observatory() as watch:
        assert figure(watch, "eman_server_info", version="1.2.3", **ADAPTERS) == 1


async def test_k2_names_follow_the_conventions() -> None:
    async with observatory() as watch:
        await watch.open()
        watch.record("1", turn())
        watch.record("1", Failed("tts", "espeak", "tts_failed", "away"))
        for family in text_string_to_metric_families(watch.metrics.exposition().decode()):
            assert family.name.startswith("eman_")
            for unit in ("_ms", "_mb", "_percent", "_minutes"):
                assert not family.name.endswith(unit)
            counter = {sample.name for sample in family.samples if sample.name.endswith("_total")}
            assert bool(counter) == (family.type == "counter"), family.name


async def test_k2_answers_are_counted_and_timed() -> None:
    async with observatory() as watch:
        watch.record("1", turn(first_audio_ms=205))
        watch.record("2", turn(first_audio_ms=805))
        watch.record("2", turn(source="echo", outcome=ReplyState.ERROR, transcript_ms=None, on_wire_ms=None))
        now = figures(watch.metrics)
    assert now["eman_turns_total", frozenset({("source", "speech"), ("outcome", "end")})] == 2
    assert now["eman_turns_total", frozenset({("source", "echo"), ("outcome", "error")})] == 1

    def latency(suffix: str, step: str, source: str = "speech", **more: str) -> float | None:
        labels = {"step": step, "source": source, **more}
        return now.get((f"eman_turn_latency_seconds_{suffix}", frozenset(labels.items())))

    assert latency("count", "first_audio") == 2
    assert latency("sum", "first_audio") == pytest.approx(1.01)
    assert latency("bucket", "first_audio", le="0.2") == 0
    assert latency("bucket", "first_audio", le="0.3") == 1
    assert latency("bucket", "first_audio", le="1.0") == 2
    assert latency("count", "transcript") == 2
    assert latency("count", "transcript", source="echo") is None  # what was not reached is not timed
    assert latency("count", "first_token", source="echo") == 1


async def test_k2_pictures_stay_counted_when_sessions_end() -> None:
    async with observatory() as watch:
        first, media = await watch.open()
        _, other = await watch.open()
        media.figures |= {"pictures_sent": 100, "pictures_skipped": 3, "pictures_failed": 1}
        other.figures |= {"pictures_sent": 10}
        assert figure(watch, "eman_pictures_sent_total") == 110
        media.figures |= {"pictures_sent": 120}
        await watch.sessions.close(first)
        for _ in range(2):
            assert figure(watch, "eman_pictures_sent_total") == 130
            assert figure(watch, "eman_pictures_late_total") == 3
            assert figure(watch, "eman_pictures_failed_total") == 1
        await watch.sessions.close_all()
        assert figure(watch, "eman_pictures_sent_total") == 130


async def test_k2_pictures_of_a_session_that_nobody_looked_at_between_are_counted_once_it_was_seen() -> None:
    async with observatory() as watch:
        session, media = await watch.open()
        watch.sources.pictures.look()  # the monitor's look, once a second
        media.figures |= {"pictures_sent": 50}
        await watch.sessions.close(session)
        assert figure(watch, "eman_pictures_sent_total") == 50


async def test_k2_no_label_grows_with_what_comes_from_outside() -> None:
    async with observatory() as watch:
        for number in range(500):
            watch.record(str(number), Failed("dialogue", "openai", f"code{number}", f"message {number}"))
            watch.record(str(number), turn(number, source=f"source{number}"))
        watch.record("1", Failed("tts", "", "what the user said", "no word"))
        now = figures(watch.metrics)
    kinds = [labels for name, labels in now if name == "eman_errors_total"]
    assert len(kinds) == MAX_ERROR_KINDS + 1
    other = frozenset({("stage", "other"), ("adapter", "other"), ("code", "other")})
    assert now["eman_errors_total", other] == 501 - MAX_ERROR_KINDS
    assert now["eman_turns_total", frozenset({("source", "other"), ("outcome", "end")})] == 500
    assert len([labels for name, labels in now if name == "eman_turns_total"]) == 16  # 5 sources, 3 outcomes, other


async def test_k2_a_code_that_is_no_word_is_other() -> None:
    async with observatory() as watch:
        watch.record("1", Failed("tts", "", "what the user said", "periwinkle"))
        text = watch.metrics.exposition().decode()
    assert 'eman_errors_total{adapter="none",code="other",stage="tts"} 1.0' in text
    assert "periwinkle" not in text
    assert "what the user" not in text


async def test_k2_what_is_said_and_by_whom_is_in_no_figure() -> None:
    async with observatory() as watch:
        session, _ = await watch.open()
        watch.sockets.add(session.id)
        before = figures(watch.metrics)
        for event in (
            Typed("periwinkle"),
            Heard(Transcript("periwinkle")),
            Replying("r1", ReplyState.SENTENCE, "periwinkle"),
        ):
            watch.metrics.record(session.id, event)
        watch.record(session.id, turn())
        text = watch.metrics.exposition().decode()
    assert "periwinkle" not in text
    assert session.id not in text
    assert len(figures(watch.metrics)) > len(before)


async def test_k2_two_servers_in_one_process_count_apart() -> None:
    async with observatory() as one, observatory() as two:
        one.record("1", turn())
        assert figure(one, "eman_turns_total", source="speech", outcome="end") == 1
        assert figure(two, "eman_turns_total", source="speech", outcome="end") == 0


async def test_h1_k2_how_long_live_sound_takes_is_counted() -> None:
    async with observatory() as watch:
        assert figure(watch, "eman_live_sound_delay_seconds_count") == 0
        watch.metrics.observe_live_sound(0.004)
        watch.metrics.observe_live_sound(0.3)
        assert figure(watch, "eman_live_sound_delay_seconds_count") == 2
        assert figure(watch, "eman_live_sound_delay_seconds_bucket", le="0.004") == 1
        assert figure(watch, "eman_live_sound_delay_seconds_sum") == pytest.approx(0.304)

"""Voice activity on real speech."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from asr.vad import FRAME, SILENCE_DB, NoiseFloor, VoiceActivity, VoiceFrame
from core.frames import LISTEN_RATE, Samples
from tests.speech import flite

ROOT = Path(__file__).parent.parent
TEXT = "please tell me something about the weather in london"


def noise(seconds: float, level_db: float, seed: int = 0) -> NDArray[np.float64]:
    """White noise at an RMS level in dBFS."""
    return np.random.default_rng(seed).normal(0, 32768 * 10 ** (level_db / 20), int(seconds * LISTEN_RATE))


def pcm(samples: NDArray[np.float64]) -> Samples:
    return samples.clip(-32768, 32767).astype(np.int16)


def talk(voice: str, level_db: float, noise_db: float) -> tuple[Samples, float, float]:
    """Two seconds of room, a sentence, two seconds of room; and when the sentence starts and ends."""
    speech = flite(TEXT, voice, LISTEN_RATE).astype(np.float64)
    active = speech[np.abs(speech) > 200]
    speech *= 32768 * 10 ** (level_db / 20) / np.sqrt(np.mean(active**2))
    loud = np.flatnonzero(np.abs(speech) > 0.1 * np.abs(speech).max())
    silence = np.zeros(2 * LISTEN_RATE)
    scene = np.concatenate([silence, speech, silence])
    scene += noise(len(scene) / LISTEN_RATE + 0.001, noise_db)[: len(scene)]
    return pcm(scene), 2 + loud[0] / LISTEN_RATE, 2 + loud[-1] / LISTEN_RATE


def frames_of(samples: Samples, activity: VoiceActivity | None = None) -> list[VoiceFrame]:
    """All frames, pushed in 20 ms packets."""
    activity = activity or VoiceActivity()
    return [frame for start in range(0, len(samples), 320) for frame in activity.push(samples[start : start + 320])]


def without_gate() -> VoiceActivity:
    return VoiceActivity(quiet_db=-1000, open_db=-1000)


@pytest.mark.parametrize("voice", ["slt", "rms", "awb"])
@pytest.mark.parametrize(("level_db", "noise_db"), [(-20, -60), (-30, -50), (-45, -65), (-25, -96)])
def test_speech_is_found_where_it_is(voice: str, level_db: float, noise_db: float) -> None:
    samples, start, end = talk(voice, level_db, noise_db)
    frames = frames_of(samples)
    heard = [frame.time for frame in frames if frame.probability >= 0.5]
    assert abs(heard[0] - start) < 0.2
    assert abs(heard[-1] - end) < 0.3
    within = [frame for frame in frames if start < frame.time < end]
    assert np.mean([frame.probability >= 0.35 for frame in within]) > 0.75


@pytest.mark.parametrize("voice", ["slt", "rms"])
@pytest.mark.parametrize("level_db", [-20, -45])
def test_the_gate_loses_no_speech(voice: str, level_db: float) -> None:
    samples, _, _ = talk(voice, level_db, -65)
    gated, full = frames_of(samples), frames_of(samples, without_gate())
    lost = sum(f.probability >= 0.5 > g.probability for f, g in zip(full, gated, strict=True))
    assert lost <= 0.03 * sum(f.probability >= 0.5 for f in full)


@pytest.mark.parametrize("level_db", [-70.0, -50.0, -30.0, -10.0])
def test_noise_is_no_speech(level_db: float) -> None:
    assert max(frame.probability for frame in frames_of(pcm(noise(5, level_db)))) < 0.5


def test_tones_and_clicks_are_no_speech() -> None:
    time = np.arange(3 * LISTEN_RATE) / LISTEN_RATE
    hum = 3000 * np.sin(2 * np.pi * 50 * time) + 1000 * np.sin(2 * np.pi * 150 * time)
    clicks = np.zeros(3 * LISTEN_RATE)
    clicks[:: LISTEN_RATE // 2] = 30000
    for samples in (hum, clicks):
        assert np.mean([frame.probability >= 0.5 for frame in frames_of(pcm(samples))]) < 0.05


@pytest.mark.parametrize("level_db", [-1000.0, -75.0, -50.0])
def test_a_quiet_room_spares_the_network(level_db: float) -> None:
    activity = VoiceActivity()
    frames_of(pcm(noise(5, level_db)), activity)
    assert activity.network_runs == 0


def test_the_gate_closes_again_after_speech() -> None:
    samples, _, end = talk("slt", -25, -60)
    activity = VoiceActivity()
    frames_of(samples[: int((end + 1) * LISTEN_RATE)], activity)
    runs = activity.network_runs
    frames_of(samples[int((end + 1) * LISTEN_RATE) :], activity)
    assert activity.network_runs == runs


def test_one_loud_frame_opens_the_gate_for_half_a_second() -> None:
    activity = VoiceActivity()
    room = noise(2, -65)
    room[FRAME * 20 : FRAME * 21] = noise(FRAME / LISTEN_RATE, -40)
    frames_of(pcm(room), activity)
    assert activity.network_runs == 3 + 1 + 15


def test_levels() -> None:
    assert {frame.level_db for frame in frames_of(np.zeros(FRAME * 2, np.int16))} == {SILENCE_DB}
    square = np.full(FRAME, 32767, np.int16)
    assert frames_of(square)[0].level_db == pytest.approx(0, abs=0.01)
    assert frames_of(pcm(noise(1, -30)))[5].level_db == pytest.approx(-30, abs=1)


def test_the_floor_follows_the_room_but_not_a_word() -> None:
    floor = NoiseFloor()
    for _ in range(50):
        assert floor.update(-60) == -60
    assert floor.update(-20) == -60
    for _ in range(30):
        floor.update(-20)
    assert floor.update(-20) == -60
    for _ in range(30):
        floor.update(-20)
    assert floor.update(-20) == -20
    assert floor.update(-70) == -70


@settings(max_examples=20, deadline=None)
@given(st.lists(st.integers(0, 1500), min_size=1, max_size=30))
def test_any_packets_give_the_same_frames(sizes: list[int]) -> None:
    samples = pcm(noise(sum(sizes) / LISTEN_RATE + 1, -30))[: sum(sizes)]
    activity, frames, start = VoiceActivity(), [], 0
    for size in sizes:
        frames += activity.push(samples[start : start + size])
        start += size
    assert frames == frames_of(samples)
    assert [frame.time for frame in frames] == [(i + 1) * FRAME / LISTEN_RATE for i in range(len(samples) // FRAME)]


def test_the_network_runs_in_the_calling_thread_alone() -> None:
    code = (
        "import os, psutil, numpy as np\n"
        "from asr.vad import VoiceActivity\n"
        "before = psutil.Process().num_threads()\n"
        "activity = VoiceActivity(quiet_db=-1000, open_db=-1000)\n"
        "activity.push(np.zeros(5120, np.int16))\n"
        "assert activity.network_runs == 10\n"
        "assert 'OMP_THREAD_LIMIT' not in os.environ\n"
        "print(psutil.Process().num_threads() - before)\n"
    )
    environment = {key: value for key, value in os.environ.items() if key != "OMP_THREAD_LIMIT"}
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, env=environment, capture_output=True, text=True, check=True
    )
    assert done.stdout.strip() == "0"


def test_sessions_side_by_side_do_not_disturb_each_other() -> None:
    one, other = VoiceActivity(), VoiceActivity()
    samples, _, _ = talk("slt", -20, -60)
    heard, quiet = [], []
    for start in range(0, len(samples), 320):
        packet = samples[start : start + 320]
        heard += one.push(packet)
        quiet += other.push(np.zeros(len(packet), np.int16))
    assert heard == frames_of(samples)
    assert max(frame.probability for frame in quiet) == 0

"""The figures that judge the lips, on cases whose answer is known, and the command that prints them."""

from __future__ import annotations

import json
import math
import wave
from pathlib import Path

import numpy as np
import pytest

from avatar.lipsync.evaluate import Clip, evaluate, main, pieces, read_folder, wrong_text
from avatar.lipsync.labels import Segment, Timed, frames_of, segments_of
from avatar.lipsync.metrics import (
    Judged,
    accuracy,
    closure_precision,
    closure_recall,
    jerk,
    opening_correlation,
    opening_in_silence,
    reference_opening,
    separation,
)
from avatar.tts.espeak import EspeakSynthesizer
from core.errors import BadRequest
from core.frames import LISTEN_RATE, VISEMES, Samples, VisemeFrames
from tests.contracts_voice import listening_chunks, pcm_of, spoken

SEGMENTS: tuple[Segment, ...] = (
    (0.0, 0.5, "sil"),
    (0.5, 0.6, "PP"),
    (0.6, 0.8, "aa"),
    (0.8, 0.9, "PP"),
    (0.9, 1.1, "ih"),
    (1.1, 1.2, "SS"),
    (1.2, 1.7, "sil"),
)
TEXTS = ("Please bring my mother a bowl of soup.", "Yesterday the children sang their longest songs.")


def perfect(shift: int = 0) -> VisemeFrames:
    return np.asarray(np.roll(frames_of(list(SEGMENTS), 170), shift, axis=0), np.float32)


def all_one(name: str) -> VisemeFrames:
    rows = np.zeros((170, len(VISEMES)), np.float32)
    rows[:, VISEMES.index(name)] = 1
    return rows


def test_perfect_lips_score_perfectly() -> None:
    clip = Judged(perfect(), SEGMENTS)
    assert accuracy(clip) == accuracy(clip, 2)
    assert accuracy(clip).value == 1
    assert accuracy(clip).n == 70
    assert opening_correlation([clip]).value > 0.95
    for pictures in (False, True):
        assert closure_recall(clip, pictures=pictures).value == 1
        assert closure_recall(clip, pictures=pictures).n == 2
        assert closure_precision(clip, pictures=pictures).value == 1
        assert closure_precision(clip, pictures=pictures).n == 2
    assert opening_in_silence(clip).value == 0


@pytest.mark.parametrize(("shift", "tolerant"), [(1, 1.0), (2, 1.0), (4, 0.8)])
def test_late_lips_are_tolerated_by_20_ms(shift: int, tolerant: float) -> None:
    clip = Judged(perfect(shift), SEGMENTS)
    assert accuracy(clip).value < 1
    assert accuracy(clip, 2).value == pytest.approx(tolerant, abs=0.08)
    assert (accuracy(clip, 2).value == 1) == (shift <= 2)


def test_late_closures_are_tolerated_by_40_ms() -> None:
    assert closure_recall(Judged(perfect(13), SEGMENTS)).value == 1
    assert closure_recall(Judged(perfect(16), SEGMENTS)).value < 1
    assert closure_precision(Judged(perfect(16), SEGMENTS)).value < 1


def test_a_mouth_that_never_moves() -> None:
    closed, wide = Judged(all_one("PP"), SEGMENTS), Judged(all_one("aa"), SEGMENTS)
    assert closure_recall(closed).value == 1
    assert closure_precision(closed).n == 1
    assert closure_recall(wide).value == 0
    assert math.isnan(closure_precision(wide).value)
    assert opening_in_silence(wide).value == 1
    assert opening_in_silence(wide).n == 39 + 39
    assert opening_correlation([wide]).n == 0
    assert jerk([wide]) == 0
    assert math.isnan(jerk([Judged(perfect(), [])])), "against a reference that never moves"
    assert math.isnan(jerk([]))


def test_silence_is_no_closure() -> None:
    assert closure_precision(Judged(all_one("sil"), SEGMENTS)).n == 0


def test_only_the_strongest_frame_of_a_picture_counts() -> None:
    rows = all_one("aa")
    rows[53] = 0
    rows[53, VISEMES.index("PP")] = 1
    assert closure_recall(Judged(rows, SEGMENTS), pictures=True).hits == 1


def test_jerk_of_the_reference_is_about_one_and_of_jumps_more() -> None:
    labels = Judged(perfect(), SEGMENTS).labels
    table = perfect()
    assert 0.7 < jerk([Judged(table, SEGMENTS)]) < 2
    trembling = table.copy()
    trembling[::8] = all_one("aa")[0]
    trembling[4::8] = all_one("PP")[0]
    assert jerk([Judged(trembling, SEGMENTS)]) > 2
    assert reference_opening(labels)[labels == VISEMES.index("PP")].max() == 0


def test_separation_is_the_area_under_the_curve() -> None:
    assert separation([2, 3], [0, 1]) == 1
    assert separation([0, 1], [2, 3]) == 0
    assert separation([1, 1], [1, 1]) == 0.5
    assert math.isnan(separation([], [1]))


def write(folder: Path, name: str, samples: Samples, record: object, *, rate: int = LISTEN_RATE) -> None:
    with wave.open(str(folder / f"{name}.wav"), "wb") as file:
        file.setnchannels(1)
        file.setsampwidth(2)
        file.setframerate(rate)
        file.writeframes(samples.tobytes())
    (folder / f"{name}.json").write_text(json.dumps(record), "utf-8")


@pytest.fixture
async def folder(tmp_path: Path) -> Path:
    """Two spoken sentences with their labels."""
    synthesizer = EspeakSynthesizer()
    await synthesizer.start()
    for index, text in enumerate(TEXTS):
        chunks = await spoken(synthesizer, text)
        phones = [Timed(p.symbol, p.start, p.end) for chunk in chunks for p in chunk.phonemes or ()]
        write(tmp_path, f"{index}", pcm_of(listening_chunks(chunks)), {"text": text, "segments": segments_of(phones)})
    await synthesizer.close()
    return tmp_path


def test_f3_the_command_scores_a_folder(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main([str(folder), "--json"]) == 0
    by_sound = json.loads(capsys.readouterr().out)
    assert main([str(folder), "--text", "--json"]) == 0
    by_text = json.loads(capsys.readouterr().out)
    assert set(by_text) - set(by_sound) == {"wrong_text_auc", "right_text_kept", "wrong_text_left"}
    assert by_text["right_text_kept"]["value"] > 0.9
    assert by_text["wrong_text_left"]["value"] > 0.5
    assert by_text["accuracy_20ms"]["value"] > 0.85
    assert by_text["wrong_text_auc"]["value"] > 0.8
    assert by_text["closure_recall"]["n"] == 6
    assert main([str(folder)]) == 0
    shown = capsys.readouterr()
    assert "accuracy ±20 ms" in shown.out
    assert "2/2 clips" in shown.err


def test_sound_comes_in_pieces_of_200_ms_at_any_rate(folder: Path) -> None:
    clip = read_folder(folder)[0]
    other = Clip("x", np.repeat(clip.samples, 3), 48_000, clip.text, clip.segments)
    lengths = [len(chunk.pcm.samples) for chunk in pieces(other)]
    assert max(lengths) <= 3200 + 64
    assert abs(sum(lengths) - len(clip.samples)) <= 1
    same, again = evaluate([clip], text=False), evaluate([other], text=False)
    assert abs((same[0].value or 0) - (again[0].value or 0)) < 0.1


def test_a_wrong_text_has_no_word_of_the_right_one() -> None:
    texts = ("Press one to leave.", "...to exit.", "Press two to stay.", "", "Goodbye, all.", "...TO EXIT!")
    clips = [Clip(str(i), np.zeros(0, np.int16), LISTEN_RATE, text, ()) for i, text in enumerate(texts)]
    assert [wrong_text(clips, i) for i in (0, 1, 4)] == ["Goodbye, all.", "Goodbye, all.", "...TO EXIT!"]
    assert wrong_text(clips[:3], 0) == ""


@pytest.mark.parametrize(
    ("record", "says"),
    [
        ({"text": "x"}, "segments"),
        ({"text": "x", "segments": [[0, 1]]}, "segments"),
        ({"text": "x", "segments": [[0, 1, "ZZ"]]}, "'ZZ' is none of sil PP"),
        ({"text": "x", "segments": [[1, 0, "aa"]]}, "a segment from 1.0 to 0.0 s"),
        ({"text": 5, "segments": []}, "text must be"),
        ([], "must be"),
    ],
)
def test_bad_labels_are_told(tmp_path: Path, record: object, says: str) -> None:
    write(tmp_path, "a", np.zeros(1600, np.int16), record)
    with pytest.raises(BadRequest, match=r"a\.json") as raised:
        read_folder(tmp_path)
    assert says in str(raised.value)


@pytest.mark.filterwarnings("error")
def test_what_cannot_be_measured_is_no_number(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write(tmp_path, "a", np.random.default_rng(1).integers(-9000, 9000, 16_000, np.int16), {"text": "", "segments": []})
    assert main([str(tmp_path), "--json"]) == 0
    told = json.loads(capsys.readouterr().out, parse_constant=pytest.fail)
    assert told["jerk"]["value"] is told["accuracy"]["value"] is None
    assert main([str(tmp_path)]) == 0
    assert "inf" not in capsys.readouterr().out


def test_bad_folders_are_told(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main([str(tmp_path / "nowhere")]) == 2
    assert "is no folder" in capsys.readouterr().err
    assert main([str(tmp_path)]) == 2
    assert "holds no .wav" in capsys.readouterr().err
    (tmp_path / "a.wav").write_bytes(b"nonsense")
    assert main([str(tmp_path)]) == 2
    assert "a.json is missing" in capsys.readouterr().err
    (tmp_path / "a.json").write_text('{"segments": []}')
    assert main([str(tmp_path)]) == 2
    assert "can't be read as a wave file: " in capsys.readouterr().err
    (tmp_path / "a.wav").write_bytes(b"")
    assert main([str(tmp_path)]) == 2
    assert "it ends too early" in capsys.readouterr().err
    with wave.open(str(tmp_path / "a.wav"), "wb") as file:
        file.setnchannels(2)
        file.setsampwidth(2)
        file.setframerate(LISTEN_RATE)
        file.writeframes(bytes(400))
    assert main([str(tmp_path)]) == 2
    assert "must be mono" in capsys.readouterr().err


def test_empty_sound_and_no_labels_have_no_figures(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write(tmp_path, "a", np.zeros(0, np.int16), {"segments": []})
    assert main([str(tmp_path), "--json"]) == 0
    assert all(figure["value"] is None for figure in json.loads(capsys.readouterr().out).values())

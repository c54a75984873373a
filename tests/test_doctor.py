"""`python app.py doctor`: what it says of a machine."""

from __future__ import annotations

import socket
from pathlib import Path

import pytest

from app import doctor
from avatar.face.vector import VectorFace
from config.layers import load_settings
from core.doctor import Verdict, check_access, check_history, check_origin, check_port, draw
from core.history import History
from tests.background_files import fill
from tests.conftest import FAKES


async def test_a_machine_that_can_do_everything(capsys: pytest.CaptureFixture[str]) -> None:
    settings = load_settings(overrides=FAKES, env={})
    assert await doctor(settings) == 0
    said = capsys.readouterr().out
    assert "All good" in said
    assert "FAIL" not in said
    assert all(subject in said for subject in ("port", "access", "history", "libopus", "hearing", "face"))


async def test_a_stage_that_does_not_start_is_a_problem_to_solve(capsys: pytest.CaptureFixture[str]) -> None:
    overrides = {**FAKES, "face.engine": "vector", "face.vector.presenter": "nobody"}
    assert await doctor(load_settings(overrides=overrides, env={})) == 1
    assert "1 problem(s) to solve" in capsys.readouterr().out


def test_a_taken_port_is_named() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        finding = check_port("127.0.0.1", taken.getsockname()[1])
    assert finding.verdict is Verdict.BAD
    assert "--port" in finding.advice


def test_k1_an_open_server_is_told_how_to_close_itself() -> None:
    assert check_access("127.0.0.1", tokens=False, admin=False).verdict is Verdict.GOOD
    assert "auth.enabled" in check_access("0.0.0.0", tokens=False, admin=False).advice
    assert "auth.admin_token" in check_access("0.0.0.0", tokens=True, admin=False).advice
    assert check_access("0.0.0.0", tokens=True, admin=True).verdict is Verdict.GOOD
    assert check_origin("0.0.0.0").verdict is Verdict.CAUTION


async def test_g2_a_history_that_cannot_be_kept_is_a_note(tmp_path: Path) -> None:
    for file, verdict in ((tmp_path / "history.db", Verdict.GOOD), (tmp_path, Verdict.CAUTION)):
        history = History(file, retention_days=1, avatar_name="Eman")
        assert (await check_history(history, file)).verdict is verdict
    assert (await check_history(History(None, retention_days=1, avatar_name="Eman"), None)).verdict is Verdict.GOOD


async def test_f4_counts_the_pictures_that_may_be_behind_a_presenter(tmp_path: Path) -> None:
    face = VectorFace(backgrounds=str(fill(tmp_path / "rooms")))
    await face.start()
    assert await draw(face) == "draws (256×256, 5 background pictures)"
    plain = VectorFace()
    await plain.start()
    assert await draw(plain) == "draws (256×256)"

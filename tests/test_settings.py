"""Settings: one schema, layered sources, wrong keys and values refused with their path."""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml

import app
from config.layers import DEFAULT_FILE, load_settings
from config.secrets import public_view
from config.settings import Settings
from config.wiring import turn_settings
from core.errors import SettingsError


def load(**overrides: str) -> Settings:
    return load_settings(overrides={key.replace("__", "."): value for key, value in overrides.items()}, env={})


def test_defaults_are_complete_and_local() -> None:
    settings = load()
    assert (settings.server.host, settings.server.port) == ("127.0.0.1", 8010)
    assert settings.dialogue.engine == "demo"


def test_every_default_key_is_documented() -> None:
    lines = DEFAULT_FILE.read_text(encoding="utf-8").splitlines()
    undocumented = [
        line for line in lines
        if line.startswith("  ") and ":" in line and "#" not in line and line.split(":")[1].strip() not in ("", "{}")
    ]  # fmt: skip
    # the members of a documented group may speak for themselves, but not many
    assert len(undocumented) <= 4, undocumented


def test_layers_override_each_other(tmp_path: Path) -> None:
    file = tmp_path / "mine.yaml"
    file.write_text("server: {port: 1111, host: 0.0.0.0}\nlimits: {max_sessions: 3}\n")
    settings = load_settings(file, {"server.port": "3333"}, {"EMAN_SERVER__PORT": "2222", "EMAN_MEDIA__WIDTH": "640"})
    assert (settings.server.port, settings.server.host) == (3333, "0.0.0.0")
    assert (settings.limits.max_sessions, settings.media.width) == (3, 640)


@pytest.mark.parametrize(
    ("key", "value", "said"),
    [
        ("server.prot", "1", ["server.prot", "did you mean 'port'", "allowed here"]),
        ("sever.port", "1", ["sever", "allowed here: asr"]),
        ("media.width", "77", ["media.width", "multiple of 2", "77"]),
        ("server.port", "eighty", ["server.port", "integer"]),
        ("media.codec", "av1", ["media.codec", "'vp8' or 'h264'"]),
        ("turn.endpoint_shortest_ms", "1600", ["turn", "must not be above"]),
        ("turn.duplex", "both", ["turn.duplex", "half"]),
        ("turn.start_probability", "1.5", ["turn.start_probability", "less than or equal to 1"]),
        ("ice.servers", "[{urls: http://x}]", ["ice.servers.0.urls"]),
        ("server.port", "[", ["server.port", "not valid YAML"]),
    ],
)
def test_a_wrong_key_or_value_names_its_path_and_what_is_allowed(key: str, value: str, said: list[str]) -> None:
    with pytest.raises(SettingsError) as caught:
        load_settings(overrides={key: value}, env={})
    for words in said:
        assert words in str(caught.value)


def test_a_wrong_environment_variable_is_refused() -> None:
    with pytest.raises(SettingsError, match=r"server\.prot"):
        load_settings(env={"EMAN_SERVER__PROT": "1"})


def test_a_missing_or_broken_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match="can't be read"):
        load_settings(tmp_path / "none.yaml", env={})
    broken = tmp_path / "broken.yaml"
    broken.write_text("server: [")
    with pytest.raises(SettingsError, match="not valid YAML"):
        load_settings(broken, env={})
    broken.write_text("- 1")
    with pytest.raises(SettingsError, match="expected sections"):
        load_settings(broken, env={})


def test_an_all_digit_key_from_the_environment_is_text() -> None:
    settings = load_settings(env={"EMAN_DIALOGUE__OPENAI__API_KEY": "12345"})
    assert settings.dialogue.openai.api_key == "12345"


def test_secrets_are_masked_wherever_settings_are_shown() -> None:
    settings = load_settings(
        overrides={
            "dialogue.openai.api_key": "sk-very-secret",
            "ice.servers": "[{urls: 'turn:host:3478', username: u, credential: pass-word}]",
        },
        env={},
    )
    shown = yaml.safe_dump(public_view(settings))
    assert "sk-very-secret" not in shown
    assert "pass-word" not in shown
    assert "max_tokens: 400" in shown
    with pytest.raises(SettingsError) as caught:
        load_settings(overrides={"dialogue.openai.api_key": "[sk-very-secret]"}, env={})
    assert "sk-very" not in str(caught.value)


def test_options_of_the_chosen_engine_reach_the_adapter() -> None:
    settings = load(dialogue__engine="openai", dialogue__openai__model="tiny", dialogue__options="{temperature: 0}")
    options = settings.dialogue.engine_options()
    assert options["model"] == "tiny"
    assert options["temperature"] == 0
    assert "system_prompt" not in options  # null is left to the adapter
    foreign = load(tts__engine="my.voice:Voice", tts__options="{speed: 2}")
    assert foreign.tts.engine_options() == {"speed": 2}


def test_command_line(capsys: pytest.CaptureFixture[str]) -> None:
    assert app.main(["--port", "8123", "--set", "limits.max_sessions=2", "--print-config"]) == 0
    printed = yaml.safe_load(capsys.readouterr().out)
    assert printed["server"]["port"] == 8123
    assert printed["limits"]["max_sessions"] == 2
    assert app.main(["--set", "server.prot=1"]) == 2
    assert "did you mean 'port'" in capsys.readouterr().err
    assert app.main(["--set", "server.port"]) == 2
    assert "KEY=VALUE" in capsys.readouterr().err


def test_an_unknown_engine_is_refused_with_what_is_allowed(capsys: pytest.CaptureFixture[str]) -> None:
    assert app.main(["--set", "tts.engine=festival", "--port", "0"]) == 2
    assert "allowed: espeak" in capsys.readouterr().err
    assert app.main(["--set", "tts.engine=no.such:Thing", "--port", "0"]) == 2
    assert "can't be loaded" in capsys.readouterr().err


def test_k1_a_visitors_link_is_printed_and_told_to_be_needless_where_it_is(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    command = ["token", "--url", "https://avatar.example", "--set", f"history.path={tmp_path / 'history.db'}"]
    assert app.main(command) == 0
    printed = capsys.readouterr()
    assert printed.out.startswith("https://avatar.example/webrtcapichat.html#token=ey")
    assert "not needed" in printed.err
    assert app.main([*command, "--set", "auth.enabled=true", "--set", "auth.api_keys=[a-key-that-is-long]"]) == 0
    assert capsys.readouterr().err == ""


def test_the_engines_of_a_chain_have_the_options_of_their_own_sections() -> None:
    overrides = {
        "asr.engine": "chain",
        "asr.chain.engines": "[{engine: openai, model: whisper-1}, doubao, pocketsphinx]",
        "asr.openai.api_key": "sk-typed",
        "asr.doubao.language": "ja-JP",
    }
    options = load_settings(overrides=overrides, env={}).asr.engine_options()
    assert options["options"]["openai"]["api_key"] == "sk-typed"
    assert options["options"]["doubao"]["language"] == "ja-JP"
    assert options["options"]["pocketsphinx"] == {}


def test_a_wait_outside_the_bounds_moves_them() -> None:
    for silence, bounds in (("5000", (300, 5000)), ("100", (100, 1500)), ("600", (300, 1500))):
        turn = turn_settings(load_settings(overrides={"turn.endpoint_silence_ms": silence}, env={}))
        assert (turn.endpoint_shortest_ms, turn.endpoint_longest_ms) == bounds

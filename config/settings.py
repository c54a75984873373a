"""The schema of all settings and the one way to load them.

`default.yaml` beside this file is the only place where default values stand; this module holds types
and limits. Layers, weakest first: default.yaml, the user's YAML file, `EMAN_SECTION__KEY` in the
environment, overrides from the command line.
"""

from __future__ import annotations

import difflib
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Literal, Self

import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from core.errors import SettingsError

DEFAULT_FILE = Path(__file__).with_name("default.yaml")
LOCAL_FILE = Path(__file__).with_name("local.yaml")
ENV_PREFIX = "EMAN_"

Probability = Annotated[float, Field(ge=0, le=1)]
Millis = Annotated[int, Field(ge=0, le=60_000)]
Seconds = Annotated[float, Field(gt=0, le=3600)]
Options = dict[str, Any]


class Section(BaseModel):
    """One section: unknown keys are refused."""

    # numbers become text where text is wanted: an all-digit key given in the environment arrives as a number
    model_config = ConfigDict(extra="forbid", frozen=True, coerce_numbers_to_str=True)


class Server(Section):
    host: str
    port: int = Field(ge=0, le=65535)
    allowed_origins: list[str]
    trusted_proxies: list[str]


class Auth(Section):
    enabled: bool
    api_keys: list[str]
    admin_token: str
    secret: str
    token_days: float = Field(gt=0, le=3650)


class Compat(Section):
    livetalking: bool


class Limits(Section):
    max_sessions: int = Field(ge=1, le=1000)
    max_upload_mb: int = Field(ge=1, le=2048)
    max_upload_minutes: float = Field(gt=0, le=240)
    max_text_chars: int = Field(ge=1, le=1_000_000)
    max_queued_replies: int = Field(ge=1, le=1000)
    offers_per_minute: int = Field(ge=0, le=100_000)
    uploads_per_minute: int = Field(ge=0, le=100_000)
    messages_per_second: int = Field(ge=0, le=100_000)
    login_timeout_s: Seconds


class Lifecycle(Section):
    handshake_timeout_s: Seconds
    vanish_s: Seconds
    resume_s: Seconds
    reaper_interval_s: Seconds


class Media(Section):
    width: int = Field(ge=128, le=1920, multiple_of=2)
    height: int = Field(ge=128, le=1920, multiple_of=2)
    codec: Literal["vp8", "h264"]


class IceServer(Section):
    urls: str = Field(pattern=r"^(stun|turn|turns):.+")
    username: str | None = None
    credential: str | None = None


class Ice(Section):
    servers: list[IceServer]
    probe_timeout_s: Seconds
    probe_interval_s: Seconds


class Turn(Section):
    start_probability: Probability
    stop_probability: Probability
    min_speech_ms: Millis
    endpoint_silence_ms: Millis
    endpoint_shortest_ms: Millis
    endpoint_longest_ms: Millis
    preroll_ms: Millis
    barge_in_ms: Millis
    barge_in_level_db: float = Field(ge=-100, le=0)
    barge_in_words: int = Field(ge=1, le=20)
    barge_in_certain_ms: Millis
    max_turn_s: Seconds
    duplex: Literal["full", "half"]
    echo_tail_ms: Millis
    echo_margin_db: float = Field(ge=0, le=60)
    semantic_model: str | None

    @model_validator(mode="after")
    def _ordered(self) -> Self:
        if self.endpoint_shortest_ms > self.endpoint_longest_ms:
            raise ValueError("endpoint_shortest_ms must not be above endpoint_longest_ms")
        return self


class Stage(Section):
    """A replaceable stage: `engine` names the adapter; its own sub-section or `options` are its keyword arguments."""

    engine: str = Field(min_length=1)
    options: Options

    def engine_options(self) -> Options:
        """The keyword arguments for the chosen engine; unset (null) ones are left to the adapter."""
        section = getattr(self, self.engine, None) if self.engine.isidentifier() else None
        chosen = section.model_dump() if isinstance(section, BaseModel) else section
        merged = {**(chosen or {}), **self.options}
        return {key: value for key, value in merged.items() if value is not None}


class Asr(Stage):
    timeout_s: Seconds
    pocketsphinx: Options
    openai: Options
    doubao: Options
    funasr_runtime: Options
    funasr_custom: Options
    sherpa: Options
    automodel: Options
    chain: Options

    def engine_options(self) -> Options:
        """As for every stage; the engines of a chain have the options of their own sections."""
        options = super().engine_options()
        if self.engine != "chain":
            return options
        entries = [entry.get("engine") if isinstance(entry, dict) else entry for entry in options.get("engines", ())]
        named = [name for name in entries if isinstance(name, str) and name != "chain"]
        sections = {name: self.model_copy(update={"engine": name, "options": {}}) for name in named}
        own = {name: section.engine_options() for name, section in sections.items()}
        return {**options, "options": {**own, **options.get("options", {})}}


class OpenAI(Section):
    base_url: str = Field(pattern=r"^https?://")
    api_key: str
    model: str = Field(min_length=1)
    system_prompt: str | None
    temperature: float = Field(ge=0, le=2)
    max_tokens: int = Field(ge=1, le=100_000)


class Dialogue(Stage):
    timeout_s: Seconds
    history_turns: int = Field(ge=0, le=1000)
    demo: Options
    openai: OpenAI

    def engine_options(self) -> Options:
        """As for every stage; the OpenAI engine also obeys this section's time limit and history."""
        shared = {"timeout_s": self.timeout_s, "history_turns": self.history_turns}
        return {**(shared if self.engine == "openai" else {}), **super().engine_options()}


class Espeak(Section):
    voice: str | None
    variant: str
    rate_wpm: int = Field(ge=80, le=450)
    chinese_rate_wpm: int = Field(ge=80, le=450)
    pitch: int = Field(ge=0, le=99)


class Tts(Stage):
    timeout_s: Seconds
    espeak: Espeak


class Xiaozhi(Section):
    url: str = Field(pattern=r"^(wss?://.+)?$")
    ota_url: str = Field(pattern=r"^(https?://.+)?$")
    token: str
    device_id: str = Field(pattern=r"^([0-9a-f]{2}(:[0-9a-f]{2}){5})?$")
    client_id: str
    version: int = Field(ge=1, le=3)
    mode: Literal["manual", "auto", "realtime"]
    frame_ms: Literal[20, 40, 60]


class Voice(Stage):
    engine: str
    sessions: Literal["all", "asked"]
    timeout_s: Seconds
    xiaozhi: Xiaozhi


class LipSync(Stage):
    pass


class VectorFace(Section):
    presenter: str = Field(min_length=1)
    background: str | None
    backgrounds: str | None


class Face(Stage):
    vector: VectorFace


class Clip(Section):
    audiotype: int = Field(ge=2, le=1_000_000)
    pictures: str = Field(min_length=1)
    sound: str | None = None
    loop: bool | None = None
    fit: Literal["cover", "contain"] = "cover"
    name: str = Field(default="", max_length=64)


class Avatar(Section):
    name: str = Field(min_length=1, max_length=40)
    clips: list[Clip]
    clips_folder: str | None


class History(Section):
    enabled: bool
    path: str | None
    retention_days: float = Field(gt=0, le=36_500)

    def file(self) -> Path | None:
        """The database; None when nothing is kept."""
        if not self.enabled:
            return None
        return Path(self.path).expanduser() if self.path else data_folder() / "history.db"


class Page(Section):
    backgrounds: list[str]
    control_url: str = Field(pattern=r"^(wss?://.+)?$")


RoutePath = Annotated[str, Field(pattern=r"^/[A-Za-z0-9._~/-]*$")]


class XiaozhiDevices(Section):
    enabled: bool
    paths: list[RoutePath] = Field(min_length=1)
    ota_paths: list[RoutePath]
    url: str = Field(pattern=r"^(wss?://.+)?$")
    token: str = Field(pattern=r"^([!-~]{16,512})?$")
    devices: list[str]
    presenter: str
    background: str
    greeting: str = Field(max_length=500)
    wake_words: list[str]
    idle_s: Seconds


class Log(Section):
    level: Literal["debug", "info", "warning", "error"]
    format: Literal["console", "json"]


class Settings(Section):
    """All settings; see default.yaml for what each means."""

    server: Server
    auth: Auth
    compat: Compat
    limits: Limits
    lifecycle: Lifecycle
    media: Media
    ice: Ice
    turn: Turn
    asr: Asr
    dialogue: Dialogue
    tts: Tts
    voice: Voice
    lipsync: LipSync
    face: Face
    avatar: Avatar
    history: History
    page: Page
    xiaozhi: XiaozhiDevices
    log: Log


def data_folder() -> Path:
    """Where the program keeps what must outlive it (XDG Base Directory Specification)."""
    return Path(os.environ.get("XDG_DATA_HOME") or Path.home() / ".local" / "share") / "eman"


def load_settings(
    file: Path | None = None, overrides: Mapping[str, str] | None = None, env: Mapping[str, str] | None = None
) -> Settings:
    """Settings from all layers.

    `file`: the user's YAML (default: config/local.yaml if it exists); `overrides`: dotted key → YAML text,
    as from `--set`. Raises `SettingsError` naming the key's path and what is allowed.
    """
    merged = _read_yaml(DEFAULT_FILE)
    if file is not None or LOCAL_FILE.exists():
        _merge(merged, _read_yaml(file or LOCAL_FILE))
    _merge(merged, _from_environment(os.environ if env is None else env))
    for dotted, text in (overrides or {}).items():
        _merge(merged, _nest(dotted.split("."), _parse_value(text, dotted)))
    try:
        return Settings(**merged)
    except ValidationError as error:
        raise SettingsError("\n".join(_explain(item) for item in error.errors())) from None


def public_view(settings: Settings) -> dict[str, Any]:
    """The settings as a dict with secrets masked, for `--print-config` and the admin API."""
    view: dict[str, Any] = _masked(settings.model_dump(mode="json"))
    return view


_SECRET_WORDS = ("key", "keys", "secret", "token", "password", "credential")


def _masked(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _hidden(item) if _is_secret(key) else _masked(item) for key, item in value.items()}
    return [_masked(item) for item in value] if isinstance(value, list) else value


def _hidden(value: Any) -> Any:
    if isinstance(value, list):
        return ["***" for _ in value]
    return "***" if value and isinstance(value, str) else _masked(value)


def _is_secret(key: str) -> bool:
    # "max_tokens" counts tokens; it is none
    return any(key == word or key.endswith("_" + word) for word in _SECRET_WORDS)


def _read_yaml(path: Path) -> dict[str, Any]:
    try:
        data = yaml.safe_load(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise SettingsError(f"{path}: can't be read ({error.strerror})") from error
    except yaml.YAMLError as error:
        raise SettingsError(f"{path}: not valid YAML: {error}") from error
    if data is None:
        return {}
    if not isinstance(data, dict):
        raise SettingsError(f"{path}: expected sections such as 'server:', got {type(data).__name__}")
    return data


def _from_environment(env: Mapping[str, str]) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for name, text in env.items():
        if name.upper().startswith(ENV_PREFIX):
            path = name[len(ENV_PREFIX) :].lower().split("__")
            _merge(found, _nest(path, _parse_value(text, name)))
    return found


def _parse_value(text: str, where: str) -> Any:
    try:
        return yaml.safe_load(text) if text.strip() else ""
    except yaml.YAMLError:
        raise SettingsError(f"{where}: value is not valid YAML: {text[:40]!r}") from None


def _nest(path: list[str], value: Any) -> dict[str, Any]:
    nested: Any = value
    for key in reversed(path):
        nested = {key: nested}
    result: dict[str, Any] = nested
    return result


def _merge(base: dict[str, Any], over: dict[str, Any]) -> None:
    for key, value in over.items():
        if isinstance(value, dict) and isinstance(base.get(key), dict):
            _merge(base[key], value)
        else:
            base[key] = value


def _explain(item: Any) -> str:
    path = ".".join(str(part) for part in item["loc"])
    if item["type"] == "extra_forbidden":
        return f"{path}: unknown key; {_allowed_keys(item['loc'])}"
    return f"{path}: {item['msg']} (got {_shorten(item.get('input'), path)})"


def _shorten(value: Any, path: str) -> str:
    return "a secret" if any(map(_is_secret, path.split("."))) else repr(value)[:60]


def _allowed_keys(loc: tuple[str | int, ...]) -> str:
    node: Any = _read_yaml(DEFAULT_FILE)
    for part in loc[:-1]:
        node = node.get(part, {}) if isinstance(node, dict) else {}
    keys = sorted(node) if isinstance(node, dict) else []
    close = difflib.get_close_matches(str(loc[-1]), keys, n=1)
    hint = f"did you mean '{close[0]}'? " if close else ""
    return f"{hint}allowed here: {', '.join(keys)}"

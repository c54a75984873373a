"""The schema of all settings: types and limits. Default values stand in `default.yaml` beside this file."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Annotated, Any, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, model_validator

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

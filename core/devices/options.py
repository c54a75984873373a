"""How the server treats devices: see `xiaozhi` in config/default.yaml."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from core.devices.wake_words import WakeWords


@dataclass(frozen=True, slots=True)
class TalkOptions:
    """`greeting` is spoken when a wake word was said, "" for nothing; a device without voice for `idle_s` is let go."""

    greeting: str = ""
    wake_words: WakeWords = field(default_factory=lambda: WakeWords(()))
    idle_s: float = 120.0
    max_text_chars: int = 4000


@dataclass(frozen=True, slots=True)
class DeviceOptions:
    """`url`: what devices are told in place of the first of `paths` here."""

    paths: Sequence[str] = ("/xiaozhi/v1/",)
    ota_paths: Sequence[str] = ("/xiaozhi/ota/",)
    url: str = ""
    presenter: str = ""
    background: str = ""
    talk: TalkOptions = field(default_factory=TalkOptions)

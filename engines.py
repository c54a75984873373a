"""The engines of a server: one adapter for each stage, loaded by the settings and shared by all its sessions."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

import asr
import avatar.face
import avatar.lipsync
import avatar.tts
import core.dialogue
from asr.end_of_turn import EndOfTurnNetwork
from config.settings import Settings
from core.stages import Adapter, VoiceService, load_adapter


class Engines:
    """`start`, then sessions, then `close`. Raises `AdapterError` for one that there is not."""

    def __init__(self, settings: Settings) -> None:
        asr_, mind, tts = settings.asr, settings.dialogue, settings.tts
        lips, face, voice = settings.lipsync, settings.face, settings.voice
        self.recognizer = load_adapter("asr", asr_.engine, asr.ADAPTERS, asr_.engine_options())
        self.dialogue = load_adapter("dialogue", mind.engine, core.dialogue.ADAPTERS, mind.engine_options())
        self.synthesizer = load_adapter("tts", tts.engine, avatar.tts.ADAPTERS, tts.engine_options())
        self.voice: VoiceService | None = None
        if voice.engine:
            self.voice = load_adapter("voice", voice.engine, core.dialogue.VOICES, voice.engine_options())
        self.lipsync = load_adapter("lipsync", lips.engine, avatar.lipsync.ADAPTERS, lips.engine_options())
        self.face = load_adapter("face", face.engine, avatar.face.ADAPTERS, face.engine_options())
        model = settings.turn.semantic_model
        self.end_of_turn = EndOfTurnNetwork(model) if model else None

    @property
    def by_stage(self) -> dict[str, Adapter]:
        """The adapters by the names of their stages."""
        voice = {"voice": self.voice} if self.voice is not None else {}
        return {
            "asr": self.recognizer, "dialogue": self.dialogue, "tts": self.synthesizer, **voice,
            "lipsync": self.lipsync, "face": self.face,
        }  # fmt: skip

    async def start(self, arrived: Callable[[str], None]) -> None:
        """Start all at once; `arrived` is told each stage that is there. Raises `AdapterError`."""

        async def start(stage: str, adapter: Adapter) -> None:
            await adapter.start()
            arrived(stage)

        await asyncio.gather(self._start_end_of_turn(), *(start(*item) for item in self.by_stage.items()))

    async def close(self) -> None:
        """Free them."""
        await asyncio.gather(*(adapter.close() for adapter in self.by_stage.values()))
        if self.end_of_turn is not None:
            await self.end_of_turn.close()

    async def _start_end_of_turn(self) -> None:
        if self.end_of_turn is not None:
            await self.end_of_turn.start()

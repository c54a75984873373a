"""Doubao for the contract tests: the simulator, knowing the sentences that these tests speak."""

from __future__ import annotations

import contextlib
import functools
import math
from collections.abc import AsyncIterator

import numpy as np

from asr.doubao.recognizer import DoubaoRecognizer
from core.frames import LISTEN_RATE
from tests.simulators.doubao import ACCESS_KEY, APP_KEY, DoubaoServer
from tests.speech import flite

SAID = (
    ("what is seven times six", "rms"),
    ("hello how are you today", "rms"),
    ("hello how are you today", "slt"),
    ("what is seven times six and who are you", "rms"),
)


@functools.cache
def known() -> dict[bytes, str]:
    """Sound → words."""
    pause = np.zeros(LISTEN_RATE, np.int16)
    sounds = ((text, np.concatenate([pause, flite(text, voice, LISTEN_RATE), pause])) for text, voice in SAID)
    return {sound.astype("<i2").tobytes(): text for text, sound in sounds}


def recognise(pcm: bytes) -> str:
    """As many words of the sentence as its sound is there."""
    for sound, text in known().items():
        if pcm in sound:
            words = text.split()
            return " ".join(words[: math.ceil(len(words) * len(pcm) / (0.8 * (len(sound) - 4 * LISTEN_RATE)))])
    return ""


@contextlib.asynccontextmanager
async def served() -> AsyncIterator[DoubaoRecognizer]:
    """The adapter with a server that accepts its keys."""
    async with DoubaoServer(recognise) as server:
        yield DoubaoRecognizer(host=server.host, app_key=APP_KEY, access_key=ACCESS_KEY)

"""A device with the embedded recogniser and voice: spoken words in, spoken words out."""

from __future__ import annotations

import asyncio
import time

import numpy as np

from tests.avatar_client import loudness
from tests.conftest import Serve
from tests.simulators.xiaozhi_device import XiaozhiDevice
from tests.speech import flite

EMBEDDED = {
    "asr__engine": "pocketsphinx",
    "asr__options": "{}",
    "tts__engine": "espeak",
}


async def test_h1_e1_a_spoken_question_is_answered_and_may_be_interrupted(serving: Serve) -> None:
    async with serving(**EMBEDDED) as server:
        url = server.url.replace("http", "ws") + "/xiaozhi/v1/"
        async with XiaozhiDevice(url) as device:
            await device.listen("auto")
            device.say(flite("what time is it", rate=16_000))
            stt = await device.message("stt", timeout=60)
            assert "time" in stt["text"]
            stopped = await device.when("tts", timeout=60, state="stop")
            assert loudness(np.concatenate([sound for _, sound in device.heard])) > 0.02
            assert stopped >= device.rules.played_until
        async with XiaozhiDevice(url) as device:  # the same conversation
            await device.listen("realtime")
            server.engines.dialogue.answer = " ".join(
                f"This is sentence number {number} of a story." for number in range(12)
            )
            device.say(flite("tell me a story", rate=16_000))
            await device.message("tts", timeout=60, state="sentence_start")
            await asyncio.sleep(1.0)
            over = time.monotonic()
            device.say(flite("stop it please what is your name", rate=16_000))
            await device.message("tts", timeout=60, since=over, state="stop")
            assert len(device.heard) * 0.06 < 12  # of about 20 s
            await device.message("stt", timeout=60, since=over)

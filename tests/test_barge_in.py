"""Talking over the avatar, with a real microphone track and real speech."""

from __future__ import annotations

import asyncio
import time

import numpy as np
import pytest

from tests.avatar_client import AvatarClient, WavMicrophone
from tests.conftest import Serve
from tests.speech import flite

LONG = " ".join(["word"] * 60)


async def speaking(client: AvatarClient) -> float:
    """Let the avatar speak a long text; returns when it is audible."""
    asked = time.monotonic()
    await client.human(LONG)
    return await client.audible(asked)


async def test_speech_over_the_avatar_interrupts_it_and_is_answered(serving: Serve) -> None:
    microphone = WavMicrophone()
    async with serving() as server, AvatarClient(server.url, microphone=microphone) as client:
        await client.connect()
        await client.login()
        await speaking(client)
        await asyncio.sleep(1.0)
        spoke = time.monotonic()
        microphone.say(flite("excuse me, could you tell me something else please"))
        interrupted = await client.message("reply", state="interrupted")
        assert 1 <= len(interrupted["text"].split()) < 30
        assert (await client.message("status_update", status="interrupted"))["Username"] == f"User_{client.session}"
        quiet = await client.silence(spoke)
        assert quiet - spoke < 2.0
        # the whole utterance is heard, its beginning included, and answered
        final = await client.message("asr_result", is_final=True)
        assert float(final["text"].split()[0]) > 2.0
        await client.message("reply", state="end", text="One two three. Four five six.")


@pytest.mark.parametrize(
    ("what", "sound"),
    [
        ("a cough", np.random.default_rng(3).normal(0, 6000, 48_000 // 7).astype(np.int16)),
        ("a door", (np.sin(np.arange(24_000) * 0.01) * 12_000 * np.exp(-np.arange(24_000) / 3000)).astype(np.int16)),
    ],
)
async def test_a_noise_over_the_avatar_does_not_interrupt(serving: Serve, what: str, sound: np.ndarray) -> None:
    microphone = WavMicrophone()
    async with serving() as server, AvatarClient(server.url, microphone=microphone) as client:
        await client.connect()
        await client.login()
        await speaking(client)
        await asyncio.sleep(0.5)
        microphone.say(sound)
        await asyncio.sleep(2.0)
        assert not [m for m in client.messages if m.get("state") == "interrupted"], what
        assert server.sessions.all()[0].media.status()["speaking"]


async def test_the_avatars_own_voice_leaking_back_does_not_interrupt(serving: Serve) -> None:
    """The microphone hears what the client receives, 20 dB down: a loudspeaker without echo cancelling."""
    microphone = WavMicrophone()
    overrides = {"tts__engine": "espeak"}
    async with serving(**overrides) as server, AvatarClient(server.url, microphone=microphone) as client:
        await client.connect()
        await client.login()
        asked = time.monotonic()
        await client.human("This is a rather long text that the avatar speaks while its voice comes back. " * 2)
        await client.audible(asked)
        leak = asyncio.create_task(_leak(client, microphone))
        await client.message("reply", state="end")
        leak.cancel()
        assert not [m for m in client.messages if m.get("state") == "interrupted"]
        assert not [m for m in client.messages if m["type"] == "asr_result" and m["text"]]


async def _leak(client: AvatarClient, microphone: WavMicrophone) -> None:
    sent = len(client.sound)
    echo: list[np.ndarray] = []
    while True:
        await asyncio.sleep(0.02)
        for _, _, samples in client.sound[sent:]:
            echo.append((samples * 0.1).astype(np.int16))
        sent = len(client.sound)
        microphone.leak(echo)


async def test_speech_right_after_the_avatar_has_finished_is_heard(serving: Serve) -> None:
    microphone = WavMicrophone()
    async with serving() as server, AvatarClient(server.url, microphone=microphone) as client:
        await client.connect()
        await client.login()
        await client.human("one two three")
        await client.message("reply", state="end")
        await asyncio.sleep(0.4)
        microphone.say(flite("and now it is my turn"))
        final = await client.message("asr_result", is_final=True)
        assert float(final["text"].split()[0]) > 0.8

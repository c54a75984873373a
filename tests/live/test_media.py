"""Media both ways between here and a running server."""

from __future__ import annotations

import asyncio
import io
import time
import wave

import numpy as np
import pytest

from tests.avatar_client import WavMicrophone, loudness
from tests.live.visitor import Installation, lips_follow
from tests.offers import real_offer

NOTICED = "speech was noticed but got no transcript: look at the recogniser (asr) in the server's log"
UNNOTICED = "the microphone's speech was not noticed: media flows from the server to here, but not the other way?"
TEXT = "one two three four five. six seven eight."


def tone(seconds: float) -> bytes:
    buffer = io.BytesIO()
    with wave.open(buffer, "wb") as file:
        file.setnchannels(1)
        file.setsampwidth(2)
        file.setframerate(16_000)
        samples = 9000 * np.sin(2 * np.pi * 440 * np.arange(int(seconds * 16_000)) / 16_000)
        file.writeframes(samples.astype("<i2").tobytes())
    return buffer.getvalue()


async def test_pictures_and_sound_arrive_at_their_pace(installation: Installation) -> None:
    async with installation.visit() as visitor:
        await asyncio.sleep(0.5)
        begun, pictures, sounds = time.monotonic(), len(visitor.pictures), len(visitor.sound)
        await asyncio.sleep(3)
        seconds = time.monotonic() - begun
        rate = (len(visitor.pictures) - pictures) / seconds
        assert 22 <= rate <= 27, (
            f"{rate:.1f} pictures per second instead of 25: is the server (or this machine) too busy?"
        )
        rate = (len(visitor.sound) - sounds) / seconds
        assert 45 <= rate <= 55, f"{rate:.1f} pieces of sound per second instead of 50: packets are lost on the way"
        assert (np.diff([at for _, at, _ in visitor.pictures]) > 0).all()


async def test_a_text_is_heard_and_its_subtitles_are_told(installation: Installation) -> None:
    async with installation.visit() as visitor:
        asked = time.monotonic()
        assert (await visitor.human(TEXT))["code"] == 0
        await visitor.told("a text was sent", "reply", state="start")
        await visitor.heard_after(asked, "a text")
        ended = await visitor.told("a text was spoken", "reply", state="end")
        assert "seven" in ended["text"]
        await visitor.silence(asked)
        assert loudness(visitor.heard(asked)) > 0.005


async def test_the_lips_move_with_the_sound(installation: Installation) -> None:
    async with installation.visit() as visitor:
        await asyncio.sleep(1)
        asked = time.monotonic()
        await visitor.human("Papa, Mama. Papa, Mama, Papa.")
        began = await visitor.heard_after(asked, "a text")
        ended = await visitor.silence(began, length=1.2)
        follow = lips_follow(visitor, began - 0.8, ended + 0.8)
        reason = f"no part of the face moves with the sound (r = {follow:.2f}): look at the lip-sync adapter"
        assert follow >= 0.6, reason


async def test_an_interruption_is_heard_at_once(installation: Installation) -> None:
    async with installation.visit() as visitor:
        asked = time.monotonic()
        await visitor.human(TEXT * 5)
        await visitor.heard_after(asked, "a long text")
        await asyncio.sleep(0.5)
        interrupted = time.monotonic()
        assert (await visitor.post("/interrupt_talk", sessionid=visitor.session))["code"] == 0
        last = await visitor.silence(interrupted, length=0.6)
        assert last - interrupted < 1.0, f"it went on for {last - interrupted:.1f} s after the interruption"
        await visitor.told("an answer was interrupted", "reply", state="interrupted")


async def test_an_upload_is_heard(installation: Installation) -> None:
    async with installation.visit() as visitor:
        asked = time.monotonic()
        answer = await visitor.upload(tone(1.0))
        assert answer["code"] == 0, f"the upload was refused: {answer} (does a proxy limit bodies?)"
        began = await visitor.heard_after(asked, "an upload")
        assert 0.7 < await visitor.silence(began) - began < 1.6
        assert (await visitor.upload(b"this is no sound"))["code"] == -1


async def test_what_is_said_to_it_is_heard_and_answered(installation: Installation) -> None:
    microphone = WavMicrophone()
    async with installation.visit(microphone=microphone) as visitor:
        asked = time.monotonic()
        await visitor.human("What is seven times six?")  # its own voice, played back to it, asks the question
        began = await visitor.heard_after(asked, "a text")
        await visitor.silence(began, length=0.8)
        microphone.say(visitor.heard(began - 0.1))
        try:
            said = await visitor.message("asr_result", installation.patience, is_final=True)
        except TimeoutError:
            states = [m["status"] for m in visitor.messages if m["type"] == "status_update"]
            noticed = "listening" in states
            pytest.fail(NOTICED if noticed else f"{UNNOTICED} States: {states}", pytrace=False)
        assert said["text"], "the recogniser understood nothing of clear speech"
        await visitor.told("speech was understood", "status_update", status="thinking")


async def test_a_session_is_resumed_with_its_token_only(installation: Installation) -> None:
    async with installation.visit() as visitor:
        async with installation.visit(sessionid=visitor.session, token=visitor.answer["token"]) as again:
            assert again.session == visitor.session
            asked = time.monotonic()
            await again.human("hello again")
            await again.heard_after(asked, "a text after resuming")
            stranger = await installation.offer(await real_offer(), sessionid=visitor.session, token="wrong")
            assert stranger.get("error") == "auth_failed", f"a wrong token took the session over: {stranger}"
        visitor.answer.pop("token")  # hung up already

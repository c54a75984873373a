"""Talking over the avatar, with a real microphone track and real speech."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable

import numpy as np
import pytest

from core.errors import RecognizerError
from core.frames import LISTEN_RATE, Samples, Transcript
from server import Server
from tests.avatar_client import AUDIBLE, AvatarClient, WavMicrophone, loudness
from tests.conftest import Serve
from tests.speech import flite

pytestmark = pytest.mark.alone

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
        # on a machine that stalls the echo jumps: it may be listened to for a moment, and is then withdrawn
        assert not [m for m in client.messages if m["type"] == "asr_result" and m["is_final"] and m["text"]]


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


class Hearing:
    """A recogniser that hears what a test says it hears: `partial` once half a second came, `final` at the end."""

    name = "hearing"
    languages = ("en",)
    partial = ""
    final = ""

    async def start(self) -> None:
        """Nothing to load."""

    async def close(self) -> None:
        """Nothing to free."""

    def open(self, on_partial: Callable[[Transcript], None]) -> HearingStream:
        return HearingStream(self, on_partial)


class HearingStream:
    def __init__(self, owner: Hearing, on_partial: Callable[[Transcript], None]) -> None:
        self._owner, self._on_partial, self._count = owner, on_partial, 0

    def push(self, samples: Samples) -> None:
        self._count += len(samples)
        if self._owner.partial and self._count > LISTEN_RATE // 2:
            self._on_partial(Transcript(self._owner.partial, final=False))

    async def finish(self) -> Transcript:
        return Transcript(self._owner.final)

    async def cancel(self) -> None:
        self._count = 0


HEARING = "tests.test_barge_in:Hearing"


def listens_to(server: Server, partial: str, final: str) -> None:
    recognizer = server.engines.recognizer
    assert isinstance(recognizer, Hearing)
    recognizer.partial, recognizer.final = partial, final


@pytest.mark.parametrize(("partial", "final"), [("yeah", "yeah"), ("", "mm hm"), ("", "")])
async def test_e1_a_back_channel_word_holds_the_avatar_and_it_goes_on(serving: Serve, partial: str, final: str) -> None:
    microphone = WavMicrophone()
    async with serving(asr__engine=HEARING) as server, AvatarClient(server.url, microphone=microphone) as client:
        await client.connect()
        await client.login()
        listens_to(server, partial, final)
        await client.human(" ".join(["word"] * 25))
        await client.audible(0.0)
        await asyncio.sleep(1.0)
        spoke = time.monotonic()
        microphone.say(flite("all right", "slt"))
        await client.message("status_update", status="listening")
        held = await client.silence(spoke, 0.2)
        assert held - spoke < 1.0
        again = await client.audible(held + 0.1)
        assert again - held < 2.5
        end = await client.message("reply", state="end")
        assert end["text"] == " ".join(["word"] * 25)
        assert not [m for m in client.messages if m.get("state") == "interrupted"]
        assert not [m for m in client.messages if m["type"] == "asr_result" and m["is_final"] and m["text"]]
        await client.message("status_update", status="idle")
        doing = [m["status"] for m in client.messages if m["type"] == "status_update"]
        assert doing == ["speaking", "listening", "recognizing", "speaking", "idle"]
        # every word was played: five seconds of sound, and a little of it twice
        heard = sum(loudness(samples) > AUDIBLE for _, _, samples in client.sound) * 0.02
        assert 4.9 <= heard <= 5.5


async def test_e1_a_real_word_over_the_avatar_stops_it_and_is_answered(serving: Serve) -> None:
    microphone = WavMicrophone()
    async with serving(asr__engine=HEARING) as server, AvatarClient(server.url, microphone=microphone) as client:
        await client.connect()
        await client.login()
        listens_to(server, "", "stop now")  # no partials: the final transcript decides
        await speaking(client)
        await asyncio.sleep(1.0)
        microphone.say(flite("stop now"))
        interrupted = await client.message("reply", state="interrupted")
        assert 3 <= len(interrupted["text"].split()) < 20
        await client.message("reply", state="end", text="One two three. Four five six.")
        doing = [m["status"] for m in client.messages if m["type"] == "status_update"]
        assert doing[:4] == ["speaking", "listening", "recognizing", "interrupted"]


async def test_a_recogniser_that_fails_lets_the_avatar_go_on(serving: Serve) -> None:
    microphone = WavMicrophone()
    deaf = "tests.test_barge_in:Deaf"
    async with serving(asr__engine=deaf) as server, AvatarClient(server.url, microphone=microphone) as client:
        await client.connect()
        await client.login()
        await client.human(" ".join(["word"] * 20))
        await client.audible(0.0)
        await asyncio.sleep(0.5)
        microphone.say(flite("all right"))
        await client.message("status_update", status="error")
        assert (await client.message("reply", state="end"))["text"] == " ".join(["word"] * 20)
        await client.message("status_update", status="idle")
        doing = [m["status"] for m in client.messages if m["type"] == "status_update"]
        assert doing == ["speaking", "listening", "recognizing", "error", "speaking", "idle"]


class Deaf(Hearing):
    """Fails at the end of every turn."""

    def open(self, on_partial: Callable[[Transcript], None]) -> DeafStream:
        return DeafStream(self, on_partial)


class DeafStream(HearingStream):
    async def finish(self) -> Transcript:
        raise RecognizerError("the server is away", retryable=True)


async def test_half_duplex_hears_nothing_while_the_avatar_sounds(serving: Serve) -> None:
    microphone = WavMicrophone()
    async with serving(turn__duplex="half") as server, AvatarClient(server.url, microphone=microphone) as client:
        await client.connect()
        await client.login()
        await client.human(" ".join(["word"] * 12))
        await client.audible(0.0)
        microphone.say(flite("this must not be heard by anybody"))
        assert (await client.message("reply", state="end"))["text"] == " ".join(["word"] * 12)
        assert not [m for m in client.messages if m["type"] == "asr_result"]
        await asyncio.sleep(0.5)
        microphone.say(flite("and now it is my turn"))
        assert float((await client.message("asr_result", is_final=True))["text"].split()[0]) > 0.8
        # the talk key interrupts all the same
        await client.message("reply", state="end", text="One two three. Four five six.")
        await client.human(LONG)
        await client.message("status_update", status="speaking")
        await client.audible(time.monotonic())
        await client.send(type="listen", state="start")
        await client.message("reply", state="interrupted")

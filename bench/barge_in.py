"""Speech over the avatar to silence received, while its own voice comes back through the microphone 20 dB weaker.

First offline, on the sound's own clock (bench/echo_room.py): ten minutes of the avatar's voice alone must not
interrupt it; then real speech of another synthesizer must, fifty times, in the same session. Then the same over
WebRTC, where the client's microphone mixes in what the client has received, 20 dB weaker and 120 ms later.

A success is an interruption that was really meant: the avatar is silent at most 450 ms after the user's first sample
(from which the guard of 250 ms takes its part), and its reply ends as interrupted. Nothing answers the objection: an
answer would sound like an avatar that goes on. Where the avatar happened to pause between two words it was silent
already: those times are below the guard's.
"""

from __future__ import annotations

import asyncio
from typing import Any

import numpy as np
from av import AudioFrame
from numpy.typing import NDArray

from bench.client import AUDIBLE, Client, Lag
from bench.echo_room import PACKET_S, EchoRoom, avatar_voice
from bench.processes import ServerProcess
from bench.result import Figure, Options, Result, pinnable
from bench.sounds import RATE, SENTENCES, Microphone, long_text, spoken
from core.frames import LISTEN_RATE
from tests.speech import resample

COUPLING_DB = -20.0
GOAL_MS = 450
USER_DB = -26.0
ECHO_DELAY_BLOCKS = 6
OBJECTIONS = (
    "stop it please", "excuse me for a moment", "wait a minute", "can you tell me something else", "no that is wrong",
    "please be quiet now", "hold on a second", "what about the weather", "I have another question",
    "let me say something",
)  # fmt: skip
VOICES = ("slt", "rms")


class EchoingMicrophone(Microphone):
    """A microphone that also hears what its own client plays."""

    def __init__(self) -> None:
        super().__init__()
        self.client: Client | None = None
        self._taken = 0

    async def recv(self) -> AudioFrame:
        """See `Microphone`, with the echo."""
        frame = await super().recv()
        block = frame.to_ndarray().reshape(-1).astype(np.float64) + self._echo()
        mixed = AudioFrame.from_ndarray(np.clip(block, -32768, 32767).astype(np.int16)[None, :], layout="mono")
        mixed.sample_rate, mixed.pts, mixed.time_base = RATE, frame.pts, frame.time_base
        return mixed

    def _echo(self) -> NDArray[np.float64]:
        silence = np.zeros(RATE // 50)
        if self.client is None:
            return silence
        sound = self.client.sound
        sound.update()
        due = len(sound.blocks) - ECHO_DELAY_BLOCKS
        # in step with what arrives, whatever the two clocks do
        self._taken = min(max(self._taken + 1, due - 2), due + 2)
        if not 0 <= self._taken < len(sound.blocks) or len(sound.blocks[self._taken]) != len(silence):
            return silence
        echo: NDArray[np.float64] = sound.blocks[self._taken] * 10 ** (COUPLING_DB / 20)
        return echo


async def measure(options: Options) -> Result:
    """See the module."""
    alone, holds, offline = await asyncio.to_thread(_offline, options.duration(600, 40), options.count(50, 6))
    track = EchoingMicrophone()
    mute = ServerProcess("dialogue.engine=bench.mute:MuteDialogue", pinned=pinnable(options))
    async with mute as server, Lag() as lag:
        async with Client(server.url, microphone=track) as client:
            await client.connect()
            await client.login()
            track.client = client
            await asyncio.sleep(1.5)
            false, seconds = await _alone(client, options.duration(120, 15))
            live = [await _object(client, track, number) for number in range(options.count(50, 4))]
        complaints = server.complaints()
    figures = [
        Figure("false interruptions by its own voice, simulated", "", [alone], goal=0),
        Figure("… times it was held for nothing", "", [holds]),
        *_figures("simulated", offline),
        Figure("false interruptions by its own voice, over WebRTC", "", [false], goal=0),
        *_figures("over WebRTC", live),
    ]
    details: dict[str, Any] = {"client_lag_max_ms": round(lag.worst_ms, 1), "complaints": complaints,
                               "own_voice_seconds": {"simulated": options.duration(600, 40), "webrtc": round(seconds)},
                               "silenced_ms": {"simulated": offline, "webrtc": live}}  # fmt: skip
    settings = {"coupling_db": COUPLING_DB, "user_dbfs": USER_DB, "threshold_rms": AUDIBLE, "guard_ms": 250}
    return Result("barge_in", "Speech over the avatar → silence, with its echo", figures, settings, details)


def _figures(where: str, silenced: list[float | None]) -> list[Figure]:
    good = [ms for ms in silenced if ms is not None]
    share = 100 * sum(ms <= GOAL_MS for ms in good) / max(1, len(silenced))
    return [
        Figure(f"speech over the avatar → silence, {where}", "ms", good, goal=GOAL_MS, floor=250,
               floor_note="the guard against coughs"),
        Figure(f"interruptions that succeed within {GOAL_MS} ms, {where}", "%", [share], goal=96, at_least=True),
    ]  # fmt: skip


def _offline(seconds: float, interruptions: int) -> tuple[int, int, list[float | None]]:
    """False interruptions, needless holds; milliseconds from each real objection to silence (None: it failed)."""
    room = EchoRoom(COUPLING_DB)
    replies = [np.concatenate(avatar_voice([SENTENCES[(i + k) % len(SENTENCES)] for k in range(3)])) for i in range(4)]
    alone = holds = number = 0
    while room.now < seconds:
        scene = room.reply(replies[number % len(replies)])
        alone += scene.interrupted is not None
        holds += len(scene.held)
        number += 1
    return alone, holds, [_objected(room, replies[i % len(replies)], i) for i in range(interruptions)]


def _objected(room: EchoRoom, reply: NDArray[np.int16], number: int) -> float | None:
    after, began = 2.0 + number * 0.137 % 3.0, room.now
    user = resample(_objection(number), RATE, LISTEN_RATE)
    scene = room.reply(reply, user, after)
    if scene.interrupted is None or not scene.held:
        return None
    # the packet that is being played when it is held still sounds
    return (scene.held[0] + PACKET_S - (began + after)) * 1000


async def _alone(client: Client, seconds: float) -> tuple[int, float]:
    """The avatar speaks for about that long and nobody else does: false interruptions, and seconds."""
    loop = asyncio.get_running_loop()
    began = loop.time()
    while loop.time() - began < seconds:
        sent = await client.say(long_text(15))
        while not any(
            m["type"] == "reply" and m["at"] > sent and m["state"] in ("end", "interrupted") for m in client.messages
        ):
            await asyncio.sleep(0.05)
        await asyncio.sleep(1.0)
    return sum(m.get("state") == "interrupted" for m in client.messages), loop.time() - began


async def _object(client: Client, microphone: Microphone, number: int) -> float | None:
    """Milliseconds from the user's first sample to silence; None if the avatar was not interrupted."""
    sent = await client.say(long_text(15))
    await client.audible(sent)
    await asyncio.sleep(1.5 + number * 0.137 % 2.0)
    sound = _objection(number)
    ended = await microphone.say(sound)
    began = ended - len(sound) / RATE
    silent = await client.silence(began, 0.8)  # longer than the avatar's own pauses
    try:
        await client.message("reply", began, state="interrupted", timeout=6)
    except TimeoutError:
        silent = float("inf")
    await asyncio.sleep(1.0)
    await client.post("/interrupt_talk", sessionid=client.session)
    await client.silence(asyncio.get_running_loop().time(), 0.5)
    await asyncio.sleep(0.5)
    return None if silent == float("inf") else (silent - began) * 1000


def _objection(number: int) -> NDArray[np.int16]:
    """Int16 at 48 kHz, at `USER_DB`."""
    sound = spoken(OBJECTIONS[number % len(OBJECTIONS)], VOICES[number // len(OBJECTIONS) % len(VOICES)])
    wide = sound.astype(np.float64) / 32768
    gain = 10 ** (USER_DB / 20) / np.sqrt(np.mean(wide**2))
    return np.asarray(np.clip(wide * gain, -1, 0.9999) * 32768, np.int16)

"""Interrupting a reply of a voice service: by real speech through WebRTC, and by the button."""

from __future__ import annotations

import asyncio
import time
from dataclasses import asdict, dataclass, field
from typing import Any

from bench.barge_in import OBJECTIONS, VOICES
from bench.client import Client
from bench.remote_voice import RemoteVoice, inside, led_server
from bench.result import Options, pinnable
from bench.sounds import RATE, Microphone, spoken
from bench.voice_service import Programme

REPLY_S = 14.0


@dataclass(slots=True)
class Interruption:
    """Monotonic seconds: when it was held, decided, with the service, and silent at the client; `began`: the user's
    first sample, or the press of the button."""

    began: float
    held: float
    decided: float
    aborted: float
    silent: float


@dataclass(slots=True)
class Interruptions:
    """Of both kinds; `failed`: where one of the times never came."""

    by_speech: list[Interruption] = field(default_factory=list)
    by_button: list[Interruption] = field(default_factory=list)
    failed: int = 0
    complaints: list[str] = field(default_factory=list)

    def details(self) -> dict[str, Any]:
        """As JSON, milliseconds after `began`."""
        return {
            "failed": self.failed,
            "by_speech": [_after(one) for one in self.by_speech],
            "by_button": [_after(one) for one in self.by_button],
            "complaints": self.complaints,
        }


async def interruptions(service: RemoteVoice, options: Options) -> Interruptions:
    """One after the other in one session: an objection, and then the answer to that is cut off by the button."""
    found, microphone = Interruptions(), Microphone()
    async with led_server(service, pinned=pinnable(options)) as server:
        async with Client(server.url, microphone=microphone) as client:
            await client.connect()
            await client.login()
            await asyncio.sleep(1.5)
            for number in range(options.count(30, 2)):
                try:
                    found.by_speech.append(await _object(service, client, microphone, number))
                    found.by_button.append(await _press(service, client, number))
                except TimeoutError:
                    found.failed += 1
                    await client.post("/interrupt_talk", sessionid=client.session)
                await client.silence(time.monotonic(), 1.0)
        found.complaints = server.complaints()
    return found


async def _object(service: RemoteVoice, client: Client, microphone: Microphone, number: int) -> Interruption:
    sent = await client.say(Programme(f"interrupted {number}", REPLY_S).text(), kind="chat")
    await client.audible(sent)
    await asyncio.sleep(1.5 + number * 0.137 % 2.0)
    aborts = len(service.all("abort"))
    sound = spoken(OBJECTIONS[number % len(OBJECTIONS)], VOICES[number // len(OBJECTIONS) % len(VOICES)])
    ended = await microphone.say(sound)
    began = ended - len(sound) / RATE
    silent = await client.silence(began, 0.6)
    aborted = (await service.told("abort", aborts + 1, timeout=6.0))["t"]
    await client.message("reply", began, state="interrupted", timeout=6.0)
    held, decided = await _decided(client.url, began)
    return Interruption(began, held, decided, aborted, silent)


async def _press(service: RemoteVoice, client: Client, number: int) -> Interruption:
    """The answer to the objection is audible, and not wanted either."""
    said = await client.message("asr_result", time.monotonic() - 3.0, is_final=True, timeout=10.0)
    await client.audible(said["at"])
    await asyncio.sleep(1.0 + number * 0.071 % 1.0)
    aborts, pressed = len(service.all("abort")), time.monotonic()
    await client.post("/interrupt_talk", sessionid=client.session)
    silent = await client.silence(pressed, 0.6)
    aborted = (await service.told("abort", aborts + 1, timeout=6.0))["t"]
    _, decided = await _decided(client.url, pressed)
    return Interruption(pressed, pressed, decided, aborted, silent)


async def _decided(url: str, since: float) -> tuple[float, float]:
    """When the reply was held, and when it was interrupted. Raises `TimeoutError`."""
    doings = [(at, doing) for at, _, doing in (await inside(url))["doings"] if at >= since]
    interrupted = [at for at, doing in doings if doing == "interrupted"]
    if not interrupted:
        raise TimeoutError
    held = [at for at, doing in doings if doing == "listening" and at < interrupted[0]]
    return (held or interrupted)[0], interrupted[0]


def _after(one: Interruption) -> dict[str, float]:
    return {name: round(1000 * (value - one.began)) for name, value in asdict(one).items() if name != "began"}

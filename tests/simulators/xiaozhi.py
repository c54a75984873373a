"""A strict xiaozhi server: refuses whatever breaks the protocol, and fails on demand. Shares no code with the product.

It has its own framing, and FFmpeg's Opus. In auto and realtime mode a turn ends after `turn_packets` packets of sound,
in manual mode with `listen stop`; then it answers with `reply`. A client that breaks a rule is closed with 1008, and
`Visit.refusal` says why.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import re
import struct
import uuid
from dataclasses import dataclass, field
from fractions import Fraction
from http import HTTPStatus
from typing import Any

import av
import numpy as np
from numpy.typing import NDArray
from websockets.asyncio.server import Server, ServerConnection, serve
from websockets.exceptions import ConnectionClosed
from websockets.http11 import Request, Response

TOKEN = "the-token-of-this-device"
DEVICE, CLIENT = "02:00:00:12:34:56", "5b3c8d3e-9b0f-4f5c-8a53-0f3a5c1f9a10"
UP, DOWN = 16000, 24000
LATE_S = 5.0
"""Sound that was on its way when the server began to speak, or ended a turn, is no fault for so long."""
PARAMS = {"format": "opus", "sample_rate": UP, "channels": 1}


@dataclass(frozen=True)
class Sentence:
    """A tone of `pitch` Hz, in packets of these lengths (ms)."""

    text: str
    pitch: float
    packets: tuple[int, ...] = (60,) * 5


@dataclass(frozen=True)
class Drop:
    """The TCP connection breaks (1006)."""


@dataclass(frozen=True)
class Close:
    """A close frame; None for one without a code (1005)."""

    code: int | None


@dataclass(frozen=True)
class Stall:
    """Nothing any more: no message, no answer to a ping."""


@dataclass(frozen=True)
class Say:
    """Whatever is given; the session goes on."""

    messages: tuple[bytes | str, ...]


Fault = Drop | Close | Stall | Say


@dataclass(frozen=True)
class Trouble:
    """`fault` in place of "hello", after "hello", before "listen" is acted upon, at "packet" number `packet` of the
    first turn, or in mid-"reply", before packet number `packet` of it."""

    moment: str
    fault: Fault
    packet: int = 0


class Refusal(Exception):
    """What the client did wrong."""


@dataclass
class Visit:
    """One connection as the server saw it."""

    headers: dict[str, str]
    session_id: str = field(default_factory=lambda: uuid.uuid4().hex)
    messages: list[dict[str, Any]] = field(default_factory=list)
    packets: list[bytes] = field(default_factory=list)
    """Of sound while it listened."""
    turns: list[int] = field(default_factory=list)
    """Packets of each turn that it answered."""
    late: int = 0
    refusal: str = ""
    code: int | None = None

    def states(self) -> list[str]:
        """What the client said, in short."""
        return [message.get("state") or message["type"] for message in self.messages]

    def heard(self) -> NDArray[np.int16]:
        """Its sound at 48 kHz."""
        decoder = opus_decoder()
        pieces = [frame.to_ndarray().reshape(-1) for p in self.packets for frame in decoder.decode(av.Packet(p))]
        sound = np.concatenate([*pieces, np.zeros(0)])
        return np.asarray(sound * 32767 if sound.dtype.kind == "f" else sound, np.int16)


@dataclass
class XiaozhiServer:
    """`async with XiaozhiServer() as server:` then connect to `server.url`.

    `troubles`: by number of the connection, from 0, counting accepted ones. `statuses`: HTTP statuses with which the
    first connections are refused. `pace`: seconds between packets of a reply. `announced`: what its hello tells.
    """

    reply: tuple[Sentence, ...] = (Sentence("One.", 440.0), Sentence("Two.", 880.0))
    turn_packets: int = 5
    pace: float = 0.0
    hello_timeout_s: float = 10.0
    announced: dict[str, Any] | None = None
    troubles: dict[int, Trouble] = field(default_factory=dict)
    statuses: list[int] = field(default_factory=list)
    visits: list[Visit] = field(default_factory=list)
    said: str = "hello there"
    port: int = 0
    open: int = 0
    conversation: type[Conversation] | None = None
    """What leads a connection, in place of `Conversation`."""
    _server: Server | None = None

    @property
    def url(self) -> str:
        return f"ws://127.0.0.1:{self.port}/xiaozhi/v1/"

    async def __aenter__(self) -> XiaozhiServer:
        await self.start()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.stop()

    async def start(self) -> None:
        """Also again after `stop`, on the same port."""
        self._server = await serve(
            self._talk, "127.0.0.1", self.port, process_request=self._admit, ping_interval=None, compression=None,
            max_size=2**20, close_timeout=0.5,
        )  # fmt: skip
        self.port = next(iter(self._server.sockets)).getsockname()[1]

    async def stop(self) -> None:
        assert self._server is not None
        self._server.close()
        await self._server.wait_closed()

    def drop_all(self) -> None:
        """Every TCP connection breaks, at once."""
        assert self._server is not None
        for socket in self._server.connections:
            socket.transport.abort()

    def _admit(self, connection: ServerConnection, request: Request) -> Response | None:
        headers = request.headers
        status = None
        if self.statuses:
            status = self.statuses.pop(0)
        elif request.path.partition("?")[0] != "/xiaozhi/v1/":
            status = 404
        elif headers.get("Authorization") != f"Bearer {TOKEN}":
            status = 401
        elif not (
            headers.get("Protocol-Version") in ("1", "2", "3")
            and is_uuid(headers.get("Client-Id", ""))
            and re.fullmatch("[0-9a-f]{2}(:[0-9a-f]{2}){5}", headers.get("Device-Id", ""))
        ):
            status = 400
        return connection.respond(HTTPStatus(status), "refused\n") if status else None

    async def _talk(self, socket: ServerConnection) -> None:
        assert socket.request is not None
        visit = Visit(dict(socket.request.headers.raw_items()))
        trouble = self.troubles.get(len(self.visits))
        self.visits.append(visit)
        self.open += 1
        conversation = (self.conversation or Conversation)(self, socket, visit, trouble)
        try:
            await conversation.run()
        except ConnectionClosed:
            pass
        except Refusal as refusal:
            visit.refusal = str(refusal)
            await conversation.hush()
            await socket.close(1008, visit.refusal[:100])
        finally:
            await conversation.hush()
            visit.code = socket.close_code
            self.open -= 1


class Conversation:
    """One connection."""

    def __init__(self, server: XiaozhiServer, socket: ServerConnection, visit: Visit, trouble: Trouble | None) -> None:
        self.server = server
        self.socket = socket
        self.visit = visit
        self.trouble = trouble
        self.version = int(visit.headers["Protocol-Version"])
        self.mode: str | None = None
        self.listening = False
        self.quiet_since = float("-inf")
        self.turn = 0
        self.speaking: asyncio.Task[None] | None = None
        self.decoder = opus_decoder()
        self.frame_ms = 0

    async def run(self) -> None:
        try:
            async with asyncio.timeout(self.server.hello_timeout_s):
                first = await self.socket.recv()
        except TimeoutError:
            raise Refusal("no hello") from None
        if isinstance(first, bytes):
            raise Refusal("sound before hello")
        message = parsed(first)
        if message["type"] != "hello":
            raise Refusal(f"{message['type']} before hello")
        self.check_hello(message)
        self.visit.messages.append(message)
        if await self.misbehave("no hello"):
            return
        params = {"format": "opus", "sample_rate": DOWN, "channels": 1, "frame_duration": 60}
        answer = {"type": "hello", "transport": "websocket", "audio_params": params}
        await self.say(**answer | (self.server.announced or {}))
        if await self.misbehave("hello"):
            return
        async for item in self.socket:
            if isinstance(item, bytes):
                if await self.sound(self.unframed(item)):
                    return
            elif await self.take(parsed(item)):
                return

    # -- what the client may say

    def check_hello(self, message: dict[str, Any]) -> None:
        fields(message, {"type", "version", "features", "transport", "audio_params"}, set())
        if message["version"] != self.version or message["transport"] != "websocket":
            raise Refusal("hello: version is not that of the header, or transport not websocket")
        params, features = message["audio_params"], message["features"]
        if not isinstance(params, dict) or {k: params.get(k) for k in PARAMS} != PARAMS or len(params) != 4:
            raise Refusal("hello: audio_params")
        if params.get("frame_duration") not in (20, 40, 60):
            raise Refusal("hello: frame_duration")
        if not isinstance(features, dict) or features.get("mcp") is not True or set(features) - {"mcp", "aec"}:
            raise Refusal("hello: features")
        self.frame_ms = params["frame_duration"]

    async def take(self, message: dict[str, Any]) -> bool:
        kind = message["type"]
        if kind == "hello":
            raise Refusal("a second hello")
        if message.get("session_id") != self.visit.session_id:
            raise Refusal(f"{kind}: session_id is not the one that the hello told")
        self.visit.messages.append(message)
        match kind:
            case "listen":
                return await self.listen(message)
            case "abort":
                fields(message, {"type", "session_id"}, {"reason"})
                if message.get("reason", "wake_word_detected") != "wake_word_detected":
                    raise Refusal("abort: reason")
                await self.hush()
                await self.say(type="tts", state="stop")
            case "mcp":
                fields(message, {"type", "session_id", "payload"}, set())
                payload = message["payload"]
                if not isinstance(payload, dict) or payload.get("jsonrpc") != "2.0" or "id" not in payload:
                    raise Refusal("mcp: no JSON-RPC 2.0")
            case "goodbye":
                await self.socket.close()
                return True
            case "ping":
                await self.say(type="pong", timestamp=1)
            case _:
                raise Refusal(f"type {kind!r} is unknown")
        return False

    async def listen(self, message: dict[str, Any]) -> bool:
        match message.get("state"):
            case "start":
                fields(message, {"type", "session_id", "state", "mode"}, set())
                if message["mode"] not in ("auto", "manual", "realtime"):
                    raise Refusal("listen: mode")
                if self.speaking and not self.speaking.done() and message["mode"] != "realtime":
                    raise Refusal("listen start while the server speaks, without abort")
                self.mode, self.listening, self.turn = message["mode"], True, 0
                return await self.misbehave("listen")
            case "stop":
                fields(message, {"type", "session_id", "state"}, set())
                if self.mode is None:
                    raise Refusal("listen stop without start")
                listened, self.listening = self.listening, False
                if self.mode == "manual":
                    if not listened:
                        raise Refusal("listen stop twice")
                    self.answer()
                self.mode = None
            case "detect":
                fields(message, {"type", "session_id", "state", "text"}, set())
                if not isinstance(message["text"], str) or not message["text"]:
                    raise Refusal("detect: text")
                self.answer()
            case state:
                raise Refusal(f"listen: state {state!r}")
        return False

    async def sound(self, packet: bytes) -> bool:
        samples = decoded(self.decoder, packet)
        if samples != 48 * self.frame_ms:
            raise Refusal(f"a packet of {samples / 48:g} ms, {self.frame_ms} were announced")
        if not self.listening:
            if self.mode in ("auto", "realtime") and asyncio.get_running_loop().time() - self.quiet_since < LATE_S:
                self.visit.late += 1
                return False
            raise Refusal("sound while the server does not listen")
        self.visit.packets.append(packet)
        self.turn += 1
        if self.trouble and self.turn == self.trouble.packet and await self.misbehave("packet"):
            return True
        if self.mode != "manual" and self.turn >= self.server.turn_packets:
            if self.mode == "auto":
                self.listening = False
                self.quiet_since = asyncio.get_running_loop().time()
            self.answer()
        return False

    def unframed(self, data: bytes) -> bytes:
        if self.version == 1:
            payload = data
        elif self.version == 2:
            if len(data) < 16:
                raise Refusal("a header of version 2 is 16 bytes")
            version, kind, reserved, _, size = struct.unpack_from("!HHLLL", data)
            payload = data[16:]
            if (version, kind, reserved) != (2, 0, 0) or size != len(payload):
                raise Refusal("a wrong header of version 2")
        else:
            if len(data) < 4 or data[:2] != b"\0\0" or int.from_bytes(data[2:4], "big") != len(data) - 4:
                raise Refusal("a wrong header of version 3")
            payload = data[4:]
        if not payload:
            raise Refusal("an empty packet")
        return payload

    # -- what we answer

    def answer(self) -> None:
        self.visit.turns.append(self.turn)
        self.turn = 0
        if self.speaking is None or self.speaking.done():
            self.speaking = asyncio.create_task(self.speak())

    async def speak(self) -> None:
        with contextlib.suppress(ConnectionClosed):
            await self.say(type="stt", text=self.server.said)
            await self.say(type="tts", state="start")
            await self.say(type="llm", emotion="happy", text="🙂")
            number = 0
            for sentence in self.server.reply:
                await self.say(type="tts", state="sentence_start", text=sentence.text)
                for packet in tone_packets(sentence):
                    if self.trouble and self.trouble.packet == number and await self.misbehave("reply"):
                        return
                    await self.socket.send(self.framed(packet))
                    await asyncio.sleep(self.server.pace)
                    number += 1
            await self.say(type="tts", state="stop")
            self.quiet_since = asyncio.get_running_loop().time()

    def framed(self, packet: bytes) -> bytes:
        if self.version == 2:
            return struct.pack("!HHLLL", 2, 0, 0, 0, len(packet)) + packet
        return packet if self.version == 1 else b"\0\0" + len(packet).to_bytes(2, "big") + packet

    async def say(self, **message: Any) -> None:
        await self.socket.send(json.dumps({"session_id": self.visit.session_id, **message}))

    async def hush(self) -> None:
        if self.speaking is not None and self.speaking is not asyncio.current_task():
            self.speaking.cancel()
            await asyncio.wait([self.speaking])

    async def misbehave(self, moment: str) -> bool:
        """Whether the session is over."""
        if self.trouble is None or self.trouble.moment != moment:
            return False
        fault, self.trouble = self.trouble.fault, None
        match fault:
            case Drop():
                self.socket.transport.abort()
            case Close(code=None):
                async with self.socket.send_context():
                    self.socket.protocol.send_close()
            case Close(code=int(code)):
                await self.socket.close(code)
            case Say(messages=messages):
                for message in messages:
                    await self.socket.send(message)
                return False
            case Stall():
                self.socket.transport.pause_reading()  # type: ignore[attr-defined]
                await self.socket.wait_closed()
        return True


def is_uuid(text: str) -> bool:
    try:
        return str(uuid.UUID(text)) == text
    except ValueError:
        return False


def parsed(text: str) -> dict[str, Any]:
    try:
        message = json.loads(text)
    except ValueError:
        raise Refusal("no JSON") from None
    if not isinstance(message, dict) or not isinstance(message.get("type"), str):
        raise Refusal("no JSON object with a type")
    return message


def fields(message: dict[str, Any], needed: set[str], optional: set[str]) -> None:
    if missing := needed - set(message):
        raise Refusal(f"{message['type']}: {sorted(missing)[0]} is missing")
    if extra := set(message) - needed - optional:
        raise Refusal(f"{message['type']}: {sorted(extra)[0]} is unknown")


def opus_decoder() -> av.AudioCodecContext:
    decoder = av.CodecContext.create("libopus", "r")
    assert isinstance(decoder, av.AudioCodecContext)
    decoder.sample_rate, decoder.layout = 48000, "mono"
    return decoder


def decoded(decoder: av.AudioCodecContext, packet: bytes) -> int:
    """Samples at 48 kHz."""
    try:
        return sum(frame.samples for frame in decoder.decode(av.Packet(packet)))
    except av.FFmpegError:
        raise Refusal("no Opus packet") from None


def opus_encoder(rate: int, frame_ms: int) -> av.AudioCodecContext:
    encoder = av.CodecContext.create("libopus", "w")
    assert isinstance(encoder, av.AudioCodecContext)
    encoder.sample_rate, encoder.layout, encoder.format = rate, "mono", "s16"
    encoder.time_base = Fraction(1, rate)
    encoder.options = {"frame_duration": str(frame_ms)}
    return encoder


def tone_packets(sentence: Sentence) -> list[bytes]:
    """Its sound at 24 kHz. Each length has an encoder of its own, as FFmpeg's can't change it."""
    encoders = {ms: opus_encoder(DOWN, ms) for ms in set(sentence.packets)}
    packets, at, begun = [], 0, dict.fromkeys(encoders, 0)
    for ms in sentence.packets:
        size = DOWN * ms // 1000
        wave = 8000 * np.sin(2 * np.pi * sentence.pitch * np.arange(at, at + size) / DOWN)
        frame = av.AudioFrame.from_ndarray(wave.astype(np.int16)[None], "s16", "mono")
        frame.sample_rate, frame.pts = DOWN, begun[ms]
        begun[ms] += size
        at += size
        packets += [bytes(packet) for packet in encoders[ms].encode(frame)]
    return packets

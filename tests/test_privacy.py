"""K2: what is said and what is secret reaches no log and no figure, whatever happens to it."""

from __future__ import annotations

import asyncio
import contextlib
import io
import json
import logging
import re
import wave
from collections.abc import AsyncIterator, Iterable, Iterator, Sequence
from pathlib import Path

import aiohttp
import numpy as np
import pytest

from core import log
from core.frames import SpeechChunk, Utterance
from server import Server
from tests.avatar_client import AvatarClient, WavMicrophone
from tests.conftest import Serve
from tests.fakes import ScriptedDialogue, ToneSynthesizer
from tests.openai_server import KEY as MODEL_KEY
from tests.openai_server import OpenAIServer, Scenario
from tests.speech import flite

ADMIN = "admin-token-of-this-test"
API_KEY = "api-key-of-this-test"
SECRET = "signing-secret-of-this-test"
WRONG = "wrong-token-of-this-test"
ANSWER = ("Quicksilver", " umbrella.", " Another", " pomegranate.")
SAID = [
    "xylophone", "marmalade", "quicksilver", "umbrella", "pomegranate", "vermilion", "periwinkle", "chrysanthemum",
    "nightingale", "kaleidoscope", "saxifrage", "tamarind", "cinnamon",
]  # fmt: skip
"""Words that the test types, lets be answered, or sends where they don't belong."""


class CrashingSynthesizer(ToneSynthesizer):
    """Breaks on "crash …" as careless code does: its exception quotes the text."""

    async def synthesize(self, text: str, *, voice: str | None = None) -> AsyncIterator[SpeechChunk]:
        if text.startswith("crash"):
            raise ValueError(f"no phonemes for {text!r}")
        async for chunk in super().synthesize(text, voice=voice):
            yield chunk


class ChattyDialogue(ScriptedDialogue):
    """Logs what it is asked: what must be found."""

    async def reply(self, history: Sequence[Utterance], text: str) -> AsyncIterator[str]:
        logging.getLogger("core.dialogue.chatty").debug("asked", extra={"question": text})
        async for word in super().reply(history, text):
            yield word


class Records(logging.Handler):
    """Keeps everything that is logged."""

    def __init__(self) -> None:
        super().__init__(logging.DEBUG)
        self.records: list[logging.LogRecord] = []

    def emit(self, record: logging.LogRecord) -> None:
        self.records.append(record)


class Written:
    """What was logged at debug level: the records, and the lines of both formats."""

    def __init__(self) -> None:
        self.formats = {"console": io.StringIO(), "json": io.StringIO()}
        self.raw = Records()

    def parts(self) -> Iterator[str]:
        """Each line, and each record's message, arguments and extra fields before anything is masked."""
        for output in self.formats.values():
            yield from output.getvalue().splitlines()
        for record in self.raw.records:
            yield f"{record.name} {record.getMessage()} {record.args!r}"
            extra = vars(record).keys() - vars(logging.makeLogRecord({})).keys()
            yield " ".join(repr(getattr(record, name)) for name in extra)

    def leaks(self, words: Iterable[str]) -> list[str]:
        """The parts that hold one of the words."""
        pattern = re.compile("|".join(re.escape(word) for word in words), re.IGNORECASE)
        return [part for part in self.parts() if pattern.search(part)]


@contextlib.contextmanager
def listening() -> Iterator[Written]:
    """Logs at debug level in both formats; what was configured before is put back."""
    root, written = logging.getLogger(), Written()
    handlers, level = root.handlers[:], root.level
    levels = {name: logging.getLogger(name).level for name in log.OURS}
    try:
        ours: list[logging.Handler] = [written.raw]
        for name, output in written.formats.items():
            log.configure("debug", name)
            (handler,) = root.handlers
            assert isinstance(handler, logging.StreamHandler)
            handler.setStream(output)
            ours.append(handler)
        root.handlers[:] = ours
        yield written
    finally:
        root.handlers[:] = handlers
        root.setLevel(level)
        for name, before in levels.items():
            logging.getLogger(name).setLevel(before)


def model() -> OpenAIServer:
    """Answers twice, then refuses with the question in its words, then breaks off with it."""
    quoting = {"error": {"message": "the prompt 'kaleidoscope' is not allowed", "type": "refused"}}
    return OpenAIServer(
        Scenario(words=ANSWER),
        Scenario(words=ANSWER),
        Scenario(status=400, body=json.dumps(quoting)),
        Scenario(words=ANSWER, error_after=1, error={"message": "saxifrage broke me", "type": "x", "code": None}),
    )


def wav(seconds: float) -> bytes:
    """A tone in a WAV file."""
    output = io.BytesIO()
    with wave.open(output, "wb") as file:
        file.setparams((1, 2, 16_000, 0, "NONE", ""))
        file.writeframes((8000 * np.sin(np.arange(int(16_000 * seconds)) / 10)).astype(np.int16).tobytes())
    return output.getvalue()


async def talk(client: AvatarClient, microphone: WavMicrophone) -> list[str]:
    """Everything that can be done with a session; returns the words that were heard."""
    await client.connect()
    await client.login()
    await client.human("xylophone marmalade", kind="chat", tts={"voice": "nightingale"})
    await client.message("reply", state="end", reply_id="r1")
    microphone.say(flite("what is seven times six"))
    heard = await client.message("asr_result", is_final=True)
    await client.message("reply", state="end", reply_id="r2")
    for number, question in ((3, "kaleidoscope"), (4, "saxifrage")):
        await client.human(question, kind="chat")
        await client.message("reply", state="error", reply_id=f"r{number}")
    for number, text in ((5, "broken vermilion"), (6, "crash periwinkle")):
        await client.human(text)
        await client.message("reply", state="error", reply_id=f"r{number}")
    await client.human("mute chrysanthemum")
    await client.post("/interrupt_talk", sessionid=client.session)
    await client.upload(wav(0.3), "tamarind.wav")
    await client.upload(b"tamarind is no sound", "tamarind.wav")
    return [word for word in str(heard["text"]).split() if len(word) > 4]


async def misuse(server: Server, client: AvatarClient) -> None:
    """What fails on the way in: bad bodies, bad frames, bad tokens."""
    url = server.url
    await client.human("cinnamon" * 1000)
    await client.send(type="cinnamon", api_key=API_KEY)
    await client.send(type="wsa_register_web", username=["cinnamon"])
    await client.send(type="login", session_id=client.session, token=WRONG)
    await client.send(type="start_asr_recognition", session_id=client.session)
    await client.send(type="asr_audio_data", session_id=client.session, audio="cinnamon")
    async with aiohttp.ClientSession() as http:
        for path in ("/human", "/offer", "/api/hangup", "/api/admin/stop"):
            await http.post(url + path, data=b'{"text": "cinnamon"')
        body = {"sessionid": client.session, "token": WRONG, "text": "cinnamon", "type": "chat", "sdp": "v=0 cinnamon"}
        headers = {"Authorization": f"Bearer {WRONG}", "X-API-Key": WRONG, "X-Admin-Token": WRONG}
        for path in ("/human", "/offer", "/interrupt_talk", "/api/hangup", "/api/admin/say", "/api/admin/message"):
            for given in ({}, headers):
                await http.post(url + path, json=body, headers=given)
        for path in ("/metrics", "/api/history", "/sse", "/api/admin/config", "/cinnamon"):
            await http.get(url + path, params={"token": WRONG, "sessionid": client.session}, headers=headers)
        async with http.ws_connect(url + "/ws") as socket:
            for frame in ("cinnamon", '{"type": "cinnamon"}', f'{{"type": "login", "token": "{WRONG}"}}', "[" * 9000):
                await socket.send_str(frame)
            await socket.send_bytes(b"cinnamon")
            await socket.send_str('{"type": "login", "session_id": "' + client.session + f'", "token": "{WRONG}"}}')
            await socket.receive()
        async with http.ws_connect(url + "/api/admin/live") as socket:
            await socket.send_json({"type": "login", "token": WRONG})
            await socket.receive()
    await asyncio.sleep(0.05)


async def figures(server: Server) -> str:
    """/metrics, and the errors' keys as the dashboard groups them."""
    headers = {"X-Admin-Token": ADMIN}
    async with aiohttp.ClientSession(headers=headers) as http, http.get(server.url + "/metrics") as response:
        assert response.status == 200
        text = await response.text()
    errors = (await server.monitor.snapshot())["errors"]
    assert {"dialogue", "tts"} <= {error["stage"] for error in errors}
    return text + json.dumps([(error["stage"], error["adapter"], error["code"]) for error in errors])


async def test_k2_a_full_talk_leaves_no_word_and_no_secret(
    serving: Serve, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    microphone, bad = WavMicrophone(), model()
    with listening() as written:
        async with bad.running():
            settings = {
                "asr__engine": "pocketsphinx",
                "dialogue__engine": "openai",
                "dialogue__openai__base_url": bad.base_url,
                "dialogue__openai__api_key": MODEL_KEY,
                "dialogue__openai__model": "sim-1",
                "tts__engine": "tests.test_privacy:CrashingSynthesizer",
                "auth__enabled": "true",
                "auth__secret": SECRET,
                "auth__admin_token": ADMIN,
                "auth__api_keys": f'["{API_KEY}"]',
                "history__enabled": "true",
                "history__path": str(tmp_path / "history.db"),
                "log__format": "json",
            }
            async with serving(**settings) as server:
                client = AvatarClient(
                    server.url, microphone=microphone, video=False, headers={"X-API-Key": API_KEY}
                )  # fmt: skip
                async with client:
                    heard = await talk(client, microphone)
                    await misuse(server, client)
                    told = await figures(server)
                    token = client.answer["token"]
                    await client.post("/api/hangup", sessionid=client.session, token=token)
    assert heard
    secrets = [token, WRONG, ADMIN, API_KEY, SECRET, MODEL_KEY]
    everything = "\n".join(written.parts())
    assert "opened" in everything  # it was logged, also that things went wrong
    assert "dialogue_failed" in everything
    assert "ValueError: (message left out)" in everything
    assert written.leaks([*SAID, *heard, *secrets]) == []
    printed = capfd.readouterr()
    for words in (told, printed.out, printed.err):
        assert [word for word in [*SAID, *heard, *secrets] if word.lower() in words.lower()] == []
    for line in written.formats["json"].getvalue().splitlines():
        assert {"time", "level", "session", "logger", "message"} <= set(json.loads(line))


async def test_k2_a_word_that_is_logged_is_found(serving: Serve) -> None:
    with listening() as written:
        async with (
            serving(dialogue__engine="tests.test_privacy:ChattyDialogue") as server,
            AvatarClient(server.url, video=False) as client,
        ):
            await client.connect()
            await client.login()
            await client.human("xylophone", kind="chat")
            await client.message("reply", state="end")
    leaks = written.leaks(["xylophone"])
    assert len(leaks) == 2  # the JSON line and the record; the console shows no extra fields
    assert any(json.loads(leak)["extra"] == {"question": "xylophone"} for leak in leaks if leak.startswith("{"))

"""Rows D2 to D4: Doubao as a recogniser of the product, and as a service for files."""

from __future__ import annotations

import asyncio
import logging
import wave
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from asr.doubao import RecognitionResult, create_asr_service, create_text_only_callback
from asr.doubao.recognizer import DoubaoRecognizer
from core.errors import RecognizerError
from core.frames import LISTEN_RATE, Samples, Transcript
from tests.doubao_served import recognise as recognise_speech
from tests.simulators.doubao import ACCESS_KEY, API_KEY, APP_KEY, LOG_ID, DoubaoServer, Drop, Error, Hang, Trouble
from tests.speech import flite
from tests.spoken_numbers import pause, pcm, recognise, sentence, word

QUICK: dict[str, Any] = {"max_speed": 0}


async def adapter(server: DoubaoServer, **settings: Any) -> DoubaoRecognizer:
    recognizer = DoubaoRecognizer(**{"host": server.host, "api_key": API_KEY, **QUICK, **settings})
    await recognizer.start()
    return recognizer


async def turn(recognizer: DoubaoRecognizer, *parts: Samples, partials: list[Transcript] | None = None) -> Transcript:
    stream = recognizer.open((partials if partials is not None else []).append)
    for part in parts:
        stream.push(part)
    try:
        return await asyncio.wait_for(stream.finish(), 10)
    finally:
        await stream.cancel()


async def test_d2_partials_replace_each_other_and_the_final_has_its_times() -> None:
    partials: list[Transcript] = []
    async with DoubaoServer(recognise) as server:
        recognizer = await adapter(server)
        final = await turn(recognizer, pause(0.5), sentence(1, 2), word(3), pause(0.5), partials=partials)
        await recognizer.close()
    assert (final.text, final.final, final.engine) == ("1 2 3", True, "doubao")
    assert (final.start, final.end) == (pytest.approx(0.5, abs=0.02), pytest.approx(2.4, abs=0.02))
    assert partials[0].text == "1"
    assert [partial.text for partial in partials] == sorted({partial.text for partial in partials}, key=len)
    assert not any(partial.final for partial in partials)


async def test_d2_packets_are_200_ms_whatever_is_pushed() -> None:
    async with DoubaoServer(recognise) as server:
        recognizer = await adapter(server)
        audio = sentence(1, 2, 3)
        await turn(recognizer, *(audio[at : at + 321] for at in range(0, len(audio), 321)))
        await recognizer.close()
        sizes = [len(packet) for packet in server.visits[0].packets]
    assert set(sizes[:-1]) == {6400}
    assert sum(sizes) == len(pcm(audio))


async def test_d2_words_said_while_it_connects_or_reconnects_are_not_lost() -> None:
    troubles = {0: Trouble(0, Drop()), 1: Trouble(4, Drop())}
    async with DoubaoServer(recognise, statuses=[503], troubles=troubles) as server:
        recognizer = await adapter(server)
        assert (await turn(recognizer, sentence(1, 2), sentence(3, 4))).text == "1 2 3 4"
        assert recognizer.stats.reconnects == 3
        await recognizer.close()


async def test_d2_a_turn_that_is_too_long_is_cut() -> None:
    async with DoubaoServer(recognise) as server:
        recognizer = await adapter(server, max_turn_s=1.0)
        stream = recognizer.open(lambda _: None)
        stream.push(np.concatenate([word(1, 0.6), word(2, 0.4), word(3)]))
        assert stream.truncated
        assert (await stream.finish()).text == "1 2"
        await recognizer.close()


async def test_d2_more_turns_than_the_service_allows_wait_for_each_other() -> None:
    async with DoubaoServer(recognise) as server:
        recognizer = await adapter(server, max_sessions=2)
        texts = await asyncio.gather(*(turn(recognizer, sentence(number)) for number in range(6)))
        await recognizer.close()
        assert [text.text for text in texts] == [str(number) for number in range(6)]
        assert server.most_at_once == 2


async def test_d2_a_turn_without_audio_is_silent_whatever_the_server_does() -> None:
    async with DoubaoServer(recognise, troubles={0: Trouble(0, Hang())}) as server:
        recognizer = await adapter(server)
        assert (await turn(recognizer)).text == ""
        await recognizer.close()


async def test_d4_closing_fails_the_open_turns_and_leaves_no_task() -> None:
    before = asyncio.all_tasks()
    async with DoubaoServer(recognise, troubles={0: Trouble(1, Hang())}) as server:
        recognizer = await adapter(server)
        stream = recognizer.open(lambda _: None)
        stream.push(sentence(1))
        finishing = asyncio.create_task(stream.finish())
        await asyncio.sleep(0.05)
        await recognizer.close()
        with pytest.raises(RecognizerError):
            await asyncio.wait_for(finishing, 5)
        await recognizer.close()
    await asyncio.sleep(0)
    assert {task for task in asyncio.all_tasks() - before if "doubao" in task.get_name()} == set()


async def test_d4_a_wrong_key_fails_each_turn_with_advice_and_nothing_hangs() -> None:
    async with DoubaoServer(recognise) as server:
        recognizer = await adapter(server, api_key="wrong")
        for _ in range(2):
            with pytest.raises(RecognizerError, match="api_key") as caught:
                await turn(recognizer, sentence(1))
            assert not caught.value.retryable
            assert caught.value.adapter == "doubao"
        await recognizer.close()
        assert server.attempts == 2


async def test_d4_start_does_not_need_the_server() -> None:
    recognizer = DoubaoRecognizer(host="ws://127.0.0.1:9", api_key=API_KEY, **QUICK)
    await recognizer.start()
    with pytest.raises(RecognizerError) as caught:
        await turn(recognizer, sentence(1))
    assert caught.value.retryable
    await recognizer.close()


async def test_d4_start_prepares_tls_for_the_real_service() -> None:
    recognizer = DoubaoRecognizer(api_key=API_KEY)
    await recognizer.start()
    await recognizer.close()


@pytest.mark.parametrize(
    ("settings", "advice"),
    [
        ({}, "api_key"),
        ({"app_key": APP_KEY}, "access_key"),
        ({"api_key": "k", "sequence_mode": "none"}, "sequence_mode"),
        ({"api_key": "k", "language": "ja"}, "nostream"),
        ({"api_key": "k", "language": "tlh"}, "language"),
    ],
)
async def test_d4_wrong_settings_stop_the_start_with_advice(settings: dict[str, Any], advice: str) -> None:
    with pytest.raises(RecognizerError, match=advice):
        await DoubaoRecognizer(**settings).start()


@pytest.mark.parametrize(
    ("settings", "languages"),
    [
        ({}, ("zh", "en")),
        ({"language": "zh-CN"}, ("zh", "en")),
        ({"language": "ja", "path": "/api/v3/sauc/bigmodel_nostream"}, ("ja",)),
        ({"language": "fr-FR", "path": "/api/v3/sauc/bigmodel_nostream"}, ("fr",)),
    ],
)
async def test_d2_languages(settings: dict[str, Any], languages: tuple[str, ...]) -> None:
    recognizer = DoubaoRecognizer(api_key=API_KEY, **settings)
    await recognizer.start()
    assert recognizer.languages == languages


async def test_d4_the_quota_is_respected_by_all_turns_together(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    troubles = {number: Trouble(0, Error(45000292, f"quota of {API_KEY}")) for number in range(9)}
    async with DoubaoServer(recognise, troubles=troubles) as server:
        recognizer = await adapter(server)
        turns = await asyncio.gather(*(turn(recognizer, sentence(1)) for _ in range(5)), return_exceptions=True)
        assert all(isinstance(error, RecognizerError) and error.retryable for error in turns)
        assert recognizer.stats.errors["45000292"] == len(server.visits)
        with pytest.raises(RecognizerError, match="again and again"):
            await turn(recognizer, sentence(1))
        await recognizer.close()
    ours = [record.getMessage() for record in caplog.records if not record.name.startswith("websockets.server")]
    assert not any(API_KEY in line for line in ours)
    assert sum(LOG_ID in line for line in ours if "45000292" in line) == len(server.visits)


# -- the service for files and streams


def wav(path: Path, samples: Samples, rate: int) -> Path:
    with wave.open(str(path), "wb") as file:
        file.setparams((1, 2, rate, 0, "NONE", ""))
        file.writeframes(samples.astype("<i2").tobytes())
    return path


async def test_d3_recognises_a_file_and_calls_back_with_text_only(tmp_path: Path) -> None:
    path = wav(tmp_path / "words.wav", np.concatenate([sentence(1, 2), sentence(3)]), LISTEN_RATE)
    heard: list[tuple[str, bool]] = []
    async with DoubaoServer(recognise, troubles={0: Trouble(7, Drop())}) as server:
        service = create_asr_service(app_key=APP_KEY, access_key=ACCESS_KEY, host=server.host, **QUICK)
        callback = create_text_only_callback(user_callback=lambda text: heard.append((text, text.is_final)))
        result = await service.recognize_file(str(path), result_callback=callback)
    assert str(result) == result.text == "1 2 3"
    assert heard[-1] == ("1 2 3", True)
    assert [final for _, final in heard].count(True) == 1


async def test_d3_recognises_speech_in_a_file_of_another_rate(tmp_path: Path) -> None:
    speech = flite("hello how are you today", "slt", LISTEN_RATE)
    path = wav(tmp_path / "speech.wav", np.concatenate([pause(0.3), speech, pause(0.5)]), LISTEN_RATE)
    async with DoubaoServer(recognise_speech) as server:
        service = create_asr_service(api_key=API_KEY, host=server.host, **QUICK)
        assert (await service.recognize_file(path)).text == "hello how are you today"
        stereo = tmp_path / "numbers.wav"
        with wave.open(str(stereo), "wb") as file:
            file.setparams((2, 2, 48_000, 0, "NONE", ""))
            file.writeframes(np.repeat(sentence(5), 6).astype("<i2").tobytes())
        await service.recognize_file(stereo)
        assert server.visits[1].audio[:3200] != server.visits[0].audio[:3200]
        assert len(server.visits[1].audio) == pytest.approx(len(pcm(sentence(5))), rel=0.05)


async def test_d3_recognises_a_live_stream() -> None:
    async def live() -> AsyncIterator[bytes]:
        for number in (1, 2, 3):
            yield pcm(word(number))
            await asyncio.sleep(0)

    results: list[RecognitionResult] = []
    async with DoubaoServer(recognise) as server:
        service = create_asr_service(api_key=API_KEY, host=server.host, **QUICK)
        assert (await service.recognize_stream(live(), results.append)).text == "1 2 3"
    assert results[-1].is_final
    assert results[-1].payload_msg["result"]["text"] == "1 2 3"


@pytest.mark.parametrize("content", [b"", b"not audio at all" * 100, b"RIFF\x00\x00\x00\x00WAVE"])
async def test_d3_a_file_without_sound_is_told(content: bytes, tmp_path: Path) -> None:
    path = tmp_path / "broken.wav"
    path.write_bytes(content)
    async with DoubaoServer(recognise) as server:
        service = create_asr_service(api_key=API_KEY, host=server.host, **QUICK)
        with pytest.raises(RecognizerError) as caught:
            await service.recognize_file(path)
        assert (caught.value.code, caught.value.retryable) == ("doubao_file", False)
        with pytest.raises(RecognizerError):
            await service.recognize_file(tmp_path / "missing.wav")


async def test_d4_a_file_when_the_server_gives_up(tmp_path: Path) -> None:
    path = wav(tmp_path / "words.wav", sentence(1, 2, 3), LISTEN_RATE)
    async with DoubaoServer(recognise, troubles={0: Trouble(3, Error(45000030))}) as server:
        service = create_asr_service(api_key=API_KEY, host=server.host, **QUICK)
        with pytest.raises(RecognizerError) as caught:
            await service.recognize_file(path)
        assert caught.value.code == "doubao_45000030"


def test_d4_a_service_without_keys_is_refused_at_once() -> None:
    with pytest.raises(RecognizerError, match="app_key"):
        create_asr_service(app_key="only half")

"""Row D4: what the client does about every failure of the simulated service, and what it logs."""

from __future__ import annotations

import asyncio
import logging
import ssl
import tempfile
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from ipaddress import ip_address

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

from asr.doubao import Endpoint, STTClient
from asr.doubao.retry import CircuitBreaker, RetryPolicy
from core.errors import RecognizerError
from tests.doubao_talk import HURRIED, OPTIONS, QUICK, TEXT, client, talk
from tests.simulators.doubao import (
    ACCESS_KEY,
    API_KEY,
    APP_KEY,
    LOG_ID,
    Close,
    DoubaoServer,
    Drop,
    Error,
    Fault,
    Hang,
    Raw,
    Trouble,
)  # fmt: skip
from tests.spoken_numbers import pcm, recognise, sentence

# -- what the codes ask for


@pytest.mark.parametrize("code", [45000010, 45000030, 45000131, 45000132, 45000151, 45999999, 45000001])
@pytest.mark.parametrize("packet", [0, 3])
async def test_d4_what_only_an_operator_can_mend_is_not_tried_again(code: int, packet: int) -> None:
    troubles = {0: Trouble(packet, Error(code, f"refused {ACCESS_KEY}"))}
    async with DoubaoServer(recognise, troubles=troubles) as server:
        with pytest.raises(RecognizerError) as caught:
            await talk(client(server))
        assert len(server.visits) == 1
    assert (caught.value.code, caught.value.retryable, caught.value.adapter) == (f"doubao_{code}", False, "doubao")
    assert ACCESS_KEY not in str(caught.value)


@pytest.mark.parametrize("code", [20000003, 45000002, 20000000])
async def test_d4_silence_is_no_error(code: int) -> None:
    async with DoubaoServer(lambda _: "", troubles={0: Trouble(-1, Error(code))}) as server:
        assert await talk(client(server)) == ""
        assert len(server.visits) == 1


@pytest.mark.parametrize(
    ("fault", "visits"),
    [(Error(55000031), 5), (Error(55000000), 4), (Drop(), 4), (Error(45000081), 4), (Raw(b"x"), 4), (Hang(), 2),
     (Close(None), 2)],
    ids=repr,
)  # fmt: skip
async def test_d4_attempts_are_counted(fault: Fault, visits: int) -> None:
    troubles = {number: Trouble(2, fault) for number in range(20)}
    async with DoubaoServer(recognise, troubles=troubles) as server:
        with pytest.raises(RecognizerError) as caught:
            await talk(client(server, HURRIED if fault == Hang() else OPTIONS))
        assert len(server.visits) == visits
        assert caught.value.retryable


async def test_d4_three_quota_errors_and_nobody_connects_for_a_while() -> None:
    now = 0.0
    breaker = CircuitBreaker(clock=lambda: now)
    troubles = {number: Trouble(0, Error(45000292, "quota exceeded")) for number in range(3)}
    async with DoubaoServer(recognise, troubles=troubles) as server:
        for attempts, code in ((3, "doubao_45000292"), (3, "doubao_circuit_open")):
            with pytest.raises(RecognizerError) as caught:
                await talk(client(server, breaker=breaker))
            assert (caught.value.code, caught.value.retryable) == (code, True)
            assert server.attempts == attempts
        now += 60
        assert await talk(client(server, breaker=breaker)) == TEXT


@pytest.mark.parametrize("status", [400, 401, 403, 404])
async def test_d4_a_refused_handshake_is_not_repeated(status: int, caplog: pytest.LogCaptureFixture) -> None:
    async with DoubaoServer(recognise, statuses=[status] * 5) as server:
        with pytest.raises(RecognizerError) as caught:
            await talk(client(server))
        assert server.attempts == 1
    assert (caught.value.code, caught.value.retryable) == (f"doubao_http_{status}", False)
    assert LOG_ID in caplog.text


async def test_d4_keys_do_not_follow_a_redirect() -> None:
    async with DoubaoServer(recognise) as other, DoubaoServer(recognise, statuses=[302]) as server:
        server.elsewhere = other.host
        with pytest.raises(RecognizerError) as caught:
            await talk(client(server))
        assert caught.value.code == "doubao_http_302"
        assert other.attempts == 0


async def test_d4_a_certificate_that_is_not_trusted_is_the_operators_matter() -> None:
    own, trusting = certificate()
    async with DoubaoServer(recognise, tls=own) as server:
        with pytest.raises(RecognizerError) as caught:
            await talk(client(server, tls=ssl.create_default_context()))
        assert (caught.value.code, caught.value.retryable) == ("doubao_certificate", False)
        assert await talk(client(server, tls=trusting)) == TEXT


def certificate() -> tuple[ssl.SSLContext, ssl.SSLContext]:
    """A server's context with a certificate of its own for 127.0.0.1, and one of a client that trusts it."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "127.0.0.1")])
    now, hour = datetime.now(UTC), timedelta(hours=1)
    address = x509.SubjectAlternativeName([x509.IPAddress(ip_address("127.0.0.1"))])
    builder = x509.CertificateBuilder(name, name, key.public_key(), x509.random_serial_number(), now - hour, now + hour)
    builder = builder.add_extension(address, critical=False)
    pem = builder.sign(key, hashes.SHA256()).public_bytes(Encoding.PEM)
    private = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    server = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    with tempfile.NamedTemporaryFile(suffix=".pem") as file:
        file.write(private + pem)
        file.flush()
        server.load_cert_chain(file.name)
    return server, ssl.create_default_context(cadata=pem.decode())


async def test_d4_a_server_that_is_busy_at_the_door_is_asked_again() -> None:
    async with DoubaoServer(recognise, statuses=[503, 502]) as server:
        assert await talk(client(server)) == TEXT
        assert server.attempts == 3


async def test_d4_nobody_there() -> None:
    async with DoubaoServer(recognise) as server:
        host = server.host
    stt = STTClient(Endpoint(host, api_key=API_KEY), options=OPTIONS, retry=lambda: RetryPolicy(QUICK))
    with pytest.raises(RecognizerError) as caught:
        await talk(stt)
    assert (caught.value.code, caught.value.retryable) == ("doubao_unreachable", True)
    assert stt.stats.connections == 4


async def test_d4_missing_keys_are_told_before_connecting() -> None:
    with pytest.raises(RecognizerError, match="api_key"):
        await STTClient(Endpoint()).start_recognition()


async def test_d4_keys_never_and_log_ids_always_in_the_log(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    troubles = {0: Trouble(3, Error(55000031, f"{APP_KEY} {ACCESS_KEY}")), 1: Trouble(4, Error(45000000, ACCESS_KEY))}
    async with DoubaoServer(recognise, statuses=[503], troubles=troubles) as server:
        assert await talk(client(server)) == TEXT
    ours = [record.getMessage() for record in caplog.records if not record.name.startswith("websockets.server")]
    assert not any(key in line for key in (APP_KEY, ACCESS_KEY) for line in ours)
    assert not any(TEXT[:5] in line for line in ours)
    failures = [line for line in ours if "doubao failed" in line]
    assert len(failures) == 3
    assert all(LOG_ID in line for line in failures)
    assert sum("connected" in line and LOG_ID in line for line in ours) == 3


async def test_d4_a_mismatch_logs_the_heads_of_the_last_frames_and_no_audio(caplog: pytest.LogCaptureFixture) -> None:
    async with DoubaoServer(recognise, troubles={0: Trouble(3, Error(45000000))}) as server:
        await talk(client(server))
    line = next(record.getMessage() for record in caplog.records if "could not decode" in record.getMessage())
    assert "11 21 00 00 00 00 00 04 00 00 19 00" in line


# -- silence, and servers that fall silent


async def test_d2_a_muted_microphone_keeps_the_session_alive() -> None:
    options = replace(OPTIONS, keep_alive_s=0.05)
    async with DoubaoServer(recognise, idle_timeout_s=0.3) as server:
        stt = client(server, options)
        await stt.start_recognition()
        await stt.send_audio(pcm(sentence(1, 2)))
        while stt.stats.keep_alives < 10:
            await asyncio.sleep(0.02)
        await stt.send_audio(pcm(sentence(3)))
        result = await stt.finish()
        await stt.close()
        assert result.text == "1 2 3"
        assert result.end == pytest.approx(1.9, abs=0.02)
        assert len(server.visits) == 1
        assert server.visits[0].refusal is None


async def test_d4_an_idle_session_ends_normally_and_the_next_words_open_another() -> None:
    options = replace(OPTIONS, keep_alive_s=9, idle_after_s=0.05)
    async with DoubaoServer(recognise, idle_timeout_s=0.1) as server:
        stt = client(server, options)
        await stt.start_recognition()
        await stt.send_audio(pcm(sentence(1, 2)))
        while not stt.stats.errors["45000081"]:
            await asyncio.sleep(0.02)
        await asyncio.sleep(0.05)
        assert len(server.visits) == 1
        await stt.send_audio(pcm(sentence(3, 4)))
        assert (await stt.finish()).text == "1 2 3 4"
        assert recognise(server.visits[1].audio) == "3 4"
        await stt.close()


async def test_d4_an_idle_session_that_is_finished_need_not_come_back() -> None:
    options = replace(OPTIONS, keep_alive_s=9, idle_after_s=0.02)
    async with DoubaoServer(recognise, idle_timeout_s=0.05) as server:
        stt = client(server, options)
        await stt.start_recognition()
        await stt.send_audio(pcm(sentence(1, 2)))
        while not stt.stats.errors["45000081"]:
            await asyncio.sleep(0.02)
        assert (await stt.finish()).text == "1 2"
        await stt.close()
        assert len(server.visits) == 1


@pytest.mark.parametrize("fault", [Hang(), Close(1000)], ids=repr)
async def test_d2_no_final_result_twice_and_the_newest_one_counts(fault: Fault) -> None:
    troubles = {0: Trouble(-1, fault), 1: Trouble(-1, fault)}
    async with DoubaoServer(recognise, troubles=troubles) as server:
        assert await talk(client(server, HURRIED)) == TEXT
        assert len(server.visits) == 2


async def test_d2_a_server_that_hangs_in_the_middle_is_left_at_the_end_of_the_turn() -> None:
    async with DoubaoServer(recognise, troubles={0: Trouble(9, Hang())}) as server:
        assert await talk(client(server, HURRIED)) == TEXT
        assert len(server.visits) == 2


async def test_d2_a_server_that_never_answers_the_full_request() -> None:
    troubles = {number: Trouble(0, Hang()) for number in range(9)}
    async with DoubaoServer(recognise, troubles=troubles) as server:
        with pytest.raises(RecognizerError) as caught:
            await talk(client(server, HURRIED))
        assert caught.value.code == "doubao_silent"
        assert caught.value.retryable
        assert all(visit.packets == [] for visit in server.visits)

"""Offers that are no offers: each is refused with a reason, holds nothing, and the slot stays free."""

from __future__ import annotations

import asyncio
import re
import threading
from collections.abc import AsyncIterator

import psutil
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.avatar_client import AvatarClient
from tests.conftest import Serve, serve
from tests.offers import Api, channel_offer, real_offer


@pytest.fixture
async def api(serving: Serve) -> AsyncIterator[Api]:
    async with serving(limits__max_sessions="1") as server, Api(server) as api:
        await api.open_session()  # what the first offer starts for good: worker threads, the client's connection
        await api.hangup()
        yield api


def sockets() -> int:
    """UDP sockets of this process: what ICE gathers."""
    return len(psutil.Process().net_connections("udp"))


async def settled(threads: int, udp: int, tasks: int, patience: float = 3.0) -> tuple[int, int, int]:
    """Threads, UDP sockets and tasks, once they are back to what is given or patience is over."""
    end = asyncio.get_running_loop().time() + patience
    while True:
        now = threading.active_count(), sockets(), len(asyncio.all_tasks())
        if (now[0] <= threads and now[1] <= udp and now[2] <= tasks) or asyncio.get_running_loop().time() > end:
            return now
        await asyncio.sleep(0.02)


async def assert_free(api: Api) -> None:
    """The only slot of the server takes a good offer."""
    assert len(api.server.sessions) == 0
    assert "sdp" in await api.open_session()
    await api.hangup()


BAD = {
    "none": None,
    "number": 17,
    "object": {"sdp": "v=0"},
    "empty": "",
    "words": "hello",
    "version only": "v=0\r\n",
    "session only": "v=0\r\no=- 1 1 IN IP4 0.0.0.0\r\ns=-\r\nt=0 0\r\n",
    "huge": "v=0\r\n" + "a=x\r\n" * 100_000,
    "nulls": "v=0\r\n\0\0\0\r\nm=audio\0",
    "bare media line": "v=0\r\no=- 1 1 IN IP4 0.0.0.0\r\ns=-\r\nt=0 0\r\nm=audio\r\n",
    "no ice": "v=0\r\no=- 1 1 IN IP4 0.0.0.0\r\ns=-\r\nt=0 0\r\nm=audio 9 UDP/TLS/RTP/SAVPF 0\r\nc=IN IP4 0.0.0.0\r\n",
    "lone surrogate": "v=0\r\no=- 1 1 IN IP4 \ud800\r\n",
}


@pytest.mark.parametrize("sdp", BAD.values(), ids=BAD.keys())
async def test_garbage_is_refused_and_holds_nothing(api: Api, sdp: object) -> None:
    before = threading.active_count(), sockets(), len(asyncio.all_tasks())
    answer = await api.offer(sdp)
    assert answer["code"] == -1
    assert answer["error"] in ("bad_request", "bad_sdp")
    assert answer["msg"]
    assert await settled(*before) <= before
    await assert_free(api)


async def test_a_wrong_type_or_a_missing_sdp_is_refused(api: Api) -> None:
    sdp = await real_offer()
    wrong: list[object] = ["answer", "pranswer", "rollback", None, 1, [], {}]
    for kind in wrong:
        assert (await api.offer(sdp, type=kind))["error"] == "bad_request"
    assert (await api.post("/offer", type="offer"))["error"] == "bad_request"
    assert "sdp" in await api.post("/offer", sdp=sdp)  # the type may be left out


async def test_an_offer_cut_anywhere_is_refused_or_answered(api: Api) -> None:
    sdp = await real_offer()
    before = threading.active_count(), sockets(), len(asyncio.all_tasks())
    for end in range(0, len(sdp), len(sdp) // 25):
        answer = await api.offer(sdp[:end])
        if "sdp" in answer:
            api.id, api.token = answer["sessionid"], answer["token"]
            await api.hangup()
        else:
            assert answer["error"] == "bad_sdp"
    _, udp, tasks = await settled(*before)
    assert udp <= before[1]
    assert tasks <= before[2]
    await assert_free(api)


async def test_an_offer_without_media_is_refused(api: Api) -> None:
    answer = await api.offer(await channel_offer())
    assert answer["error"] == "bad_sdp"
    assert "neither audio nor video" in answer["msg"]
    await assert_free(api)


async def test_an_offer_with_repeated_mids_or_codecs_nobody_has_is_refused(api: Api) -> None:
    sdp = await real_offer()
    for broken in (
        re.sub(r"a=mid:\d", "a=mid:0", sdp),
        sdp.replace("opus", "nonsense").replace("PCMU", "x").replace("PCMA", "y").replace("G722", "z"),
        re.sub(r"a=ice-(ufrag|pwd):.*\r\n", "", sdp),
        re.sub(r"a=fingerprint:.*\r\n", "", sdp),
        re.sub(r"a=setup:.*\r\n", "", sdp),
        re.sub(r"a=fingerprint:sha-256 .*", "a=fingerprint:sha-256 zz", sdp),
        re.sub(r"m=audio \d+", "m=audio 99999999", sdp),
    ):
        answer = await api.offer(broken)
        if "sdp" in answer:
            api.id, api.token = answer["sessionid"], answer["token"]
            await api.hangup()
        assert len(api.server.sessions) == 0
    await assert_free(api)


async def test_an_offer_with_very_many_sections_is_refused(api: Api) -> None:
    answer = await api.offer(await real_offer(*["audio"] * 12))
    assert answer["error"] == "bad_sdp"
    await assert_free(api)


async def test_an_offer_with_very_many_candidates_is_refused(api: Api) -> None:
    lines = "".join(f"a=candidate:{n} 1 udp 2130706431 10.0.0.{n % 250} {n + 1} typ host\r\n" for n in range(600))
    answer = await api.offer((await real_offer()).replace("a=mid:0\r\n", "a=mid:0\r\n" + lines))
    assert answer["error"] == "bad_sdp"
    assert "candidates" in answer["msg"]
    await assert_free(api)


async def test_only_the_first_microphone_and_no_camera_is_received(api: Api) -> None:
    answer = await api.offer(await real_offer("audio", "audio", "video", "video", direction="sendrecv"))
    directions = re.findall(r"a=(sendrecv|sendonly|recvonly|inactive)", answer["sdp"])
    assert directions == ["sendrecv", "inactive", "sendonly", "inactive"]


async def test_a_data_channel_beside_the_media_does_no_harm(api: Api) -> None:
    assert "sdp" in await api.offer(await real_offer("audio", "video", channel=True))


async def test_a_bad_offer_for_a_running_session_leaves_its_media_alone(serving: Serve) -> None:
    async with serving() as server, Api(server) as api, AvatarClient(server.url, video=False) as client:
        await client.connect()
        for sdp in ("v=0\r\n", "nonsense", await channel_offer()):
            answer = await api.offer(sdp, sessionid=client.session, token=client.answer["token"])
            assert answer["error"] == "bad_sdp"
        begun = asyncio.get_running_loop().time()
        await client.human("still here")
        await client.audible(begun)


async def test_offers_at_the_same_time_for_one_session_leave_one_connection(serving: Serve) -> None:
    async with serving() as server, Api(server) as api:
        await api.open_session()
        before = sockets()
        offers = [api.offer(await real_offer(), sessionid=api.id, token=api.token) for _ in range(5)]
        answers = await asyncio.gather(*offers)
        assert all("sdp" in answer for answer in answers)
        assert len(server.sessions) == 1
        assert (await settled(99, before, 999))[1] <= before


async def test_a_session_that_ends_while_its_offer_is_answered_holds_nothing(serving: Serve) -> None:
    async with serving() as server, Api(server) as api:
        before = sockets()
        await api.open_session()
        sdp = await real_offer()
        again = asyncio.create_task(api.offer(sdp, sessionid=api.id, token=api.token))
        await asyncio.sleep(0)
        await api.hangup()
        answer = await again
        assert "sdp" in answer or answer["error"] == "session_not_found"
        assert (await settled(99, before, 999))[1] <= before


def mutated(sdp: str, cuts: list[tuple[int, int, str]]) -> str:
    for place, length, insert in cuts:
        place %= len(sdp) + 1
        sdp = sdp[:place] + insert + sdp[place + length :]
    return sdp


def lines_mixed(sdp: str, moves: list[tuple[int, int]]) -> str:
    lines = sdp.split("\r\n")
    for source, target in moves:
        line = lines[source % len(lines)]
        lines[target % len(lines)] = line
    return "\r\n".join(lines)


TOKENS = st.sampled_from(
    ["", "\r\n", "-1", "0", "99999999999", "m=audio", "m=video 9 x 96\r\n", "a=mid:", " ", ":", "é"]
)
CUTS = st.lists(
    st.tuples(st.integers(0, 5000), st.integers(0, 40), TOKENS | st.text(max_size=4)), min_size=1, max_size=4
)
MOVES = st.lists(st.tuples(st.integers(0, 200), st.integers(0, 200)), max_size=4)


async def test_mutations_of_a_real_offer_never_break_the_server(caplog: pytest.LogCaptureFixture) -> None:
    loop = asyncio.get_running_loop()
    async with serve(limits__max_sessions="1") as server, Api(server) as api:
        good = await real_offer("audio", "video", channel=True)
        await api.open_session()
        await api.hangup()
        before = threading.active_count(), sockets(), len(asyncio.all_tasks())

        async def attempt(sdp: str) -> None:
            answer = await api.offer(sdp)
            if "sdp" in answer:
                api.id, api.token = answer["sessionid"], answer["token"]
                await api.hangup()
            else:
                assert answer["error"] in ("bad_sdp", "bad_request"), answer
            assert len(server.sessions) == 0

        @settings(
            max_examples=80, deadline=None, database=None, suppress_health_check=list(HealthCheck), derandomize=True
        )
        @given(CUTS, MOVES)
        def search(cuts: list[tuple[int, int, str]], moves: list[tuple[int, int]]) -> None:
            asyncio.run_coroutine_threadsafe(attempt(lines_mixed(mutated(good, cuts), moves)), loop).result(20)

        await asyncio.to_thread(search)
        await assert_free(api)
        _, udp, tasks = await settled(*before)
        assert (udp, tasks) <= before[1:]
    assert [record for record in caplog.records if record.levelname == "ERROR"] == []

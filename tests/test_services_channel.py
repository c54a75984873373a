"""The in-process way to pages and digital humans: two paths that never mix, from any thread."""

from __future__ import annotations

import asyncio
import logging
import threading
from collections.abc import AsyncIterator
from typing import Any

import pytest

from core.services.wsa import WSAWebSocketService, get_instance, get_web_instance
from core.services.wsa_channel import MAX_COMMANDS, CommandQueue, WSAChannel
from core.websocket_manager import UnifiedWebSocketManager
from tests.service_line import Office, office

CHAT = {"type": "chat_message", "sender": "回音", "content": "hello", "Username": "User_7", "model_info": "Funasr"}
STATUS = {
    "type": "status_update", "sender": "系统", "content": "聆听中...", "status": "listening", "Username": "User_7",
    "model_info": "Funasr",
}  # fmt: skip
CONTROL = {"type": "control", "action": "interrupt", "Username": "User_7"}


@pytest.fixture
def wsa() -> WSAWebSocketService:
    return WSAWebSocketService(UnifiedWebSocketManager(), lambda session_id, token: None)


@pytest.fixture
async def desk(wsa: WSAWebSocketService) -> AsyncIterator[Office]:
    async with office(wsa._manager, [wsa]) as desk:
        yield desk


def plain(message: dict[str, Any]) -> dict[str, Any]:
    """Without its time."""
    return {key: value for key, value in message.items() if key != "timestamp"}


# -- where a message goes


async def test_b3_both_channels_know_who_is_registered(desk: Office) -> None:
    await desk.line(7, "web")
    await desk.line(8, "human")
    assert get_web_instance().get_usernames() == ["User_7"]
    assert get_instance().get_usernames() == ["User_8"]
    assert [get_web_instance().is_connected(name) for name in ("user_7", " User_7", "User_8", "", "7")] == [
        True, True, False, False, False,
    ]  # fmt: skip
    assert get_instance().is_connected("USER_8")


async def test_b3_each_target_is_reached_and_no_other_session(desk: Office) -> None:
    page, human = await desk.line(7, "web"), await desk.line(7, "human")
    assert (await page.next())["type"] == "wsa_status"
    strangers = [await desk.line(8, "web"), await desk.line(8, "human")]
    await strangers[0].next()
    assert get_web_instance().send_direct_message(CHAT) == 1
    assert await page.next() == CHAT
    assert get_web_instance().send_direct_message(CHAT | {"content": "for the human"}, target="human") == 1
    assert (await human.next())["content"] == "for the human"
    assert get_instance().send_direct_message(STATUS, "human") == 1
    assert await human.next() == STATUS
    assert get_instance().send_direct_message(STATUS) == 1
    assert await page.next() == STATUS
    for line in (page, human, *strangers):
        assert await line.quiet()


async def test_b3_a_page_of_the_session_gets_it_registered_or_not_and_once(desk: Office) -> None:
    registered, silent, both = await desk.line(7, "web"), await desk.line(7), await desk.line(7, "web", "human")
    assert [(await registered.next())["type"] for _ in range(2)] == ["wsa_status"] * 2
    guest = await desk.line(8, "web", username="user_7")
    for line in (registered, both):
        await line.next()
    assert get_web_instance().send_direct_message(CHAT | {"Username": "USER_7"}) == 4
    for line in (registered, silent, both, guest):
        assert await line.next() == CHAT
        assert await line.quiet()


async def test_b3_without_a_username_everybody_registered_gets_it_under_the_own_name(desk: Office) -> None:
    one, two, unknown = (
        await desk.line(1, "web"),
        await desk.line(2, "web"),
        await desk.line(3, "web", username="User_0"),
    )
    silent, human = await desk.line(1), await desk.line(2, "human")
    assert (await two.next())["type"] == "wsa_status"
    everybody = {key: value for key, value in CHAT.items() if key != "Username"}
    assert get_web_instance().send_direct_message(everybody) == 3
    for line, name in ((one, "User_1"), (two, "User_2"), (unknown, "User_0")):
        assert await line.next() == {**CHAT, "Username": name}
    assert await silent.quiet()
    assert await human.quiet()


async def test_b1_a_message_for_nobody_reaches_none_of_those_that_do_not_know_their_session(desk: Office) -> None:
    unknown = await desk.line(3, "web", username="User_0")
    assert get_web_instance().send_direct_message(CHAT | {"Username": "User_0"}) == 0
    assert await unknown.quiet()


async def test_b7_a_page_that_was_away_gets_what_was_sent_to_it_but_not_what_went_to_the_human(desk: Office) -> None:
    page = await desk.line(7, "web")
    await page.ws.close()
    line = await desk.line(7)
    assert get_web_instance().send_direct_message(CHAT) == 1
    assert get_web_instance().send_direct_message(CHAT | {"content": "secret"}, target="human") == 0
    back = await desk.line(7, last_seq=0)
    assert await back.next() == CHAT
    assert await back.quiet()
    assert await line.next() == CHAT


async def test_b3_nobody_there_is_no_error(desk: Office) -> None:
    for channel in (get_web_instance(), get_instance()):
        assert not channel.send_direct_message(CHAT)
        assert channel.add_cmd(CONTROL)
        assert channel.get_usernames() == []


# -- the two paths


async def test_b4_commands_go_out_wrapped_and_in_order(desk: Office) -> None:
    page = await desk.line(7, "web")
    broadcast = {"type": "broadcast", "content": "tea is ready"}
    assert get_web_instance().add_cmd(CONTROL)
    assert get_web_instance().add_cmd(broadcast)
    for data in (CONTROL, broadcast):
        message = await page.next()
        assert isinstance(message["timestamp"], int)
        assert plain(message) == {"type": "wsa_command", "data": data, "Username": "User_7"}


async def test_b4_data_given_to_add_cmd_goes_out_unwrapped_with_a_warning(
    desk: Office, caplog: pytest.LogCaptureFixture
) -> None:
    page = await desk.line(7, "web")
    result = {"type": "asr_result", "session_id": "7", "text": "hi", "is_final": True, "Username": "User_7"}
    for data in (CHAT, STATUS, result):
        caplog.clear()
        assert get_web_instance().add_cmd(data)
        assert await page.next() == data
        assert [record.levelno for record in caplog.records if "add_cmd" in record.message] == [logging.WARNING]
        assert "hello" not in caplog.text


async def test_b4_a_command_given_to_the_direct_path_goes_out_wrapped_with_a_warning(
    desk: Office, caplog: pytest.LogCaptureFixture
) -> None:
    page = await desk.line(7, "web")
    assert get_web_instance().send_direct_message(CONTROL) == 1
    assert plain(await page.next()) == {"type": "wsa_command", "data": CONTROL, "Username": "User_7"}
    assert "use add_cmd" in caplog.text


async def test_b4_what_is_wrapped_already_is_not_wrapped_twice(desk: Office) -> None:
    page = await desk.line(7, "web")
    assert get_web_instance().add_cmd({"type": "wsa_command", "data": CONTROL, "Username": "User_7"})
    assert (await page.next())["data"] == CONTROL


@pytest.mark.parametrize(
    "message",
    [
        None, "text", [CHAT], {}, {"type": ""}, {"type": 5}, {"type": "chat_message", "content": {1, 2}},
        {"type": "note", "value": float("nan")}, {"type": "chat_message", "Username": "User_7"},
        {"type": "chat_message", "content": 5}, {"type": "status_update", "content": "odd", "status": "dancing"},
        {"type": "status_update", "content": "whatever"}, {"type": "sync", "seq": 1}, {"type": "wsa_error"},
    ],
    ids=repr,
)  # fmt: skip
async def test_b5_what_no_page_could_show_is_refused_with_a_warning(
    desk: Office, caplog: pytest.LogCaptureFixture, message: Any
) -> None:
    page = await desk.line(7, "web")
    assert get_web_instance().send_direct_message(message) == 0
    assert get_web_instance().add_cmd(message) is False
    assert "refused" in caplog.text
    assert await page.quiet()


async def test_b5_a_chat_line_has_exactly_its_five_keys(desk: Office, caplog: pytest.LogCaptureFixture) -> None:
    page = await desk.line(7, "web")
    odd = {"type": "chat_message", "content": "hello", "panelMsg": "x", "token": "t0psecret", "Username": "user_7"}
    assert get_web_instance().send_direct_message(odd) == 1
    assert await page.next() == {**CHAT, "model_info": ""}
    assert "panelMsg" in caplog.text
    assert "t0psecret" not in caplog.text


async def test_b5_a_status_without_its_word_gets_the_one_of_its_text(desk: Office) -> None:
    page = await desk.line(7, "web")
    old = {key: value for key, value in STATUS.items() if key != "status"}
    assert get_web_instance().send_direct_message(old) == 1
    assert await page.next() == STATUS


async def test_k2_secrets_are_never_passed_on(desk: Office) -> None:
    page = await desk.line(7, "web")
    note = {"type": "note", "Username": "User_7", "Token": "a", "list": [{"api_key": "b", "kept": 1}]}
    assert get_web_instance().send_direct_message(note) == 1
    assert await page.next() == {"type": "note", "Username": "User_7", "list": [{"kept": 1}]}


async def test_f3_a_message_is_sent_as_it_was_when_it_was_handed_over(desk: Office) -> None:
    page = await desk.line(7, "web")
    command = {"type": "control", "Username": "User_7", "steps": [1]}
    assert get_web_instance().add_cmd(command)
    command["steps"] = [2]
    assert (await page.next())["data"]["steps"] == [1]


# -- threads


async def test_a9_any_thread_reaches_the_pages_in_order(desk: Office) -> None:
    page = await desk.line(7, "web")

    def work() -> list[int]:
        return [get_web_instance().send_direct_message(CHAT | {"content": str(number)}) for number in range(50)]

    assert await asyncio.to_thread(work) == [1] * 50
    assert [(await page.next())["content"] for _ in range(50)] == [str(number) for number in range(50)]


async def test_a9_the_loop_s_own_thread_is_never_waited_for(desk: Office) -> None:
    page = await desk.line(7, "web")
    asyncio.get_running_loop().call_soon(get_web_instance().send_direct_message, CHAT)
    assert await page.next() == CHAT


async def test_a9_commands_of_many_threads_arrive_each_once_and_in_each_thread_s_order(desk: Office) -> None:
    page = await desk.line(7, "web")

    def work(name: int) -> None:
        for number in range(30):
            assert get_web_instance().add_cmd({**CONTROL, "from": name, "number": number})

    await asyncio.gather(*(asyncio.to_thread(work, name) for name in range(4)))
    seen: dict[int, list[int]] = {name: [] for name in range(4)}
    for _ in range(120):
        data = (await page.next())["data"]
        seen[data["from"]].append(data["number"])
    assert all(numbers == list(range(30)) for numbers in seen.values())


def test_a9_a_full_queue_refuses_the_newest_and_wakes_the_loop_once() -> None:
    loop = asyncio.new_event_loop()
    delivered: list[Any] = []
    queue = CommandQueue(delivered.append)
    assert queue.put({"n": -1}) is False
    queue.attach(loop)
    assert [queue.put({"n": number}) for number in range(MAX_COMMANDS + 2)] == [True] * MAX_COMMANDS + [False] * 2
    assert queue.get() == {"n": 0}
    loop.call_soon(loop.stop)
    loop.run_forever()
    assert [message["n"] for message in delivered] == list(range(1, MAX_COMMANDS))
    assert queue.get() is None
    loop.close()
    assert queue.put({"n": 0}) is False


async def test_b3_get_cmd_takes_what_has_not_gone_out_yet(desk: Office) -> None:
    page = await desk.line(7, "web")
    assert get_web_instance().get_cmd() is None
    for number in range(2):
        get_web_instance().add_cmd({**CONTROL, "number": number})
    assert get_web_instance().get_cmd() == {**CONTROL, "number": 0}
    assert (await page.next())["data"]["number"] == 1
    assert await page.quiet()


# -- no server


def silent_answers(channel: WSAChannel) -> list[Any]:
    return [
        channel.is_connected("User_7"), channel.get_usernames(), channel.add_cmd(CONTROL), channel.get_cmd(),
        channel.send_direct_message(CHAT), channel.send_direct_message(CHAT, target="human"),
    ]  # fmt: skip


@pytest.mark.parametrize("channel", [get_web_instance(), get_instance()], ids=["web", "human"])
def test_b3_without_a_server_every_call_is_answered_and_logged(
    channel: WSAChannel, caplog: pytest.LogCaptureFixture
) -> None:
    assert silent_answers(channel) == [False, [], False, None, 0, 0]
    assert caplog.text.count("no server is running") == 3
    assert "hello" not in caplog.text


async def test_b3_a_server_that_ends_lets_go_of_those_who_wait_and_answers_no_more(wsa: WSAWebSocketService) -> None:
    async with office(wsa._manager, [wsa]) as desk:
        await desk.line(7, "web")
        asked, answers = threading.Event(), []

        def work() -> None:
            asked.set()
            answers.append(get_web_instance().send_direct_message(CHAT))

        thread = threading.Thread(target=work)
        thread.start()
        asked.wait()  # the loop is held here: the thread's message can't go out before the service closes
        await wsa.close()
        await asyncio.to_thread(thread.join, 5)
        assert answers in ([0], [1])
    assert silent_answers(get_web_instance()) == [False, [], False, None, 0, 0]


async def test_b3_the_newest_server_is_reached_and_an_older_one_that_ends_does_not_take_it_away(
    wsa: WSAWebSocketService,
) -> None:
    newer = WSAWebSocketService(UnifiedWebSocketManager(), lambda session_id, token: None)
    async with office(wsa._manager, [wsa]), office(newer._manager, [newer]) as desk:
        page = await desk.line(7, "web")
        await wsa.close()
        assert get_web_instance().send_direct_message(CHAT) == 1
        assert await page.next() == CHAT


async def test_b3_an_unknown_target_is_refused(desk: Office, caplog: pytest.LogCaptureFixture) -> None:
    await desk.line(7, "web")
    assert get_web_instance().send_direct_message(CHAT, target="everyone") == 0
    assert "everyone" in caplog.text

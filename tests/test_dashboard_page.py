"""The operator's page in a real Chromium, fed with snapshots (G3)."""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator
from typing import Any

import pytest
from playwright.async_api import Page

from tests import browser, feeds
from tests.feeds import Feed, feeding
from tests.pages import PageFiles

FILES = PageFiles("dashboard.html", "js/dashboard/main.js", "dashboard")
FIRST = "2043561278300000"


@contextlib.asynccontextmanager
async def dashboard(feed: Feed, **context: Any) -> AsyncIterator[Page]:
    """The page with its first snapshot, or with the form for the token."""
    async with browser.browser_page(f"{feed.url}/dashboard.html", **context) as page:
        await page.locator("#gate" if feed.token else "#board").wait_for()
        yield page


async def shown(page: Page, selector: str, text: str = "") -> None:
    """Wait until an element with this text can be seen."""
    await page.locator(selector, has_text=text).first.wait_for(timeout=10_000)


def troubled() -> dict[str, Any]:
    """Five sessions, three of them with troubles of their own; slow answers, errors, recognitions, other sockets."""
    current = feeds.snapshot(5, 24, loop_lag_ms=38.0)
    at, sessions, turns = current["at"], current["sessions"], current["turns"]
    sessions[1].update(pictures_skipped=400, fps=17.2)
    sessions[2]["network"] = {"rtt_ms": 412.0, "loss_percent": 12.4, "jitter_ms": 40.1}
    sessions[3].update(link="closed", activity="idle", speaking=False)
    sessions[4]["network"] = {"rtt_ms": None, "loss_percent": None, "jitter_ms": None}
    for turn in turns[:20]:
        for mark in ("first_token", "first_audio", "on_wire"):
            turn["marks"][mark] += 2100
    turns[-1].update(outcome="error")
    turns[-1]["marks"].update(first_token=None, first_audio=None, on_wire=None)
    turns[-2].update(outcome="interrupted")
    turns[-3].update(source="echo", marks={"transcript": None, "first_token": None, "first_audio": 80, "on_wire": 101})
    current["errors"] = [
        feeds.error("dialogue", "openai", "dialogue_failed", "the dialogue server does not answer", 4, at),
        feeds.error("tts", "espeak", "tts_failed", "the voice could not be loaded", 1, at - 3_600_000),
    ]
    words = ("what", "what is", "what is seven times six", "请问现在几点了？")
    current["recognitions"] = [
        feeds.recognition(number, at - 5000 * (4 - number), text, "partial" if number < 2 else "final", number // 3)
        for number, text in enumerate(words)
    ]
    current["other_sockets"] = [feeds.socket(90, session_id="1763722800", roles={})]
    return current


def test_g3_page_is_complete_in_both_languages() -> None:
    FILES.check_languages()


def test_g3_page_refers_to_what_exists() -> None:
    FILES.check_references()
    FILES.check_styles()


def test_g3_page_takes_data_as_text_only() -> None:
    FILES.check_safety()


@pytest.mark.browser
async def test_g3_an_idle_server_is_well() -> None:
    async with feeding() as feed, dashboard(feed) as page:
        await shown(page, "#verdict-title", "All is well")
        await shown(page, "#sessions-empty")
        await shown(page, "#errors-empty")
        await shown(page, "#turns-empty")
        assert await page.inner_text("#tile-sessions .tile-value") == "0"
        await feed.history(feeds.snapshot(0), 60)
        await browser.screenshot(page, "dashboard_empty")


@pytest.mark.browser
async def test_g3_says_who_is_slow_and_why() -> None:
    async with feeding() as feed, dashboard(feed) as page:
        await feed.history(troubled(), 60)
        await shown(page, "#findings li", "Session …300001 gets only 17.2 pictures")
        found = await page.inner_text("#findings")
        for words in ("wakes up 38 ms late", "…300002 loses 12 % of its packets", "…300003 has lost its media"):
            assert words in found
        assert "Thinking" in await page.inner_text("#verdict")
        assert await page.locator("#session-table tbody").count() == 5
        row = page.locator('tbody[data-session="2043561278300002"]')
        assert await row.locator('[data-level="bad"]').inner_text() == "12 % lost"
        assert await page.locator('tbody[data-session="2043561278300003"] .activity').inner_text() == "Disconnected"
        await page.click("#findings >> text=…300002 loses")
        assert await row.locator(".details").is_visible()
        assert "c2" in await row.locator(".sockets").inner_text()
        await shown(page, "#error-rows li", "the dialogue server does not answer")
        await shown(page, "#recognition-rows", "what is seven times six")
        await shown(page, "#recognition-rows", "partial results before: 2")
        assert await page.locator("#recognition-rows li").count() == 2  # one per turn
        await shown(page, "#socket-rows li", "c90")
        await browser.screenshot(page, "dashboard_trouble")


@pytest.mark.browser
async def test_g3_answers_are_a_waterfall_with_values_and_the_median() -> None:
    async with feeding() as feed, dashboard(feed) as page:
        current = feeds.snapshot(1, 3)
        marks = current["turns"][-1]["marks"]
        marks.update(transcript=100, first_token=150, first_audio=350, on_wire=400)
        current["turns"][0]["marks"].update(transcript=None, first_token=None, first_audio=None, on_wire=None)
        await feed.show(current)
        newest = page.locator("#turn-rows .turn").first
        await newest.hover()
        values = await newest.locator(".turn-values").inner_text()
        assert [part.strip() for part in values.split("·")] == [
            "Recognition 100 ms", "Thinking 50 ms", "Voice 200 ms", "Sending 50 ms",
        ]  # fmt: skip
        drawn = await newest.locator("rect").evaluate_all(
            "all => all.map(part => [part.dataset.part, part.getAttribute('x'), part.getAttribute('width')])"
        )
        assert drawn == [
            ["transcript", "0%", "25%"], ["first_token", "25%", "12.5%"], ["first_audio", "37.5%", "50%"],
            ["on_wire", "87.5%", "12.5%"],
        ]  # fmt: skip
        other = current["turns"][1]["marks"]["on_wire"]
        assert await page.inner_text("#turn-median .turn-total") == f"{round((400 + other) / 2 + 1e-9)} ms"
        assert await page.locator("#turn-rows .turn").nth(2).locator("rect").count() == 0


@pytest.mark.browser
async def test_g3_a_session_is_stopped_only_after_a_yes() -> None:
    async with feeding() as feed, dashboard(feed) as page:
        await feed.show(feeds.snapshot(2))
        stop = page.locator(f'tbody[data-session="{FIRST}"] .cell-actions button:visible').nth(2)
        await stop.click()
        await shown(page, "#dialog", FIRST)
        await page.keyboard.press("Escape")
        await page.locator("#dialog").wait_for(state="hidden")
        assert feed.commands == []
        await stop.click()
        await page.click("#dialog-action")
        await shown(page, ".toast", "has ended")
        assert feed.commands == [("/api/admin/stop", {"sessionid": FIRST}, "")]
        feed.refusal = "session not found"
        await stop.click()
        await page.click("#dialog-action")
        await shown(page, '.toast[data-kind="error"]', "session not found")


@pytest.mark.browser
async def test_g3_texts_messages_and_the_log_level_reach_the_server() -> None:
    async with feeding() as feed, dashboard(feed) as page:
        await feed.show(feeds.snapshot(1))
        speak, message = (page.locator(".cell-actions button:visible").nth(number) for number in (0, 1))
        await speak.click()
        await page.fill("#dialog-input", "what time is it")
        await page.check('input[value="chat"]')
        await page.check("#dialog-interrupt")
        await page.keyboard.press("Control+Enter")
        await shown(page, ".toast", "speaks it")
        await message.click()
        await page.fill("#dialog-input", "hello there")
        await page.click("#dialog-action")
        await page.click("#broadcast")
        await page.fill("#dialog-input", "back at noon")
        await page.click("#dialog-action")
        await shown(page, ".toast", "open pages: 1")
        await page.select_option("#log-level", "debug")
        await shown(page, ".toast", "debug")
        assert [(path.rpartition("/")[2], body) for path, body, _ in feed.commands] == [
            ("say", {"sessionid": FIRST, "text": "what time is it", "type": "chat", "interrupt": True}),
            ("message", {"sessionid": FIRST, "text": "hello there"}),
            ("message", {"text": "back at noon"}),
            ("log_level", {"level": "debug"}),
        ]


@pytest.mark.browser
async def test_g3_asks_for_the_token_and_keeps_it_for_the_tab() -> None:
    async with feeding(token="open sesame") as feed, dashboard(feed) as page:
        await shown(page, "#gate")
        assert not await page.is_visible("#board")
        await page.fill("#gate-token", "wrong")
        await page.keyboard.press("Enter")
        await shown(page, "#gate-reason", "the admin token is wrong")
        await browser.screenshot(page, "dashboard_token")
        await page.fill("#gate-token", "open sesame")
        await page.keyboard.press("Enter")
        await shown(page, "#board")
        await page.reload()
        await shown(page, "#board")
        assert feed.logins == ["", "wrong", "open sesame", "open sesame"]
        await page.select_option("#log-level", "error")
        await shown(page, ".toast", "error")
        assert feed.commands[-1][2] == "Bearer open sesame"
        assert await page.evaluate("JSON.stringify(localStorage).includes('sesame')") is False


@pytest.mark.browser
async def test_g3_a_lost_connection_is_obvious_and_comes_back_by_itself() -> None:
    async with feeding() as feed, dashboard(feed) as page:
        await feed.show(feeds.snapshot(1))
        await shown(page, "#board")
        port = int(feed.url.rpartition(":")[2])
        await feed.stop()
        await shown(page, "#banner", "No connection to the server.")
        assert "⚠" in await page.title()
        assert await page.inner_text("#connection") == "Connection lost"
        assert await page.locator("#session-table tbody").count() == 1, "the last figures stay"
        await browser.screenshot(page, "dashboard_lost")
        async with feeding(port=port) as again:
            await again.show(feeds.snapshot(3))
            await page.locator("#banner").wait_for(state="hidden", timeout=15_000)
            await shown(page, "#session-count", "3")
            assert await page.inner_text("#connection") == "Live"


@pytest.mark.browser
async def test_g3_pause_holds_the_picture_still() -> None:
    async with feeding() as feed, dashboard(feed) as page:
        await feed.show(feeds.snapshot(1))
        await shown(page, "#session-count", "1")
        await page.click("#pause")
        await shown(page, "#frozen")
        await feed.show(feeds.snapshot(4))
        assert await page.inner_text("#session-count") == "1"
        await page.click("#unfreeze")
        assert await page.inner_text("#session-count") == "4"


@pytest.mark.browser
async def test_g3_what_users_say_never_becomes_markup_and_focus_survives_updates() -> None:
    evil = "<img src=x onerror=\"document.title='owned'\"><b>bold</b>"
    async with feeding() as feed, dashboard(feed) as page:
        current = feeds.snapshot(1, 1)
        current["sessions"][0].update(avatar=evil, activity=evil, speaking=False)
        current["turns"][0].update(engine=evil, source=evil)
        current["errors"] = [feeds.error(evil, evil, evil, evil, 2, current["at"])]
        current["recognitions"] = [feeds.recognition(0, current["at"], evil)]
        await feed.show(current)
        await shown(page, "#recognition-rows", evil)
        assert await page.locator("main img, main .fine b").count() == 0
        assert await page.title() == "Eman · Dashboard"
        await page.locator(".toggle").focus()
        await page.keyboard.press("Enter")
        await feed.show({**current, "at": current["at"] + 1000})
        await shown(page, ".details")
        assert await page.evaluate("document.activeElement.className") == "toggle tool"


@pytest.mark.browser
async def test_g3_fits_small_screens_in_both_languages_and_schemes() -> None:
    phone = {"width": 360, "height": 760}
    async with feeding() as feed, dashboard(feed, viewport=phone, locale="zh-CN") as page:
        await feed.history(troubled(), 20)
        await shown(page, "#session-count", "5")
        await page.locator(".toggle").first.click()
        assert await page.inner_text("#connection") == "实时"
        assert "秒" in await page.inner_text("tbody .about >> nth=0")
        await check_fit(page, "dashboard_360_zh")
        await page.click("#language")
        await page.emulate_media(color_scheme="dark")
        assert await page.inner_text("#connection") == "Live"
        await check_fit(page, "dashboard_360_dark")
        await page.set_viewport_size({"width": 820, "height": 1180})
        await check_fit(page, "dashboard_820_dark")


async def check_fit(page: Page, name: str) -> None:
    """Nothing sticks out to the side, and fingers can hit the buttons."""
    assert await page.evaluate("document.documentElement.scrollWidth <= innerWidth")
    small = await page.locator("#board button:not(.link), .bar button").evaluate_all(
        "all => all.filter(b => b.offsetParent && b.getBoundingClientRect().height < 40).length"
    )
    assert small == 0, "too small for a finger"
    await browser.screenshot(page, name)

"""The page for users of the API, in a real Chromium against the real server (G4)."""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from playwright.async_api import Locator, Page

from core.openapi import document
from server import Server
from tests import browser
from tests.conftest import Serve
from tests.pages import PageFiles
from tests.test_uploads import wav

FILES = PageFiles("webrtcapi.html", "js/api_page/main.js", "api_page")


@contextlib.asynccontextmanager
async def api_page(server: Server, **context: Any) -> AsyncIterator[Page]:
    url = server.url.replace("127.0.0.1", "localhost")
    async with browser.browser_page(f"{url}/webrtcapi.html", **context) as page:
        await page.locator(".operation").first.wait_for()
        yield page


async def opened(page: Page, name: str) -> Locator:
    """An operation's frame, opened."""
    frame = page.locator(f"#operation-{name}")
    if await frame.get_attribute("open") is None:
        await frame.locator("> summary").click()
    return frame


async def send(frame: Locator) -> str:
    """Press Send; the answer as text."""
    await frame.locator('button[type="submit"]').click()
    await frame.locator(".status").wait_for()
    return str(await frame.locator(".answer").inner_text())


async def connect(page: Page) -> str:
    """Start a session with the panel; its id."""
    await page.click("#media-connect")
    await browser.until(page, "document.querySelector('#media-video').videoWidth > 0")
    return await page.input_value("#key-session")


def test_g4_page_is_complete_in_both_languages() -> None:
    FILES.check_languages()


def test_g4_page_says_what_the_document_says() -> None:
    """The page's own words for an operation, there to be translated, are the document's."""
    spec, english = document(""), FILES.table("en")
    operations = [operation for item in spec["paths"].values() for operation in item.values()]
    assert {f"operation.{one['operationId']}": one["summary"] for one in operations} == {
        key: text for key, text in english.items() if key.startswith("operation.")
    }
    assert {f"about.{tag['name']}": tag["description"] for tag in spec["tags"]} == {
        key: text for key, text in english.items() if key.startswith("about.")
    }


def test_g4_page_refers_to_what_exists() -> None:
    FILES.check_references()
    FILES.check_styles()


def test_g4_page_takes_data_as_text_only() -> None:
    FILES.check_safety()


@pytest.mark.browser
async def test_g4_every_endpoint_has_a_form(serving: Serve) -> None:
    async with serving() as server, api_page(server) as page:
        wanted = {(path, method) for path, item in document("")["paths"].items() for method in item}
        shown = await page.locator(".operation").evaluate_all(
            "all => all.map(one => [one.dataset.path, one.querySelector('.method').textContent.toLowerCase()])"
        )
        assert {(path, "get" if kind == "ws" else kind) for path, kind in shown} == wanted
        assert await page.locator(".jump").count() == len(shown)
        frame = await opened(page, "human")
        names = await frame.locator(".field label code").all_inner_texts()
        assert names == ["sessionid", "token", "text", "type", "interrupt", "tts"]


@pytest.mark.browser
async def test_g4_a_session_fills_the_forms_and_every_answer_is_shown(serving: Serve, tmp_path: Path) -> None:
    async with serving() as server, api_page(server) as page:
        session = await connect(page)
        assert [one.id for one in server.sessions.all()] == [session]
        offer = page.locator("#operation-offer")
        assert "200" in await offer.locator(".status").inner_text()
        assert '"sdp"' in await offer.locator(".answer").inner_text()
        stream = await opened(page, "sse")
        await send(stream)
        human = await opened(page, "human")
        assert await human.locator('[name="sessionid"]').input_value() == session
        await human.locator('[name="text"]').fill("it's here")
        await human.locator(".request summary").click()
        assert '"text": "it\'s here"' in await human.locator(".request .code").first.inner_text()
        assert "it'\\''s here" in await human.locator(".request .code").nth(1).inner_text()
        answer = await send(human)
        assert '"code": 0' in answer
        assert "ms" in answer
        await stream.locator(".code", has_text='"status": "start"').wait_for()
        await stream.locator(".form-buttons button").nth(1).click()
        await stream.locator(".stream-state", has_text="ended").wait_for()
        sound = tmp_path / "a.wav"
        sound.write_bytes(wav(0.2))
        upload = await opened(page, "humanaudio")
        await upload.locator('input[type="file"]').set_input_files(sound)
        assert '"code": 0' in await send(upload)
        assert f"file=@{sound.name}" in str(await upload.locator(".request .code").nth(1).text_content())
        await human.scroll_into_view_if_needed()
        await browser.screenshot(page, "api_page")
        hangup = await opened(page, "hangup")
        assert '"code": 0' in await send(hangup)
        assert "session_not_found" in await send(human)
        assert await human.locator(".status").get_attribute("data-kind") == "error"


@pytest.mark.browser
async def test_g4_the_console_speaks_with_ws(serving: Serve) -> None:
    async with serving() as server, api_page(server) as page:
        session = await connect(page)
        console = await opened(page, "ws")
        await console.locator(".form-buttons button").first.click()
        await console.locator(".frames li", has_text="open:").wait_for()
        assert session in await console.locator("textarea").input_value()
        await console.locator('button[type="submit"]').click()
        await console.locator('li[data-kind="in"]', has_text="login_success").wait_for()
        await console.locator("textarea").fill("no json")
        await console.locator('button[type="submit"]').click()
        await console.locator('li[data-kind="in"]', has_text="bad_message").wait_for()
        assert await console.locator('li[data-kind="out"]').count() == 2
        assert "token" in str(await console.locator('li[data-kind="out"]').first.inner_text())
        await browser.screenshot(page, "api_page_console")
        await console.locator(".form-buttons button").first.click()
        await console.locator(".frames li", has_text="closed: 1000").wait_for()


@pytest.mark.browser
async def test_g4_keys_go_only_where_they_belong(serving: Serve) -> None:
    async with serving(auth__admin_token="a" * 32) as server, api_page(server) as page:
        sessions = await opened(page, "admin_sessions")
        answer = await send(sessions)
        assert "401" in answer
        assert "auth_failed" in answer
        await page.fill("#key-admin", "a" * 32)
        assert '"code": 0' in await send(sessions)
        config = await opened(page, "config")
        await send(config)
        assert "X-Admin-Token" not in str(await config.locator(".request").text_content())
        assert "X-Admin-Token" in str(await sessions.locator(".request").text_content())


@pytest.mark.browser
async def test_g4_page_in_chinese_on_a_phone(serving: Serve) -> None:
    look = {"viewport": {"width": 360, "height": 740}, "locale": "zh-CN", "color_scheme": "dark"}
    async with serving() as server, api_page(server, **look) as page:
        assert "对话" in await page.inner_text("#group-talk h2")
        for name in ("offer", "human", "ws", "admin_say"):
            await opened(page, name)
        assert '"code": 0' in await send(await opened(page, "config"))
        assert await page.evaluate("document.documentElement.scrollWidth") == 360
        await page.locator("#operation-human").scroll_into_view_if_needed()
        await browser.screenshot(page, "api_page_360_zh")
        await page.click("#language")
        assert await page.inner_text("#group-talk h2") == "Talking"

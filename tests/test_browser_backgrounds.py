"""The operator's pictures as backgrounds on the chat page, in a real Chromium that looks at what is seen."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest
from numpy.typing import NDArray
from playwright.async_api import Locator, Page

from server import Server
from tests import browser
from tests.background_files import COLOURS, fill
from tests.browser import connect, until
from tests.conftest import Serve

pytestmark = pytest.mark.browser

NAMES = {
    "By the sea & co.jpg": "By the sea & co",
    "Glass.png": "Glass",
    "my_holiday-photo.jpg": "My holiday photo",
    "wall.webp": "Wall",
    "海边 日落.png": "海边 日落",
}
LATER = {
    "2024-06-01_rome.jpg": "2024-06-01 rome",
    "_.png": "_.png",
    "Q3 - a_b.png": "Q3 - a_b",
    "été-2024.jpg": "Été 2024",
}


def settings(rooms: Path) -> dict[str, str]:
    size = {"media__width": "256", "media__height": "256"}
    return {"face__engine": "vector", "face__vector__backgrounds": str(rooms), **size}


def address(server: Server) -> str:
    return server.url.replace("127.0.0.1", "localhost")


async def seen(part: Locator) -> NDArray[np.int64]:
    """An element as it is seen, B G R."""
    with av.open(io.BytesIO(await part.screenshot())) as container:
        frame = next(container.decode(video=0))
        assert isinstance(frame, av.VideoFrame)
        return frame.to_ndarray(format="bgr24").astype(np.int64)


async def assert_thumbnails(page: Page, box: str) -> None:
    """Each picture's swatch shows the picture."""
    for name, colour in COLOURS.items():
        patch = page.locator(f'{box} .swatch:has(input[value="{name}"]) .patch')
        await patch.scroll_into_view_if_needed()
        picture = await seen(patch)
        height, width = picture.shape[:2]
        shown = picture[height // 2 : height * 3 // 4, width * 2 // 5 : width * 3 // 5].mean(axis=(0, 1))
        assert np.abs(shown - colour).max() < 16, name


async def names(page: Page) -> list[str]:
    return await page.locator("#cast .swatch-name").all_text_contents()


async def test_f4_pictures_are_chosen_by_what_they_show(serving: Serve, tmp_path: Path) -> None:
    rooms = fill(tmp_path / "rooms")
    async with serving(**settings(rooms)) as server, browser.browser_page(address(server), flags=()) as page:
        await page.locator("#cast .face").nth(2).wait_for()
        assert (await names(page))[-5:] == list(NAMES.values())
        assert "Broken" not in await names(page)
        await page.wait_for_load_state("networkidle")
        await assert_thumbnails(page, "#cast")
        sunset = page.locator('#cast .swatch:has(input[value="海边 日落.png"])')
        assert await sunset.get_attribute("title") == "海边 日落"
        await sunset.click()
        # the portrait shows it before a conversation begins
        await until(page, "document.querySelector('#poster').src.includes('background=')")
        await page.wait_for_timeout(500)
        await browser.screenshot(page, "backgrounds-first")
        corner = (await seen(page.locator("#poster")))[20:60, 20:60].mean(axis=(0, 1))
        assert np.abs(corner - COLOURS["海边 日落.png"]).max() < 25
        await page.evaluate("document.querySelector('#use-microphone').checked = false")
        await connect(page)
        assert server.sessions.all()[0].face.background == "海边 日落.png"
        await page.click("#more")
        await page.click("#look-open")
        await page.wait_for_timeout(500)
        await assert_thumbnails(page, "#look-picker")
        await browser.screenshot(page, "backgrounds-call")


async def test_f4_a_remembered_picture_that_is_gone_is_not_asked_for(serving: Serve, tmp_path: Path) -> None:
    rooms = fill(tmp_path / "rooms")
    for name in LATER:
        (rooms / name).write_bytes((rooms / "wall.webp").read_bytes())
    async with serving(**settings(rooms)) as server, browser.browser_page(address(server), flags=()) as page:
        await page.locator("#cast .face").nth(2).wait_for()
        assert set(LATER.values()) <= set(await names(page))
        await page.evaluate(
            """localStorage.setItem('eman.look', JSON.stringify({avatar: 'ansel', background: 'broken.jpg'}))"""
        )
        await page.reload()
        await page.locator("#cast .face").nth(2).wait_for()
        await until(page, "document.querySelector('#cast input[value=ansel]').checked")
        assert await page.locator("#cast input[value=studio]").is_checked()
        await page.evaluate("document.querySelector('#use-microphone').checked = false")
        await connect(page)
        [session] = server.sessions.all()
        assert (session.face.presenter, session.face.background) == ("ansel", "")


PHONE = {"viewport": {"width": 390, "height": 844}, "is_mobile": True, "has_touch": True}


@pytest.mark.parametrize("context", [{}, PHONE], ids=["wide", "phone"])
async def test_f4_many_pictures_leave_start_where_it_is_seen(
    serving: Serve, tmp_path: Path, context: dict[str, Any]
) -> None:
    picture = (fill(tmp_path / "rooms") / "wall.webp").read_bytes()
    for number in range(10, 50):
        (tmp_path / "rooms" / f"room_{number}.webp").write_bytes(picture)
    async with (
        serving(**settings(tmp_path / "rooms")) as server,
        browser.browser_page(address(server), flags=(), **context) as page,
    ):
        await page.locator("#cast .swatch").nth(44).wait_for()
        page_height = await page.evaluate("innerHeight")
        start = await page.get_by_role("button", name="Start", exact=True).bounding_box()
        assert start is not None
        assert start["y"] + start["height"] < page_height
        if not context:
            assert await page.evaluate("(({scrollHeight, clientHeight}) => scrollHeight - clientHeight)"
                                       "(document.querySelector('.welcome'))") == 0  # fmt: skip
        # the one that is chosen is in sight, by keys, too
        await page.focus("#cast input[value=studio]")
        await page.keyboard.press("ArrowUp")
        await until(page, "document.querySelector('#cast input[value=\"海边 日落.png\"]').checked")
        group = await page.locator("#cast .swatches").bounding_box()
        last = await page.locator("#cast .swatch").last.bounding_box()
        assert group is not None
        assert last is not None
        for edge, size in (("x", "width"), ("y", "height")):
            assert group[edge] <= last[edge] + 1
            assert last[edge] + last[size] <= group[edge] + group[size] + 1

"""Choosing the presenter and the background on the chat page, in a real Chromium that looks at what arrives."""

from __future__ import annotations

import io
import json
from collections.abc import AsyncIterator
from typing import Any

import av
import numpy as np
import pytest
from numpy.typing import NDArray
from playwright.async_api import Page, Route

from server import Server
from tests import browser
from tests.browser import connect, until
from tests.conftest import Serve
from tests.page_server import PageServer

pytestmark = pytest.mark.browser

EMBEDDED = {"face__engine": "vector", "media__width": "256", "media__height": "256"}
NO_MICROPHONE: tuple[str, ...] = ()

SEEN = """async ([selector, size]) => {
    const source = document.querySelector(selector);
    const canvas = new OffscreenCanvas(size, size);
    const pen = canvas.getContext('2d', {willReadFrequently: true});
    pen.drawImage(source, 0, 0, size, size);
    return [...pen.getImageData(0, 0, size, size).data];
}"""
OF = """async ([path, size]) => {
    const picture = new Image();
    picture.src = path;
    await picture.decode();
    const canvas = new OffscreenCanvas(size, size);
    const pen = canvas.getContext('2d', {willReadFrequently: true});
    pen.drawImage(picture, 0, 0, size, size);
    return [...pen.getImageData(0, 0, size, size).data];
}"""
SIZE = 64


def address(server: Server) -> str:
    return server.url.replace("127.0.0.1", "localhost")


async def pixels(page: Page, selector: str) -> NDArray[np.int64]:
    """What an element shows, R G B A, (64, 64, 4)."""
    return np.array(await page.evaluate(SEEN, [selector, SIZE])).reshape(SIZE, SIZE, 4)


async def picture(page: Page, path: str) -> NDArray[np.int64]:
    """A picture of the server, likewise."""
    return np.array(await page.evaluate(OF, [path, SIZE])).reshape(SIZE, SIZE, 4)


async def shown(page: Page) -> str:
    """Whose portrait the received picture is like."""
    arrived = (await pixels(page, "#video"))[..., :3]
    apart = {}
    for name in ("mira", "ansel", "juno"):
        portrait = (await picture(page, f"api/presenters/{name}/portrait.webp"))[..., :3]
        apart[name] = float(np.abs(arrived - portrait).mean())
    best = min(apart, key=lambda name: apart[name])
    assert apart[best] < 0.5 * sorted(apart.values())[1], apart
    return best


async def choose(page: Page, value: str, box: str = "#cast") -> None:
    await page.locator(f'{box} label:has(input[value="{value}"])').click()


async def start(page: Page) -> None:
    """Press Start, without a microphone."""
    await page.evaluate("document.querySelector('#use-microphone').checked = false")
    await connect(page)


async def open_dialog(page: Page) -> None:
    await page.click("#more")
    await page.click("#look-open")


async def new_picture(page: Page, width: int) -> None:
    """Wait until a video of this width plays and nothing covers it."""
    await until(page, f"document.querySelector('#video').videoWidth === {width}")
    await until(page, "document.querySelector('#frozen').hidden")


@pytest.fixture
async def lone_page() -> AsyncIterator[PageServer]:
    async with PageServer().serving() as running:
        yield running


async def test_f4_who_is_chosen_arrives(serving: Serve) -> None:
    async with serving(**EMBEDDED) as server, browser.browser_page(address(server), flags=NO_MICROPHONE) as page:
        await page.locator("#cast .face").nth(2).wait_for()
        names = await page.locator("#cast .face-name").all_text_contents()
        assert names == ["Mira", "Ansel", "Juno"]
        assert await page.locator("#cast").get_by_role("radio", name="Mira").is_checked()
        await choose(page, "ansel")
        await until(page, "document.querySelector('#poster').src.includes('ansel')")
        await start(page)
        assert await shown(page) == "ansel"
        assert server.sessions.all()[0].face.presenter == "ansel"


@pytest.mark.parametrize(("width", "height"), [(180, 320), (320, 180)])
async def test_f4_upright_and_wide_pictures_are_shown_whole(serving: Serve, width: int, height: int) -> None:
    """On a phone held upright a tall picture is cut off, but not the head."""
    size = {"media__width": str(width), "media__height": str(height)}
    shape = "((box) => box.width / box.height)(document.querySelector('{}').getBoundingClientRect())"
    async with serving(**EMBEDDED | size) as server, browser.browser_page(address(server), NO_MICROPHONE) as page:
        await until(page, f"Math.abs({shape.format('#poster')} - {width / height}) < 0.02")
        await start(page)
        await new_picture(page, width)
        for view in ({"width": 1280, "height": 800}, {"width": 844, "height": 390}):
            await page.set_viewport_size(view)  # type: ignore[arg-type]
            await until(page, f"Math.abs({shape.format('#video')} - {width / height}) < 0.02")
        await page.set_viewport_size({"width": 390, "height": 844})
        wide = await page.evaluate(shape.format("#video"))
        place = await page.evaluate("getComputedStyle(document.querySelector('#video')).objectPosition")
        if width > height:
            assert wide > 1.6
        else:
            assert wide > 0.9, "as wide as the phone"
            assert float(place.split()[1].removesuffix("%")) < 12, "cut off at the bottom, not at the hair"


async def test_f4_another_one_during_the_call_without_losing_anything(serving: Serve) -> None:
    async with (
        serving(**EMBEDDED, dialogue__engine="demo") as server,
        browser.browser_page(address(server), flags=NO_MICROPHONE) as page,
    ):
        await page.locator("#cast .face").nth(2).wait_for()
        await start(page)
        before = await page.evaluate("window.eman.state.sessionid")
        await page.fill("#text", "What is seven times six?")
        await page.keyboard.press("Enter")
        await page.locator('#log .message[data-role="avatar"][data-state="done"]').first.wait_for(timeout=30_000)
        said = await browser.said(page)
        await page.evaluate(
            """() => {
                window.disturbed = 0;
                new MutationObserver(() => { window.disturbed += 1; })
                    .observe(document.querySelector('#curtain'), {attributes: true});
                new MutationObserver(() => { window.disturbed += 1; })
                    .observe(document.body, {attributeFilter: ['data-phase']});
            }"""
        )
        await open_dialog(page)
        await choose(page, "juno", "#look-picker")
        await until(page, "document.querySelector('#still').src.includes('juno')")
        await until(page, "!document.querySelector('#frozen').hidden", 20)
        await new_picture(page, 256)
        assert await shown(page) == "juno"
        assert await page.evaluate("window.disturbed") == 0
        assert await page.evaluate("window.eman.state.sessionid") == before
        assert await browser.said(page) == said
        assert len(server.sessions) == 1
        assert server.sessions.all()[0].face.presenter == "juno"
        await page.click("#look-close")
        await page.fill("#text", "What is two times two?")
        await page.keyboard.press("Enter")
        await page.locator('#log .message[data-role="avatar"][data-state="done"]').nth(1).wait_for(timeout=30_000)


@pytest.mark.parametrize(
    ("flags", "kind"), [(("--enable-unsafe-swiftshader",), "webgl"), (("--disable-3d-apis",), "2d")]
)
@pytest.mark.parametrize("scheme", ["light", "dark"])
async def test_f4_without_a_background_the_page_shows_through(
    serving: Serve, flags: tuple[str, ...], kind: str, scheme: str
) -> None:
    async with (
        serving(**EMBEDDED) as server,
        browser.browser_page(address(server), flags=flags, color_scheme=scheme) as page,
    ):
        await page.locator("#cast .face").nth(2).wait_for()
        await choose(page, "ansel")
        await choose(page, "transparent")
        await start(page)
        await new_picture(page, 512)
        await until(page, "document.querySelector('#cutout canvas').width === 256")
        assert await page.evaluate("Boolean(document.querySelector('#cutout canvas').getContext('webgl'))") == (
            kind == "webgl"
        )
        await page.wait_for_timeout(600)
        composed = await pixels(page, "#cutout canvas")
        assert composed[2, 2, 3] == composed[2, -3, 3] == 0
        assert composed[24:40, 28:36, 3].min() == 255
        # colours are those of the drawing: no other range, no other matrix
        drawn = await picture(page, "api/presenters/ansel/cutout.webp")
        face = np.s_[22:30, 28:36, :3]
        assert np.abs(composed[face].mean(axis=(0, 1)) - drawn[face].mean(axis=(0, 1))).max() < 6
        box = await page.locator(".screen").bounding_box()
        assert box is not None
        screen = await screenshot(page)
        x, y = round(box["x"]), round(box["y"])
        right = round(box["x"] + box["width"])
        ground = np.array([242, 244, 241] if scheme == "light" else [13, 18, 17])
        for corner in (screen[y + 60, x + 8], screen[y + 4, right - 8]):
            assert np.abs(corner.astype(int) - ground).max() <= 2, (corner, ground)
        middle = screen[round(box["y"] + 0.4 * box["height"]), round(box["x"] + 0.5 * box["width"])]
        assert np.abs(middle.astype(int) - ground).max() > 40
        await open_dialog(page)
        await choose(page, "studio", "#look-picker")
        await new_picture(page, 256)
        assert await page.locator("#cutout").is_hidden()
        assert await shown(page) == "ansel"


async def screenshot(page: Page) -> NDArray[np.uint8]:
    """The page as it is seen, R G B."""
    with av.open(io.BytesIO(await page.screenshot())) as container:
        frame = next(container.decode(video=0))
        assert isinstance(frame, av.VideoFrame)
        return np.asarray(frame.to_ndarray(format="rgb24"), np.uint8)


async def test_f4_the_choice_is_remembered_while_anything_may_be_kept(serving: Serve) -> None:
    async with serving(**EMBEDDED) as server, browser.browser_page(address(server), flags=NO_MICROPHONE) as page:
        await page.locator("#cast .face").nth(2).wait_for()
        await choose(page, "juno")
        await page.locator("#cast .swatch").nth(3).click()
        kept = json.loads(await page.evaluate("localStorage.getItem('eman.look')"))
        assert kept["avatar"] == "juno"
        assert kept["background"].startswith("#")
        await page.reload()
        await until(page, "document.querySelector('#cast input[value=juno]')?.checked")
        await start(page)
        assert server.sessions.all()[0].face.background == kept["background"]
        await page.click("#more")
        await page.locator(".menu .switch:has(#enable-storage)").click()
        await until(page, "localStorage.getItem('eman.look') === null")
        await page.click("#look-open")
        await choose(page, "mira", "#look-picker")
        await until(page, "document.querySelector('#still').src.includes('mira')")
        assert await page.evaluate("localStorage.getItem('eman.look')") is None


async def test_f4_keys_and_names_in_both_languages(serving: Serve) -> None:
    async with serving(**EMBEDDED) as server, browser.browser_page(address(server), flags=NO_MICROPHONE) as page:
        await page.locator("#cast .face").nth(2).wait_for()
        await page.focus("#cast input[value=mira]")
        await page.keyboard.press("ArrowRight")
        await until(page, "document.querySelector('#cast input[value=ansel]').checked")
        moving = "document.querySelector('#cast .face:nth-of-type(2) .face-moving')?.dataset.ready === 'true'"
        await until(page, moving, 60)
        await page.keyboard.press("Tab")
        await page.keyboard.press("ArrowRight")
        await until(page, "document.querySelector('#cast input[value=transparent]').checked")
        assert await page.locator("#cast .face-moving").count() == 0
        group = page.get_by_role("group", name="Background", exact=True)
        assert await group.get_by_role("radio").count() == 7
        assert await group.get_by_role("radio", name="No background").is_checked()
        assert await group.get_by_role("radio", name="Dark blue").count() == 1
        await page.click("#language")
        assert await page.get_by_role("group", name="背景").get_by_role("radio", name="无背景").is_checked()


async def test_f4_who_wants_no_motion_gets_none(serving: Serve) -> None:
    async with (
        serving(**EMBEDDED) as server,
        browser.browser_page(address(server), flags=NO_MICROPHONE, reduced_motion="reduce") as page,
    ):
        await page.locator("#cast .face").nth(2).wait_for()
        await page.hover("#cast .face")
        await page.wait_for_timeout(300)
        assert await page.locator(".face-moving").count() == 0


async def test_f4_a_refusal_is_told_and_all_stays_as_it_was(serving: Serve) -> None:
    async def refuse(route: Route) -> None:
        wish: dict[str, Any] = route.request.post_data_json or {}
        if wish.get("avatar") != "juno":
            await route.continue_()
            return
        await route.fulfill(
            json={"code": -1, "msg": "there is no presenter of that name", "error": "unknown_presenter"}
        )

    async with serving(**EMBEDDED) as server, browser.browser_page(address(server), flags=NO_MICROPHONE) as page:
        await page.route("**/offer", refuse)
        await page.locator("#cast .face").nth(2).wait_for()
        await choose(page, "ansel")
        await start(page)
        await open_dialog(page)
        await choose(page, "juno", "#look-picker")
        await page.locator("#notice .notice").wait_for()
        assert "not here any more" in await page.locator("#notice .notice").inner_text()
        assert await page.locator("#look-picker input[value=ansel]").is_checked()
        before = await page.evaluate("document.querySelector('#video').getVideoPlaybackQuality().totalVideoFrames")
        await until(
            page, f"document.querySelector('#video').getVideoPlaybackQuality().totalVideoFrames > {before + 10}"
        )
        assert await shown(page) == "ansel"


async def test_f4_a_server_without_a_choice_shows_none(lone_page: PageServer) -> None:
    async with browser.browser_page(lone_page.link, flags=NO_MICROPHONE) as page:
        await until(page, "window.eman?.state.socket === true")
        assert await page.locator("#cast").is_hidden()
        await page.click("#more")
        assert await page.locator("#look-open").is_hidden()

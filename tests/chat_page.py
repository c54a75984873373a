"""The chat page in a real browser, before a server without an avatar: for its modules alone."""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator

from playwright.async_api import Page

from tests import browser
from tests.page_server import PageServer


@contextlib.asynccontextmanager
async def chat_page() -> AsyncIterator[Page]:
    """Open until the block ends."""
    async with (
        PageServer().serving() as server,
        browser.launched() as chromium,
        browser.page_of(chromium, f"{server.url}/webrtcapichat.html") as opened,
    ):
        yield opened

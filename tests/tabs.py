"""Two tabs of a real Chromium of which one is hidden, as a user hides it.

Playwright keeps every page visible; so this speaks the browser's own protocol
(chromedevtools.github.io/devtools-protocol).
"""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import json
import tempfile
from collections.abc import AsyncIterator
from typing import Any

import aiohttp

from tests import browser


class Tab:
    """The one that is looked at, and an empty one to go to."""

    def __init__(self, socket: aiohttp.ClientWebSocketResponse) -> None:
        self._socket = socket
        self._numbers = itertools.count(1)
        self._answers: dict[int, asyncio.Future[dict[str, Any]]] = {}
        self._session = self._other = ""
        self.reading = asyncio.create_task(self._read())

    async def open(self, url: str) -> None:
        """Go there; hidden tabs are as they are until then."""
        self._other, self._session = await self._tab("about:blank"), await self._tab(url)
        await self.until("document.readyState === 'complete'")

    async def hide(self) -> None:
        """Go to the other tab."""
        await self._send("Page.bringToFront", self._other)
        await self.until("document.hidden")

    async def show(self) -> None:
        """Come back."""
        await self._send("Page.bringToFront", self._session)
        await self.until("!document.hidden")

    async def evaluate(self, code: str) -> Any:
        """The value of an expression, or of the promise that it is; to the page it is a user's gesture."""
        asked = {"expression": code, "returnByValue": True, "awaitPromise": True, "userGesture": True}
        answer = await self._send("Runtime.evaluate", self._session, **asked)
        assert "exceptionDetails" not in answer, answer
        return answer["result"].get("value")

    async def until(self, expression: str, timeout: float = 30.0) -> None:
        """Wait until an expression is true."""
        async with asyncio.timeout(timeout):
            while not await self.evaluate(expression):
                await asyncio.sleep(0.05)

    async def _tab(self, url: str) -> str:
        target = (await self._send("Target.createTarget", url=url))["targetId"]
        return str((await self._send("Target.attachToTarget", targetId=target, flatten=True))["sessionId"])

    async def _send(self, method: str, session: str = "", **params: Any) -> dict[str, Any]:
        number = next(self._numbers)
        answer = self._answers[number] = asyncio.get_running_loop().create_future()
        to = {"sessionId": session} if session else {}
        await self._socket.send_json({"id": number, "method": method, "params": params, **to})
        told = await answer
        assert "error" not in told, told
        result: dict[str, Any] = told["result"]
        return result

    async def _read(self) -> None:
        async for message in self._socket:
            told = json.loads(message.data)
            if (answer := self._answers.pop(told.get("id", 0), None)) is not None:
                answer.set_result(told)


@contextlib.asynccontextmanager
async def tab_of(url: str) -> AsyncIterator[Tab]:
    """A Chromium of its own with a microphone that everybody may use."""
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as profile:
        flags = [*browser.ARGS, *browser.FAKE_MEDIA, f"--user-data-dir={profile}", "--remote-debugging-port=0"]
        pipes = {"stderr": asyncio.subprocess.PIPE, "stdout": asyncio.subprocess.DEVNULL}
        process = await asyncio.create_subprocess_exec(browser.chromium(), *flags, "about:blank", **pipes)
        assert process.stderr is not None
        async with asyncio.timeout(60):
            while b"DevTools listening on" not in (line := await process.stderr.readline()):
                assert line, "the browser did not start"
        draining = asyncio.create_task(process.stderr.read())
        async with (
            aiohttp.ClientSession() as http,
            http.ws_connect(line.decode().split()[-1], max_msg_size=0) as socket,
        ):
            tab = Tab(socket)
            try:
                await tab.open(url)
                yield tab
            finally:
                tab.reading.cancel()
                process.terminate()
                await process.wait()
                draining.cancel()

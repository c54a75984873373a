"""The custom protocol for threads: blocking calls, callbacks, and the way to the chat page."""

from __future__ import annotations

import asyncio
import logging
import threading
from collections.abc import Callable, Coroutine
from concurrent.futures import CancelledError, Future, ThreadPoolExecutor
from pathlib import Path
from typing import Any, Self

from asr.funasr.client import FunASRClient, Mode, Recognition
from asr.funasr.exchange import NAME
from core.errors import RecognizerError
from core.outlet import Outlet, outlet

log = logging.getLogger(__name__)

MAX_PCM_S = 600
"""Seconds of audio that `send` keeps."""


class FunASRSync:
    """Recognises through a server of the custom protocol, from any thread.

    `result_callback(text)` is called for words only, in the thread that recognises. With `chat` each result also goes
    to the chat page of `username` (everybody's, if empty) where a server runs in this process; without one recognition
    works all the same. Other options are those of `FunASRClient`. Use it as a context manager, or `close` it.
    """

    def __init__(
        self, url: str = "ws://127.0.0.1:10197", *, username: str = "",
        result_callback: Callable[[str], None] | None = None, chat: bool = True, threads: int = 4, waiting: int = 32,
        way_out: Outlet = outlet, **options: Any,
    ) -> None:  # fmt: skip
        self._username = username
        self._result_callback = result_callback
        self._chat = chat
        self._way_out = way_out
        self._client = FunASRClient(url, **options)
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._serve, name="funasr", daemon=True)
        self._pool = ThreadPoolExecutor(threads, "funasr")
        self._room = threading.BoundedSemaphore(threads + waiting)
        self._pcm = bytearray()
        self._closed = False
        self._thread.start()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    # -- recognising

    def recognize(self, audio: bytes, **options: Any) -> str:
        """The words in audio ("" for none); takes what `FunASRClient.recognize` takes. Raises `RecognizerError`."""
        return self._told(self._client.recognize(audio, **options))

    def recognize_file(self, path: Path | str, *, mode: Mode = "auto", **options: Any) -> str:
        """The words in a file. Raises `RecognizerError`, `OSError`."""
        return self._told(self._client.recognize_file(path, mode=mode, **options))

    def submit_file(self, path: Path | str, **options: Any) -> Future[str]:
        """Recognise a file in the background. Raises `RecognizerError` (busy) when too many wait."""
        if self._closed or not self._room.acquire(blocking=False):
            raise RecognizerError("too many recognitions wait", adapter=NAME, code="busy", retryable=True)
        future = self._pool.submit(self.recognize_file, path, **options)
        future.add_done_callback(lambda _: self._room.release())
        return future

    def start(self) -> None:
        """The user begins to speak."""
        self._pcm.clear()

    def send(self, pcm: bytes) -> None:
        """More of it: 16 bit mono at 16 kHz."""
        self._pcm += pcm[: MAX_PCM_S * 32_000 - len(self._pcm)]

    def end(self) -> str:
        """The user has spoken: the words. Raises `RecognizerError`."""
        pcm, self._pcm = bytes(self._pcm), bytearray()
        return self.recognize(pcm, audio_format="pcm") if pcm else ""

    # -- telling

    def send_chat_message(self, content: str, sender: str = "回音", model_info: str = "Funasr") -> bool:
        """Show a line on the chat page. False when it reached nobody: no page is there, or no server runs."""
        message = {"type": "chat_message", "sender": sender, "content": content, "Username": self._username}
        return self._way_out.send(message | {"model_info": model_info}) > 0

    def close(self) -> None:
        """End what is going on. Idempotent."""
        if self._closed:
            return
        self._closed = True
        self._pool.shutdown(wait=False, cancel_futures=True)
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()

    def _serve(self) -> None:
        try:
            self._loop.run_forever()
        finally:
            self._loop.run_until_complete(_cancel_all())
            self._loop.close()

    def _told(self, work: Coroutine[Any, Any, Recognition]) -> str:
        if self._closed:
            work.close()
            raise RecognizerError("this client is closed", adapter=NAME, code="cancelled")
        try:
            text = asyncio.run_coroutine_threadsafe(work, self._loop).result().text
        except CancelledError:
            raise RecognizerError("this client was closed", adapter=NAME, code="cancelled") from None
        if text:
            if self._chat:
                self.send_chat_message(text)
            if self._result_callback is not None:
                self._result_callback(text)
        return text


async def _cancel_all() -> None:
    others = asyncio.all_tasks() - {asyncio.current_task()}
    for task in others:
        task.cancel()
    await asyncio.gather(*others, return_exceptions=True)

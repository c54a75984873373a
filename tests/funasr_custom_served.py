"""The custom FunASR protocol for the contract tests: our server with the embedded recogniser behind it."""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator

from asr.funasr.recognizer import FunASRCustomRecognizer
from asr.funasr.server import FunASRServer
from asr.pocketsphinx import PocketsphinxRecognizer


@contextlib.asynccontextmanager
async def served() -> AsyncIterator[FunASRCustomRecognizer]:
    """The recogniser, not started, and its server, running."""
    embedded = PocketsphinxRecognizer()
    await embedded.start()
    server = FunASRServer(embedded, port=0)
    await server.start()
    try:
        yield FunASRCustomRecognizer(url=f"ws://127.0.0.1:{server.port}")
    finally:
        await server.close()
        await embedded.close()

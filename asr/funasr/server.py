"""The custom protocol's server: `python -m asr.funasr.server --recognizer pocketsphinx` (docs/asr-funasr-custom.md)."""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import http
import json
import logging
import signal
import ssl
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from websockets.asyncio.server import Server, ServerConnection, serve
from websockets.datastructures import Headers
from websockets.http11 import Request, Response
from websockets.typing import Subprotocol

import asr
from asr.funasr.connection import Connection
from asr.funasr.files import SharedFiles
from asr.funasr.service import RecognitionService
from asr.funasr.transcriber import Transcriber
from asr.funasr.upload import Limits
from core.errors import EmanError
from core.log import LEVELS, configure
from core.stages import Recognizer, load_adapter

log = logging.getLogger(__name__)
_quiet = logging.getLogger("asr.funasr.websockets")
_quiet.setLevel(logging.CRITICAL)  # strangers who send no handshake are no errors of ours

PORT = 10197
MAX_FRAME = 16 * 2**20
MAX_CONNECTIONS = 256
BINARY = Subprotocol("binary")
PATIENT: dict[str, dict[str, Any]] = {"pocketsphinx": {"finish_timeout_s": 120.0}}
"""Options for work on files, where nobody waits for an answer within a breath; the command line wins."""


class FunASRServer:
    """Serves `recognizer`, which the caller has started and closes. `port` 0 chooses a free one."""

    def __init__(
        self, recognizer: Recognizer, *, host: str = "127.0.0.1", port: int = PORT, workers: int = 1, waiting: int = 32,
        limits: Limits | None = None, files: SharedFiles | None = None, tls: ssl.SSLContext | None = None,
        sweep_s: float = 1.0, max_connections: int = MAX_CONNECTIONS,
    ) -> None:  # fmt: skip
        self.host, self.port = host, port
        self.service = RecognitionService(
            Transcriber(recognizer, workers=workers, waiting=waiting), limits=limits or Limits(),
            files=files or SharedFiles(),
        )  # fmt: skip
        self._tls = tls
        self._sweep_s = sweep_s
        self._max_connections = max_connections
        self._server: Server | None = None
        self._sweeper: asyncio.Task[None] | None = None
        self.connections: set[Connection] = set()
        """Who is connected."""

    async def start(self) -> None:
        """Listen. Raises `OSError` when the port is taken."""
        self._server = await serve(
            self._handle, self.host, self.port, ssl=self._tls, max_size=MAX_FRAME, max_queue=2, compression=None,
            ping_interval=20, ping_timeout=20, select_subprotocol=_subprotocol, process_request=self._admit,
            server_header=None, logger=_quiet,
        )  # fmt: skip
        self.port = next(iter(self._server.sockets)).getsockname()[1]
        self._sweeper = asyncio.create_task(self._sweep(), name="funasr sweeper")

    async def close(self) -> None:
        """Say goodbye to everybody and drop what is open. Idempotent."""
        if self._server is None or self._sweeper is None:
            return
        self._sweeper.cancel()
        self._server.close()
        await self._server.wait_closed()
        await asyncio.gather(self._sweeper, return_exceptions=True)
        await self.service.close()
        self._server = None

    def _admit(self, _: ServerConnection, request: Request) -> Response | None:
        if len(self.connections) < self._max_connections:
            return None
        return Response(http.HTTPStatus.SERVICE_UNAVAILABLE, "Service Unavailable", Headers({"Retry-After": "5"}), b"")

    async def _handle(self, socket: ServerConnection) -> None:
        connection = Connection(socket, self.service)
        self.connections.add(connection)
        try:
            await connection.run()
        except Exception:
            log.exception("a connection failed")
        finally:
            self.connections.discard(connection)

    async def _sweep(self) -> None:
        while True:
            await asyncio.sleep(self._sweep_s)
            await self.service.expire()


def _subprotocol(_: ServerConnection, offered: Sequence[Subprotocol]) -> Subprotocol | None:
    return BINARY if BINARY in offered else None


def arguments(argv: Sequence[str] | None = None) -> argparse.Namespace:
    """The command line."""
    limits, mb = Limits(), 2**20
    parser = argparse.ArgumentParser(prog="python -m asr.funasr.server", description=__doc__)
    add = parser.add_argument
    add("--recognizer", default="pocketsphinx", help=f"{', '.join(asr.ADAPTERS)} or package.module:Class")
    add("--option", action="append", default=[], metavar="KEY=VALUE", help="option of the recogniser; repeatable")
    add("--host", default="127.0.0.1", help="address to listen on; 0.0.0.0 lets in everybody (default: %(default)s)")
    add("--port", type=int, default=PORT, help="default: %(default)s; 0 chooses a free one")
    add("--workers", type=int, default=1, help="recognitions at a time (default: %(default)s)")
    add("--waiting", type=int, default=32, help="recognitions in the queue (default: %(default)s)")
    add("--root", action="append", default=[], type=Path, help="folder whose files clients may name; repeatable")
    add("--http", action="store_true", help="clients may name web addresses")
    add("--delete-after", action="store_true", help="delete files under --root once recognised, as Fay's server does")
    add("--max-upload-mb", type=int, default=limits.upload // mb, help="default: %(default)s")
    add("--memory-mb", type=int, default=limits.memory // mb, help="audio held at a time (default: %(default)s)")
    add("--max-minutes", type=float, default=limits.audio_s / 60, help="longest audio (default: %(default)g)")
    add("--tls-cert", type=Path, help="certificate chain (PEM): serve wss://")
    add("--tls-key", type=Path, help="its key (PEM)")
    add("--log-level", choices=LEVELS, default="info", help="default: %(default)s")
    return parser.parse_args(argv)


def options_of(pairs: Sequence[str]) -> dict[str, Any]:
    """KEY=VALUE words as keyword arguments; values are JSON, else strings."""
    options = {}
    for pair in pairs:
        key, _, value = pair.partition("=")
        try:
            options[key] = json.loads(value)
        except ValueError:
            options[key] = value
    return options


async def run(wish: argparse.Namespace) -> None:
    """Serve until interrupted. Raises `EmanError`, `OSError`."""
    options = PATIENT.get(wish.recognizer, {}) | options_of(wish.option)
    recognizer: Recognizer = load_adapter("recognizer", wish.recognizer, asr.ADAPTERS, options)
    tls = None
    if wish.tls_cert:
        tls = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
        tls.load_cert_chain(wish.tls_cert, wish.tls_key)
    limits = replace(
        Limits(), upload=wish.max_upload_mb * 2**20, memory=wish.memory_mb * 2**20, audio_s=wish.max_minutes * 60
    )
    files = SharedFiles(wish.root, http=wish.http, delete_after=wish.delete_after, max_bytes=limits.upload)
    server = FunASRServer(
        recognizer, host=wish.host, port=wish.port, workers=wish.workers, waiting=wish.waiting, limits=limits,
        files=files, tls=tls,
    )  # fmt: skip
    stop = asyncio.Event()
    for signum in (signal.SIGINT, signal.SIGTERM):
        with contextlib.suppress(NotImplementedError):  # Windows
            asyncio.get_running_loop().add_signal_handler(signum, stop.set)
    await recognizer.start()
    try:
        await server.start()
        print(f"{recognizer.name} at {'wss' if tls else 'ws'}://{wish.host}:{server.port}", flush=True)
        await stop.wait()
    finally:
        await server.close()
        await recognizer.close()


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line."""
    wish = arguments(argv)
    configure(wish.log_level)
    try:
        asyncio.run(run(wish))
    except (EmanError, OSError) as error:
        log.error("%s", error)
        return 1
    except KeyboardInterrupt:
        pass
    return 0


if __name__ == "__main__":
    raise SystemExit(main())

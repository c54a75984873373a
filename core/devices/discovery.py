"""The OTA address, which tells devices where the WebSocket is."""

from __future__ import annotations

import time

from aiohttp import web

from core.devices import ota
from core.devices.caller import caller_of
from core.devices.door import Door
from core.devices.options import DeviceOptions
from core.errors import BadRequest


class Discovery:
    """Its handlers."""

    def __init__(self, door: Door, options: DeviceOptions) -> None:
        self._door = door
        self._options = options

    async def where(self, request: web.Request) -> web.Response:
        """For people who look whether this is the right address."""
        return web.Response(text=f"Devices of the xiaozhi protocol are served. The WebSocket: {self._url(request)}\n")

    async def discover(self, request: web.Request) -> web.Response:
        """A device asks where the WebSocket is. Raises `RateLimited`."""
        report = ota.report_of(await request.read())
        try:
            caller = caller_of(request.headers, request.query, ota.device_of(report))
        except BadRequest as error:
            return web.json_response({"error": str(error)}, status=400)
        token = self._door.token_for(request, caller)
        answer = ota.answer(report, self._url(request), token, time.time())
        return web.json_response(answer, headers={"Cache-Control": "no-store"})

    def _url(self, request: web.Request) -> str:
        if self._options.url:
            return self._options.url
        return f"{'wss' if request.secure else 'ws'}://{request.host}{self._options.paths[0]}"

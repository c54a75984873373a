"""What tests of the HTTP API share: a bare client and SDP offers."""

from __future__ import annotations

import json
from typing import Any

import aiohttp
from aiortc import RTCConfiguration, RTCPeerConnection

from server import Server

WRONG_IDS: list[object] = ["404", 404, "", None, True, 1.5, [], {}, "x" * 65, "a\0b", "\ud800", -1]


async def real_offer(*kinds: str, channel: bool = False, direction: str = "recvonly") -> str:
    """The SDP of an offer as a browser without microphone makes it; nothing of it stays open."""
    pc = RTCPeerConnection(RTCConfiguration(iceServers=[]))
    for kind in kinds or ("audio", "video"):
        pc.addTransceiver(kind, direction=direction)
    if channel:
        pc.createDataChannel("data")
    await pc.setLocalDescription(await pc.createOffer())
    sdp = str(pc.localDescription.sdp)
    await pc.close()
    return sdp


async def channel_offer() -> str:
    """An offer with a data channel and no media."""
    pc = RTCPeerConnection(RTCConfiguration(iceServers=[]))
    pc.createDataChannel("data")
    await pc.setLocalDescription(await pc.createOffer())
    sdp = str(pc.localDescription.sdp)
    await pc.close()
    return sdp


class Api:
    """Plain HTTP towards a test server. `async with` closes it."""

    def __init__(self, server: Server) -> None:
        self.server = server
        self.url = server.url
        self.http = aiohttp.ClientSession()
        self.id = self.token = ""

    async def __aenter__(self) -> Api:
        return self

    async def __aexit__(self, *exc: object) -> None:
        await self.http.close()

    async def raw(self, method: str, path: str, **request: Any) -> tuple[int, dict[str, Any]]:
        """Status and JSON body of any request."""
        async with self.http.request(method, self.url + path, **request) as response:
            return response.status, await response.json()

    async def post(self, path: str, **body: Any) -> dict[str, Any]:
        """The JSON answer; its HTTP status must be 200."""
        status, answer = await self.raw("POST", path, data=json.dumps(body))
        assert status == 200, answer
        return answer

    async def offer(self, sdp: object, **more: Any) -> dict[str, Any]:
        """The answer to an offer or its refusal."""
        return await self.post("/offer", **{"sdp": sdp, "type": "offer", **more})

    async def open_session(self) -> dict[str, Any]:
        """A session whose media never connects; remembered in `id` and `token`."""
        answer = await self.offer(await real_offer())
        self.id, self.token = answer["sessionid"], answer["token"]
        return answer

    async def human(self, text: str, kind: str = "echo", **more: Any) -> dict[str, Any]:
        return await self.post("/human", sessionid=self.id, text=text, type=kind, **more)

    async def is_speaking(self) -> dict[str, Any]:
        return await self.post("/is_speaking", sessionid=self.id)

    async def hangup(self) -> None:
        answer = await self.post("/api/hangup", sessionid=self.id, token=self.token)
        assert answer["code"] == 0

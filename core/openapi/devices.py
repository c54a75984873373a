"""What devices of the xiaozhi protocol ask for: paths of the document in core/openapi/specification.py."""

from __future__ import annotations

from core.openapi.build import content, operation, query
from core.openapi.schemas import Schema, obj, text, whole

_WHO = [
    query("device-id", text("The header `Device-Id`, for who can't set headers.", examples=["02:00:00:12:34:56"])),
    query("client-id", text("The header `Client-Id`.", examples=["5b3c8d3e-9b0f-4f5c-8a53-0f3a5c1f9a10"])),
    query("authorization", text("The header `Authorization`: `Bearer` and the device's token.")),
]
_URL = "ws://127.0.0.1:8010/xiaozhi/v1/"

DEVICE_PATHS: dict[str, Schema] = {
    "/xiaozhi/ota/": {
        "get": operation(
            "device_where",
            "devices",
            "Whether this is the right address",
            {"description": "A line of text.", "content": {"text/plain": {}}},
        ),
        "post": operation(
            "device_discover",
            "devices",
            "Where the WebSocket is, and with which token",
            {
                "description": "What the device is to use from now on; its firmware stays as it is.",
                "content": content(
                    obj(
                        {
                            "server_time": obj({"timestamp": whole("Unix ms."), "timezone_offset": whole("Minutes.")}),
                            "firmware": obj({"version": text("The device's own."), "url": text()}),
                            "websocket": obj(
                                {
                                    "url": text(),
                                    "token": text("Empty while it needs, or gets, none."),
                                    "version": whole(),
                                }
                            ),
                        }
                    ),
                    example={
                        "server_time": {"timestamp": 1790000000000, "timezone_offset": 480},
                        "firmware": {"version": "2.0.3", "url": ""},
                        "websocket": {"url": _URL, "token": "", "version": 1},
                    },
                ),
            },
            more={
                "400": {
                    "description": "The device does not say who it is.",
                    "content": content(obj({"error": text()})),
                }
            },
            parameters=_WHO,
            refusals=(403, 413, 429),
            body=content(
                obj(
                    {
                        "mac_address": text("The device's id, where neither header nor query has it."),
                        "application": obj({"version": text()}, optional=("version",)),
                    },
                    optional=("mac_address", "application"),
                ),
                example={"mac_address": "02:00:00:12:34:56", "application": {"version": "2.0.3"}},
            ),
            description="What else the report holds is not looked at.",
        ),
    },
    "/xiaozhi/v1/": {
        "get": operation(
            "device_talk",
            "devices",
            "A device talks (WebSocket)",
            {"description": "Switching to the WebSocket protocol; without an upgrade, a line of text with status 200."},
            parameters=_WHO,
            refusals=(403, 429),
            description="The xiaozhi protocol: docs/voice-backends.md.",
            socket=[
                {"type": "hello", "version": 1, "transport": "websocket"},
                {"type": "listen", "state": "detect", "text": "What time is it?"},
                {"type": "abort"},
            ],
        )
    },
}

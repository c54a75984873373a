"""What a device asks first: where is the WebSocket, and with which token? Sans-I/O.

Source: main/ota.cc of https://github.com/78/xiaozhi-esp32. Without `mqtt` in the answer a device uses the WebSocket.
"""

from __future__ import annotations

import json
import time
from typing import Any

_LONGEST_VERSION = 64

Json = dict[str, Any]


def report_of(body: bytes) -> Json:
    """A device's report about itself; {} when it can't be read: nothing in it is needed."""
    try:
        report = json.loads(body)
    except (ValueError, RecursionError):
        return {}
    return report if isinstance(report, dict) else {}


def device_of(report: Json) -> str:
    """The device id in a report; "" when there is none."""
    found = report.get("mac_address")
    return found if isinstance(found, str) else ""


def answer(report: Json, url: str, token: str, now: float) -> Json:
    """`url`: of the WebSocket; `token`: "" when the device needs, or gets, none; `now`: Unix seconds.

    The firmware stays as it is: its own version, and no address of another one.
    """
    application = report.get("application")
    version = application.get("version") if isinstance(application, dict) else None
    offset = time.localtime(now).tm_gmtoff // 60
    return {
        "server_time": {"timestamp": round(now * 1000), "timezone_offset": offset},
        "firmware": {"version": version[:_LONGEST_VERSION] if isinstance(version, str) else "0.0.0", "url": ""},
        "websocket": {"url": url, "token": token, "version": 1},
    }

"""Serves the pages of `web/` with safe headers, and answers cross-origin requests as configured."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from pathlib import Path

from aiohttp import web
from aiohttp.typedefs import Handler

from core.caller import plain_origin

START_PAGE = "/webrtcapichat.html"

_ALLOWED_ORIGIN = web.RequestKey("allowed_origin", str)
"""The origin whose page may read the answer; "" when it may not, but others may."""
_HEADERS = {
    "Content-Security-Policy": (
        "default-src 'self'; connect-src 'self' ws: wss:; img-src 'self'; media-src 'self' blob:; "
        "worker-src 'self' blob:; frame-ancestors 'self'; base-uri 'none'"
    ),
    "X-Content-Type-Options": "nosniff",
    # "no-referrer" would have some browsers hide the origin of our own pages' beacons from us
    "Referrer-Policy": "same-origin",
    "Permissions-Policy": "microphone=(self), camera=()",
}


def page_routes(folder: Path, poster: Callable[[], Awaitable[bytes]]) -> list[web.AbstractRouteDef]:
    """Routes of the pages in `folder`; `poster` gives the PNG of the avatar at rest. Add them last."""

    async def start(request: web.Request) -> web.Response:
        raise web.HTTPFound(START_PAGE.lstrip("/"))

    async def picture(request: web.Request) -> web.Response:
        return web.Response(body=await poster(), content_type="image/png", headers={"Cache-Control": "max-age=3600"})

    return [web.get("/", start), web.get("/poster.png", picture), web.static("/", folder)]


async def add_headers(request: web.Request, response: web.StreamResponse) -> None:
    """`on_response_prepare` signal: security headers, revalidation so that an upgrade shows at once, and CORS."""
    for name, value in _HEADERS.items():
        response.headers.setdefault(name, value)
    if request.method == "GET":
        response.headers.setdefault("Cache-Control", "no-cache")
    # here and not in the middleware: event streams send their headers before the handler returns
    origin = request.get(_ALLOWED_ORIGIN)
    if origin is not None:
        response.headers.add("Vary", "Origin")
    if origin:
        response.headers["Access-Control-Allow-Origin"] = origin
        response.headers["Access-Control-Allow-Credentials"] = "true"


def cross_origin(allowed: Sequence[str], *, any_origin: bool) -> Callable[..., Awaitable[web.StreamResponse]]:
    """Middleware that lets pages of other origins call the API: those in `allowed`, or all of them."""
    listed = {plain_origin(origin) for origin in allowed}

    @web.middleware
    async def middleware(request: web.Request, handler: Handler) -> web.StreamResponse:
        if not listed and not any_origin:
            return await handler(request)
        origin = request.headers.get("Origin", "")
        granted = bool(origin) and (any_origin or plain_origin(origin) in listed)
        request[_ALLOWED_ORIGIN] = origin if granted else ""
        if not granted or request.method != "OPTIONS" or "Access-Control-Request-Method" not in request.headers:
            return await handler(request)
        asked = request.headers.get("Access-Control-Request-Headers", "Content-Type")
        headers = {
            "Access-Control-Allow-Headers": asked,
            "Access-Control-Allow-Methods": "GET, POST, DELETE, OPTIONS",
            "Access-Control-Max-Age": "600",
        }
        return web.Response(status=204, headers=headers)

    return middleware

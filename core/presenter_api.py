"""Who can be shown: a list for pages, with a still and a moving preview of each."""

from __future__ import annotations

import hashlib
from collections.abc import Awaitable, Callable
from typing import Any, Protocol
from urllib.parse import quote

from aiohttp import web
from aiohttp.typedefs import Handler

from core.cast import Cast
from core.envelope import ok
from core.errors import BadRequest
from core.frames import Expression

_FRESH = "max-age=300"
"""Pictures change only with the server: pages ask again for them after five minutes, and mostly get a 304."""


class Atlas(Protocol):
    """Pieces of a face beside each other in one picture."""

    @property
    def image(self) -> bytes:
        """The picture, as WebP with alpha."""

    @property
    def places(self) -> dict[str, Any]:
        """What is where, see docs/http-api.md."""


class Pictures(Protocol):
    """Draws presenters; each picture once."""

    async def still(self, presenter: str, /) -> bytes:
        """A presenter's face, as PNG."""

    async def portrait(self, presenter: str, background: str = "", /) -> bytes:
        """A presenter as large as in a session, as WebP."""

    async def cutout(self, presenter: str, /) -> bytes:
        """The same with nothing behind them, as WebP with alpha. Raises `FaceError`."""

    async def preview(self, presenter: str, /) -> bytes:
        """A presenter who moves, as animated WebP."""

    async def mouths(self, presenter: str, mood: Expression = Expression.NEUTRAL, /) -> Atlas:
        """A presenter's mouths and eyelids, and in a mood other than neutral the face. Raises `FaceError`."""


class PresenterApi:
    """`/api/presenters`, its pictures, and those of backgrounds. Open to all, as the page itself is."""

    def __init__(self, cast: Cast, pictures: Pictures) -> None:
        self._cast = cast
        self._pictures = pictures

    def routes(self) -> list[web.RouteDef]:
        """For `Application.add_routes`."""
        return [
            web.get("/api/presenters", self.presenters),
            web.get("/api/presenters/{name}.png", self._of_one(self._pictures.still, "image/png")),
            web.get("/api/presenters/{name}.webp", self._of_one(self._pictures.preview, "image/webp")),
            web.get("/api/presenters/{name}/portrait.webp", self.portrait),
            web.get("/api/presenters/{name}/mouths.json", self.mouths),
            web.get("/api/presenters/{name}/mouths.webp", self.mouths_picture),
            web.get("/api/presenters/{name}/cutout.webp", self._of_one(self._pictures.cutout, "image/webp")),
            web.get("/api/backgrounds/{name}.webp", self.background),
        ]

    async def presenters(self, request: web.Request) -> web.Response:
        """Whom a session may show, the one of the settings first, and the backgrounds that a page offers."""
        presenters = []
        for one in self._cast.presenters:
            address = f"api/presenters/{quote(one.name, safe='')}"
            pictures = {
                "picture": f"{address}.png",
                "preview": f"{address}.webp",
                "portrait": f"{address}/portrait.webp",
                "cutout": f"{address}/cutout.webp",
                "mouths": f"{address}/mouths.json",
            }
            presenters.append({"name": one.name, "title": one.title, "about": one.about, **pictures})
        pictures = {name: f"api/backgrounds/{quote(name, safe='')}.webp" for name in self._cast.pictures}
        backgrounds = {"backgrounds": list(self._cast.backgrounds), "background_pictures": pictures}
        return ok({"presenters": presenters, **backgrounds})

    async def background(self, request: web.Request) -> web.Response:
        """The thumbnail of a picture that the page offers as a background."""
        thumbnail = self._cast.pictures.get(request.match_info["name"])
        if thumbnail is None:
            raise BadRequest("there is no background picture of that name", code="unknown_background")
        return _picture(request, thumbnail, "image/webp")

    async def portrait(self, request: web.Request) -> web.Response:
        """A presenter before the background of the settings, or with `?background=` before one that the page offers."""
        presenter = self._cast.find(request.match_info["name"])
        background = request.query.get("background", "")
        if background and background not in self._cast.backgrounds:
            raise BadRequest("there is no background of that name", code="unknown_background")
        return _picture(request, await self._pictures.portrait(presenter.name, background), "image/webp")

    async def mouths(self, request: web.Request) -> web.Response:
        """Where the pieces of a presenter's `mouths.webp` are, and where they belong."""
        presenter, mood = self._cast.find(request.match_info["name"]), _mood(request)
        atlas = await self._pictures.mouths(presenter.name, mood)
        picture = f"api/presenters/{quote(presenter.name, safe='')}/mouths.webp"
        return ok({"picture": picture if mood is Expression.NEUTRAL else f"{picture}?mood={mood}", **atlas.places})

    async def mouths_picture(self, request: web.Request) -> web.Response:
        """A presenter's mouths, eyelids and face in `?mood=`, beside each other."""
        presenter = self._cast.find(request.match_info["name"])
        return _picture(request, (await self._pictures.mouths(presenter.name, _mood(request))).image, "image/webp")

    def _of_one(self, draw: Callable[[str], Awaitable[bytes]], kind: str) -> Handler:
        async def handle(request: web.Request) -> web.Response:
            presenter = self._cast.find(request.match_info["name"])
            return _picture(request, await draw(presenter.name), kind)

        return handle


def _mood(request: web.Request) -> Expression:
    """Of the query; neutral without one."""
    name = request.query.get("mood", Expression.NEUTRAL.value)
    if name not in list(Expression):
        raise BadRequest(f"mood: {', '.join(Expression)} are the moods", code="unknown_mood")
    return Expression(name)


def _picture(request: web.Request, body: bytes, kind: str) -> web.Response:
    etag = hashlib.sha256(body).hexdigest()[:16]
    headers = {"Cache-Control": _FRESH, "ETag": f'"{etag}"'}
    known = request.if_none_match or ()
    if any(tag.value in (etag, "*") for tag in known):
        return web.Response(status=304, headers=headers)
    return web.Response(body=body, content_type=kind, headers=headers)

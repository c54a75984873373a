"""Who can be shown in a session, and before what."""

from __future__ import annotations

import asyncio
import logging
from collections import OrderedDict
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

from core.errors import BadRequest, FaceError
from core.frames import FaceChoice, PresenterInfo
from core.stages import Face, FaceStream, PicturedFace

STUDIO = "studio"
"""The presenter's own background."""
TRANSPARENT = "transparent"
"""The background that makes pictures twice as wide, colour at the left and matte at the right."""
_READY_KEPT = 8
"""Choices that open quickly, by a face of each that is kept: what it needs stays loaded."""
_MAX_NAME = 255
"""Characters: as long as the name of a file may be."""
THUMBNAIL = 96
"""Side of a background picture's thumbnail, pixels."""

logger = logging.getLogger(__name__)


class Cast:
    """The face's presenters and backgrounds, for one size of picture (`width`, `height`).

    What a presenter needs is loaded in a thread of its own before a session is built with it. `background` is that of
    the settings, `backgrounds` are those that a page offers, before the face's pictures. With `lenient`, a presenter
    that there is not gives the one of the settings.
    """

    def __init__(
        self,
        face: Face,
        width: int,
        height: int,
        *,
        background: str = STUDIO,
        backgrounds: Sequence[str] = (),
        lenient: bool = False,
    ) -> None:
        self._face = face
        self._background = background
        self._size = (width, height)
        self._backgrounds = tuple(backgrounds)
        self._lenient = lenient
        self._ready: OrderedDict[FaceChoice, FaceStream] = OrderedDict()
        self.presenters: tuple[PresenterInfo, ...] = ()
        """The one of the settings first; empty for a face that offers no choice."""
        self.pictures: Mapping[str, bytes] = {}
        """The face's background pictures: thumbnails by name, WebP of `THUMBNAIL` pixels."""
        self.thread = ThreadPoolExecutor(1, "cast")
        """Where presenters are loaded and their portraits drawn: not where the pictures of sessions are."""

    async def start(self) -> None:
        """Learn who and what there is, and prepare what the settings want. The face has been started.

        Raises `FaceError`."""
        loop = asyncio.get_running_loop()
        self.presenters = tuple(await loop.run_in_executor(self.thread, self._face.presenters))
        await self.ready(FaceChoice())
        if self.presenters and isinstance(self._face, PicturedFace):
            self.pictures = await loop.run_in_executor(self.thread, self._face.pictures, THUMBNAIL)
            self._backgrounds = tuple(name for name in self._backgrounds if self._may_offer(name))

    def close(self) -> None:
        """Load nothing more."""
        self.thread.shutdown(wait=False, cancel_futures=True)

    @property
    def backgrounds(self) -> tuple[str, ...]:
        """What a page offers; nothing for a face that offers no choice."""
        return tuple(dict.fromkeys((*self._backgrounds, *self.pictures))) if self.presenters else ()

    @property
    def default(self) -> str:
        """Who is shown when nobody chooses; "" for a face that offers no choice."""
        return self.presenters[0].name if self.presenters else ""

    def background(self, choice: FaceChoice) -> str:
        """What is behind the presenter of a choice."""
        return choice.background or self._background

    def voice(self, choice: FaceChoice, synthesizer: str) -> str | None:
        """What the presenter of a choice speaks with; None for what the synthesizer's settings say."""
        name = choice.presenter or self.default
        return next((one.voices.get(synthesizer) for one in self.presenters if one.name == name), None)

    def find(self, name: str) -> PresenterInfo:
        """The presenter of that name, "" for the one of the settings. Raises `BadRequest` (`unknown_presenter`)."""
        found = next((one for one in self.presenters if name in ("", one.name)), None)
        if found is None:
            names = ", ".join(one.name for one in self.presenters) or "none, this face offers no choice"
            raise BadRequest(f"there is no presenter of that name; there are: {names}", code="unknown_presenter")
        return found

    async def choose(self, presenter: str, background: str) -> FaceChoice:
        """The choice of a client, checked and quick to open. Raises `BadRequest`, `FaceError`."""
        if max(len(presenter), len(background)) > _MAX_NAME:
            raise BadRequest(f"avatar and background have at most {_MAX_NAME} characters")
        if presenter:
            try:
                self.find(presenter)
            except BadRequest:
                if not self._lenient:
                    raise
                logger.info("an avatar was asked for that there is not: the one of the settings is shown")
                presenter = ""
        choice = FaceChoice(presenter, background)
        try:
            await self.ready(choice)
        except FaceError as error:
            if error.code.startswith("unknown_"):
                raise BadRequest(str(error), code=error.code) from error
            raise
        return choice

    async def kept(self, choice: FaceChoice) -> FaceChoice:
        """An earlier choice, or what is still possible of it: the server may have been restarted with fewer."""
        for attempt in (choice, replace(choice, background=""), FaceChoice()):
            try:
                return await self.choose(attempt.presenter, attempt.background)
            except BadRequest:
                continue
        return FaceChoice()

    def _may_offer(self, background: str) -> bool:
        """Whether a page's background is none of a picture that there is not."""
        known = background in (STUDIO, TRANSPARENT, self._background, *self.pictures) or background.startswith("#")
        if not known:
            logger.warning("page.backgrounds: %r is not offered: the face has no such picture", background)
        return known

    async def ready(self, choice: FaceChoice) -> None:
        """Have everything loaded that `choice` needs. Raises `FaceError`."""
        face = self._ready.get(choice)
        if face is None:
            face = await asyncio.get_running_loop().run_in_executor(self.thread, self.open, choice)
        self._ready[choice] = face
        self._ready.move_to_end(choice)
        while len(self._ready) > _READY_KEPT:
            self._ready.popitem(last=False)

    def open(self, choice: FaceChoice, seed: int = 0) -> FaceStream:
        """A session's face. Quick when it was made `ready`."""
        return self._face.open(*self._size, seed=seed, choice=choice)

"""Clips that an avatar can show instead of its presenter: those of the settings, and those that a client asks for.

`custom_config` is LiveTalking's: a list of {"audiotype", "imgpath", "audiopath"}. A client's paths are taken only
inside one folder that the operator names.
"""

from __future__ import annotations

import json
import logging
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, TypeAdapter, ValidationError

from core.errors import BadRequest

FIRST_CUSTOM = 2
"""LiveTalking's audiotypes below are its own: 0 speaks, 1 is silent; both are the presenter here."""
MOST_CLIPS = 32
"""Of one client."""

logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Clip:
    """What `/set_audiotype` shows for `audiotype`.

    `pictures`: a folder of pictures, shown 25 a second in the order of their numbers, one picture, or a video.
    `sound`: any audio file; None for the video's own, if it has one. `loop`: until changed; else it ends with its
    sound (its pictures begin again until then), or with its pictures if it has none. `fit`: how pictures of other
    proportions are shown: "cover" (cut off) or "contain" (black bars).
    """

    audiotype: int
    pictures: Path
    sound: Path | None = None
    loop: bool | None = None
    """None: when it has no sound."""
    fit: Literal["cover", "contain"] = "cover"
    name: str = ""

    @property
    def title(self) -> str:
        """Its name for logs and the dashboard."""
        return self.name or f"audiotype {self.audiotype}"


class _Wish(BaseModel):
    """One element of `custom_config`."""

    model_config = ConfigDict(extra="ignore", frozen=True)
    audiotype: int
    imgpath: str = Field(min_length=1, max_length=1000)
    audiopath: str | None = Field(default=None, max_length=1000)
    loop: bool | None = None
    fit: Literal["cover", "contain"] = "cover"
    name: str = Field(default="", max_length=64)


_WISHES = TypeAdapter(Annotated[list[_Wish], Field(max_length=MOST_CLIPS)])


class ClipShelf:
    """The clips of the settings, and what clients may add to them from `folder` (None: nothing)."""

    def __init__(self, clips: Sequence[Clip] = (), folder: Path | None = None) -> None:
        self.clips = tuple(clips)
        self._folder = folder

    def wanted(self, custom_config: object) -> tuple[Clip, ...]:
        """The clips of a client's `custom_config`, a JSON text or a list. Touches the disk.

        Raises `BadRequest` naming the element and what is wrong; nothing is told of files outside the folder.
        """
        if custom_config in (None, "", []):
            return ()
        try:
            wishes = (
                _WISHES.validate_json(custom_config)
                if isinstance(custom_config, str)
                else _WISHES.validate_python(custom_config)
            )
        except ValidationError as error:
            first = error.errors()[0]
            where = "".join(f"[{part}]" if isinstance(part, int) else f".{part}" for part in first["loc"])
            raise BadRequest(f"custom_config{where}: {first['msg']}", code="bad_clip") from None
        return tuple(self._clip(number, wish) for number, wish in enumerate(wishes) if _is_custom(wish))

    def _clip(self, number: int, wish: _Wish) -> Clip:
        pictures = self._inside(wish.imgpath, f"custom_config[{number}].imgpath")
        sound = self._inside(wish.audiopath, f"custom_config[{number}].audiopath") if wish.audiopath else None
        return Clip(wish.audiotype, pictures, sound, wish.loop, wish.fit, wish.name)

    def _inside(self, path: str, where: str) -> Path:
        if self._folder is None:
            raise BadRequest(
                f"{where}: clips of clients are not allowed here; the operator allows them with avatar.clips_folder",
                code="bad_clip",
            )
        folder = self._folder.resolve()
        try:
            found = (folder / path).resolve()
        except (OSError, ValueError, RuntimeError):
            found = Path()
        if not found.is_relative_to(folder):
            raise BadRequest(f"{where}: outside the folder that avatar.clips_folder allows", code="bad_clip")
        if not found.exists():
            raise BadRequest(f"{where}: no such file in avatar.clips_folder: {json.dumps(path)}", code="bad_clip")
        return found


def _is_custom(wish: _Wish) -> bool:
    if wish.audiotype < FIRST_CUSTOM:
        logger.warning("custom_config: audiotype %d is the presenter's and is left out", wish.audiotype)
    return wish.audiotype >= FIRST_CUSTOM

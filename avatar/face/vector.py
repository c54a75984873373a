"""The embedded face: an SVG presenter, rasterised at load, moved and warped per picture with OpenCV."""

from __future__ import annotations

import asyncio
from functools import cache
from pathlib import Path
from typing import Any
from weakref import WeakValueDictionary

import cv2
import numpy as np
from numpy.typing import NDArray

from avatar.face.art import Art, built_in, find_presenter
from avatar.face.backdrop import STUDIO, check_background
from avatar.face.gallery import Gallery
from avatar.face.lips import Lips, lips_of
from avatar.face.matte import TRANSPARENT, mix, sharpened
from avatar.face.motion import Motion, Pose
from avatar.face.plate import Plane, Plate, lay, planes, put
from avatar.face.rig import load_rig
from avatar.face.shelf import Shelf
from avatar.face.view import View
from avatar.face.warp import Area, Map, around, follow_lips
from core.errors import FaceError
from core.frames import FaceChoice, FaceCue, Picture, PresenterInfo

# One picture is less work than waking a second thread; sessions are the unit of parallelism.
cv2.setNumThreads(1)

Floats = NDArray[np.float32]

_STILL = (0.16, 0.4)
"""Pixels, for even and odd pictures: what moved by less since it was last warped is shown again as it is. Slow motion
is then drawn in steps too small to see, and what did not change costs neither drawing nor encoding."""

_INNER = (slice(1, -1), slice(1, -1))
"""All but the pixels at the border."""

SMALLEST, LARGEST = 128, 2160
"""Pixels of a picture's side."""
_EYE_STEPS = (64, 64, 32, 16, 16)
"""Eyes are drawn anew when gaze, lids, squint or slant are more than one part in so many from what was drawn."""


_PRESENTERS_KEPT = 8
"""Presenters whose rasterised art is kept, some 20 MB each."""
_PLATES_KEPT = 16
"""Resting pictures kept, 3 MB each at 512×512; sessions keep their own alive."""

_NO_CHOICE = FaceChoice()


class VectorFace:
    """Adapter `vector`. `presenter`: a built-in name or a folder; `background`: None for the presenter's own
    studio, "#rrggbb", a gradient "#rrggbb-#rrggbb", or the path of an image; `backgrounds`: a folder whose images a
    session may choose by name. Wrong arguments raise `FaceError` here or in `start`."""

    name = "vector"

    def __init__(self, presenter: str = "mira", background: str | None = None, backgrounds: str | None = None) -> None:
        self._presenter = presenter
        self._background = background or STUDIO
        self._gallery = None if backgrounds is None else Gallery(Path(backgrounds))
        self._started = False
        self._arts: Shelf[tuple[str, float], Art] = Shelf(_PRESENTERS_KEPT)
        self._plates: Shelf[tuple[str, int, int, str], Plate] = Shelf(_PLATES_KEPT)
        self._used: WeakValueDictionary[tuple[str, int, int, str], Plate] = WeakValueDictionary()
        """Those that a stream has, on the shelf or not: however many others were drawn, it need not be drawn again."""

    async def start(self) -> None:
        """Rasterise the configured presenter and prepare 512×512, in a thread. Raises `FaceError`."""
        await asyncio.to_thread(self._load)

    async def close(self) -> None:
        """Drop the pictures. Streams already open go on. Idempotent."""
        self._started = False
        self._arts.clear()
        self._plates.clear()
        self._used.clear()

    def presenters(self) -> tuple[PresenterInfo, ...]:
        """The configured one first, then the built-in others. Raises `FaceError` for a broken rig."""
        return tuple(_information(place) for place in self._places().values())

    def pictures(self, side: int) -> dict[str, bytes]:
        """See `core.stages.PicturedFace`."""
        return {} if self._gallery is None else self._gallery.thumbnails(side)

    def _places(self) -> dict[str, str]:
        """What `find_presenter` takes for each name that may be chosen: paths are the operator's, not told to clients.
        A folder of the operator's hides a built-in presenter of its name."""
        own = _information(self._presenter).name
        return {own: self._presenter, **{name: name for name in built_in() if name != own}}

    def open(self, width: int, height: int, *, seed: int = 0, choice: FaceChoice = _NO_CHOICE) -> VectorStream:
        """A session's face. The first of a presenter takes seconds, the first of a size some 100 ms. Raises
        `FaceError` for sizes out of range and choices that are not offered."""
        if width % 2 or height % 2 or not all(SMALLEST <= side <= LARGEST for side in (width, height)):
            raise FaceError(
                f"a picture of {width}x{height} can't be drawn: both sides must be even, {SMALLEST} to {LARGEST}",
                adapter=self.name,
            )
        if not self._started:
            raise FaceError("the face is not started", adapter=self.name)
        presenter, background = self._chosen_presenter(choice.presenter), self._chosen_background(choice.background)
        return VectorStream(self._plate(presenter, width, height, background), seed)

    def _chosen_presenter(self, name: str) -> str:
        if not name:
            return self._presenter
        places = self._places()
        if name not in places:
            raise FaceError(
                f"no presenter {name!r}: choose {', '.join(sorted(places))}",
                adapter=self.name,
                code="unknown_presenter",
            )
        return places[name]

    def _chosen_background(self, name: str) -> str:
        """A session may name a colour or a picture of the folder, never a path of its own."""
        if name in ("", self._background):
            return self._background
        if name in (STUDIO, TRANSPARENT) or name.startswith("#"):
            check_background(name)
            return name
        # Whether it can be read is seen when it is first drawn: later sessions need not read it again.
        picture = None if self._gallery is None else self._gallery.find(name)
        if picture is None:
            raise FaceError(
                f"no background {name!r}: choose studio, transparent, a colour #rrggbb, a gradient #rrggbb-#rrggbb or "
                "a picture of the folder in face.vector.backgrounds",
                adapter=self.name,
                code="unknown_background",
            )
        return picture

    def _load(self) -> None:
        # The rig first: it is quick, and most mistakes are in it.
        load_rig(find_presenter(self._presenter))
        check_background(self._background)
        if self._gallery is not None and not self._gallery.folder.is_dir():
            raise FaceError(f"{self._gallery.folder} is no folder: correct face.vector.backgrounds", adapter=self.name)
        self._plate(self._presenter, 512, 512, self._background)
        self._started = True

    def _plate(self, presenter: str, width: int, height: int, background: str) -> Plate:
        key = presenter, width, height, background

        def make() -> Plate:
            if (used := self._used.get(key)) is not None:
                return used
            # Large pictures are drawn from art with twice the pixels instead of a blurred enlargement.
            scale = 1.0 if View.fit(width, height, load_rig(find_presenter(presenter)).canvas).scale <= 1.3 else 2.0
            art = self._arts.get((presenter, scale), lambda: Art.load(presenter, scale))
            plate = self._used[key] = Plate(art, width, height, background)
            return plate

        return self._plates.get(key, make)


@cache
def _information(place: str) -> PresenterInfo:
    rig = load_rig(find_presenter(place))
    return PresenterInfo(rig.name, rig.title, rig.about, rig.voices)


class VectorStream:
    """The face of one session: its motion, and a copy of the resting picture that carries the eyes."""

    quick = True
    """See `core.stages.FaceStream`."""

    def __init__(self, plate: Plate, seed: int) -> None:
        self._plate = plate
        self._motion = Motion(seed, plate.motion)
        self._rest: Picture = plate.base.copy()
        self._rest_planes = planes(self._rest)
        self._warped: Picture = plate.first()
        self._warped_planes = planes(self._warped)
        self._grid: Floats | None = None
        """The look-ups that each part of the picture was last warped with; None before the first time."""
        self._touched: list[Area] = []
        """Where the resting picture has changed since it was last warped."""
        self._shown = [(area[2], area[0]) for area in plate.field.areas]
        """The columns of each area that show the figure, when it is laid over a background that stays."""
        self._eyes: tuple[float, ...] | None = None
        self._folds: list[tuple[int, ...] | None] = [None, None]
        self._count = 0

    def draw(self, cue: FaceCue) -> Picture:
        """The picture for `cue`: a new I420 array, uint8, shape (height * 3 // 2, width); for a transparent
        background twice as wide, colour at the left and the matte as luma 16..235 at the right."""
        return self.render(self.pose(cue))

    def pose(self, cue: FaceCue) -> Pose:
        """Move on to `cue`; what the face does then."""
        return self._motion.at(cue)

    def render(self, pose: Pose) -> Picture:
        """A pose as a picture; does not move time."""
        plate = self._plate
        lips = lips_of(pose.mouth, plate.mouth.rig, plate.mouth.drop, pose.smile)
        weights = follow_lips(pose.weights, pose.mouth, lips, plate.mouth.rig, plate.mouth.drop)
        self._draw_eyes(pose)
        self._draw_folds(pose, lips)
        self._warp(weights)
        out = self._warped.copy()
        lay(out, *plate.mouth.paint(plate.mouth_place(pose.weights), pose.mouth, lips))
        if plate.over is not None:
            lay(out, *plate.over.at(weights))
        return out

    @property
    def mouth_at(self) -> tuple[float, float]:
        """Pixel column and row of the resting mouth."""
        view, (x, y) = self._plate.view, self._plate.mouth.rig.centre
        return view.x(x), view.y(y)

    def _draw_eyes(self, pose: Pose) -> None:
        wanted = (*pose.gaze, pose.openness, pose.squint, pose.slant)
        if self._eyes is not None:
            moved = (abs(now - drawn) * steps for now, drawn, steps in zip(wanted, self._eyes, _EYE_STEPS, strict=True))
            if max(moved) <= 1:
                return
        self._eyes = wanted
        for eye in self._plate.eyes:
            yuv = eye.paint(*wanted)
            put(self._rest, yuv, eye.box[0], eye.box[1])
            left, top = eye.box[:2]
            self._touched.append((left, top, left + yuv.shape[2], top + yuv.shape[1]))

    def _draw_folds(self, pose: Pose, lips: Lips) -> None:
        folds = self._plate.folds
        if folds is None:
            return
        for number, state in enumerate(folds.state(pose, pose.mouth, lips)):
            if self._folds[number] != state:
                self._folds[number] = state
                x0, y0, x1, y1 = folds.boxes[number]
                self._rest_planes[0][y0:y1, x0:x1] = self._plate.folded(folds, number, state)
                self._touched.append(folds.boxes[number])

    def _warp(self, weights: Floats) -> None:
        """Warp what moved or was touched: one box of the picture, as any call costs as much as thousands of pixels."""
        field = self._plate.field
        grid = field.solve(weights)
        self._count += 1
        box = field.moving if self._grid is None else field.moved(self._grid, grid, _STILL[self._count % 2])
        if self._touched:
            box = around([box, *field.showing(self._touched, grid)])
            self._touched.clear()
        if box[0] < box[2]:
            for part in [box] if self._plate.outline is None else self._figure(box, grid):
                self._warp_area(part, grid)
            self._grid = grid if self._grid is None else field.warped(self._grid, grid, box)

    def _figure(self, box: Area, grid: Floats) -> list[Area]:
        """The parts of a box in which the figure is, or was before."""
        outline, field = self._plate.outline, self._plate.field
        assert outline is not None
        parts = []
        for number, area in enumerate(field.areas):
            x0, y0, x1, y1 = area[0], max(area[1], box[1]), area[2], min(area[3], box[3])
            if y0 < y1:
                left, right = self._shown[number]
                first, last = outline.columns(area, field.travel(grid, area))
                left, right = self._shown[number] = min(first, left), max(last, right)
                parts.append((max(x0, box[0], left), y0, min(x1, box[2], right), y1))
        return _merged([part for part in parts if part[0] < part[2]])

    def _warp_area(self, area: Area, grid: Floats) -> None:
        plate = self._plate
        full, half = plate.field.maps(grid, area)
        x0, y0, x1, y1 = area
        whole, part = cv2.convertMaps(*half, cv2.CV_16SC2)
        inside = whole[_INNER], part[_INNER]
        fine, coarse = (slice(y0, y1), slice(x0, x1)), (slice(y0 // 2, y1 // 2), slice(x0 // 2, x1 // 2))
        mattes = self._mattes(area, full, (whole, part))
        for number, (source, target) in enumerate(zip(self._rest_planes, self._warped_planes, strict=True)):
            box, where = (coarse, inside) if number else (fine, full)
            if plate.backdrop is None or mattes is None:
                _look_up(source, where, target[box])
            else:
                mix(_look_up(source, where), plate.backdrop[number][box], mattes[min(number, 1)], target[box])

    def _mattes(self, area: Area, full: Map, around: tuple[Any, Any]) -> tuple[Plane, Plane] | None:
        """Where the figure is now, for luma and chroma, when it is laid over a background that stays; a transparent
        picture gets its matte."""
        plate = self._plate
        if plate.matte is None:
            return None
        if plate.transparent:
            x0, y0, x1, y1 = area
            width = plate.view.width
            _look_up(plate.matte[0], full, self._warped_planes[0][y0:y1, width + x0 : width + x1])
            return None
        # A pixel of the neighbours belongs to it, or the outline would be notched where areas meet.
        coarse = _look_up(plate.matte[1], around)
        return sharpened(coarse)[2:-2, 2:-2], coarse[_INNER]


def _look_up(source: Plane, where: tuple[Any, Any], out: Plane | None = None) -> Plane:
    found = cv2.remap(source, *where, cv2.INTER_LINEAR, dst=out, borderMode=cv2.BORDER_REPLICATE)
    return np.asarray(found, np.uint8)


def _merged(areas: list[Area]) -> list[Area]:
    """Bands that touch and are about as wide, as one: fewer calls for hardly more pixels."""
    merged: list[Area] = []
    for x0, y0, x1, y1 in areas:
        if merged:
            px0, py0, px1, py1 = merged[-1]
            left, right = min(x0, px0), max(x1, px1)
            if py1 == y0 and right - left <= 1.15 * min(x1 - x0, px1 - px0):
                merged[-1] = left, py0, right, y1
                continue
        merged.append((x0, y0, x1, y1))
    return merged

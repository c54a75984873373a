"""A presenter's SVG art: read, checked, and rasterised layer by layer."""

from __future__ import annotations

import xml.etree.ElementTree as ET
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import cv2
import numpy as np
import resvg_py
from numpy.typing import NDArray

from avatar.face.backdrop import Studio
from avatar.face.cache import remembered
from avatar.face.rig import Rig, load_rig
from core.errors import FaceError

SVG = "http://www.w3.org/2000/svg"
XLINK = "http://www.w3.org/1999/xlink"
PRESENTERS = Path(__file__).parent / "presenters"
EYE_GROUPS = ("sclera", "iris", "glint", "lid", "lashes", "lashes-lower")
SHUT_GROUP = "lid-shut"
"""Of the eyes' drawing too, but it may be missing."""
MOUTH_GROUPS = ("lip-upper", "lip-lower", "cavity", "teeth-upper", "teeth-lower", "tongue")
HAIR_GROUPS = ("hair-upper", "hair-lower")
"""Optional groups of the mouth: hair that hangs over the upper lip, and that begins under the lower one."""

Rgba = NDArray[np.uint8]
"""Shape (h, w, 4), dtype uint8, order B G R A, alpha not multiplied in."""

Layer = NDArray[np.float32]
"""Shape (4, h, w), dtype float32: Y, U, V of BT.601 limited range, each times alpha, then alpha 0..1. Plane by
plane, because numpy is several times faster on long rows than on runs of three channels."""

ET.register_namespace("", SVG)

# BT.601, limited range, from B G R in 0..255 (ITU-R BT.601-7, 3.5).
_MATRIX = np.array(
    [[24.966, 128.553, 65.481], [112.0, -74.203, -37.797], [-18.214, -93.786, 112.0]], np.float32
) / np.float32(255)
_OFFSET = np.array([16, 128, 128], np.float32)


def built_in() -> tuple[str, ...]:
    """The names of the presenters that come with the package."""
    return tuple(sorted(path.parent.name for path in PRESENTERS.glob("*/rig.yaml")))


def find_presenter(name: str) -> Path:
    """The folder of a presenter: a built-in name, or a path to a folder with a `rig.yaml`. Raises `FaceError`."""
    known = built_in()
    if name in known:
        return PRESENTERS / name
    if Path(name).is_dir():
        return Path(name)
    raise FaceError(
        f"no presenter {name!r}: use one of {', '.join(known)}, or the path of a folder with a rig.yaml",
        adapter="vector",
        code="unknown_presenter",
    )


def to_yuv(bgr: NDArray[np.generic]) -> NDArray[np.float32]:
    """B, G, R in 0..255, shape (..., 3) → Y, U, V float32 of the same shape, BT.601 limited range."""
    return np.asarray(bgr, np.float32) @ _MATRIX.T + _OFFSET


class Art:
    """One presenter. `figure` is the resting picture (all of `rig.figure`), premultiplied B G R A, shape (h, w, 4),
    uint8, at `scale` pixels per art unit; `over` the same of `rig.figure_over`, None without. Single layers are drawn
    on demand by `layer`. Read-only after `load`."""

    def __init__(self, rig: Rig, scale: float) -> None:
        self.rig = rig
        self.scale = scale
        self._files = {rig.eyes.art: _grouped(rig, rig.eyes.art, EYE_GROUPS)}
        self._files[rig.mouth.art] = _grouped(rig, rig.mouth.art, MOUTH_GROUPS)
        size = round(rig.canvas[2] * scale), round(rig.canvas[3] * scale)
        # The rasteriser lets go of the interpreter: two drawings at a time halve the start.
        with ThreadPoolExecutor(2) as pool:
            drawn = list(pool.map(lambda name: _draw(rig.folder / name, *size), rig.figure + rig.figure_over))
        self.figure = _flatten(drawn[: len(rig.figure)])
        self.over = _flatten(drawn[len(rig.figure) :]) if rig.figure_over else None
        side = 512 if rig.background_blur else 1024
        picture = _draw(rig.folder / rig.background, side, side)[..., :3]
        self.studio = Studio(picture, rig.background_blur, rig.background_cover)

    @classmethod
    def load(cls, presenter: str, scale: float = 1.0) -> Art:
        """Read and rasterise a presenter (seconds of CPU). Raises `FaceError`."""
        return cls(load_rig(find_presenter(presenter)), scale)

    def has(self, name: str, group: str) -> bool:
        """Whether a file of eyes or mouth has a group."""
        return any(e.get("id") == group for e in self._files[name])

    def layer(self, name: str, group: str, box: tuple[float, float, float, float], size: tuple[int, int]) -> Layer:
        """Draw one group of one file: `box` = x, y, width, height in art units, `size` = width, height in pixels."""
        root = self._files[name]
        one = ET.Element(root.tag, root.attrib)
        one.set("viewBox", " ".join(f"{v:.6g}" for v in box))
        one.set("width", str(size[0]))
        one.set("height", str(size[1]))
        one.extend(e for e in root if e.tag == f"{{{SVG}}}defs" or e.get("id") == group)
        image = rasterise(ET.tostring(one, encoding="unicode"), *size, name=f"{name}, group {group!r},").astype(
            np.float32
        )
        alpha = image[..., 3:] / 255
        stacked = np.concatenate([to_yuv(image[..., :3]) * alpha, alpha], axis=2)
        return np.ascontiguousarray(stacked.transpose(2, 0, 1))


def read_svg(path: Path) -> str:
    """The text of an SVG file. Raises `FaceError`."""
    try:
        return path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise FaceError(
            f"{path} can't be read: put the drawing there or correct its name in rig.yaml",
            adapter="vector",
            code="bad_rig",
        ) from error


def rasterise(svg: str, width: int, height: int, name: str = "the drawing") -> Rgba:
    """Draw an SVG at the given size. Raises `FaceError` with `name` when it is no valid SVG."""

    def draw() -> bytes:
        return bytes(resvg_py.svg_to_bytes(svg_string=svg, width=width, height=height, skip_system_fonts=True))

    try:
        png = remembered(svg, width, height, draw)
    except ValueError as error:
        raise FaceError(f"{name} is no valid SVG: {error}", adapter="vector", code="bad_rig") from error
    image = cv2.imdecode(np.frombuffer(png, np.uint8), cv2.IMREAD_UNCHANGED)
    if image is None or image.ndim != 3 or image.shape[2] != 4:
        raise FaceError(f"{name} could not be rasterised", adapter="vector", code="bad_rig")
    if image.shape[:2] != (height, width):
        image = cv2.resize(image, (width, height), interpolation=cv2.INTER_AREA)
    return np.asarray(image, np.uint8)


def _draw(path: Path, width: int, height: int) -> Rgba:
    svg = read_svg(path)
    _parsed(path, svg)
    return rasterise(svg, width, height, str(path))


def _parsed(path: Path, svg: str) -> ET.Element:
    """The drawing. Raises `FaceError` where it is none, or holds what would be left out silently."""
    try:
        root = ET.fromstring(svg)
    except ET.ParseError as error:
        raise FaceError(f"{path} is no valid SVG: {error}", adapter="vector", code="bad_rig") from error
    for element in root.iter():
        tag = element.tag.rpartition("}")[2]
        link = element.get("href") or element.get(f"{{{XLINK}}}href") or ""
        if tag == "text":
            raise FaceError(f"{path} has text: turn it into paths", adapter="vector", code="bad_rig")
        if tag == "image" and not link.startswith("data:"):
            raise FaceError(f"{path} links the file {link!r}: embed it", adapter="vector", code="bad_rig")
    return root


def _grouped(rig: Rig, name: str, wanted: tuple[str, ...]) -> ET.Element:
    """Parse a drawing and check that it has the named groups."""
    path = rig.folder / name
    root = _parsed(path, read_svg(path))
    have = {e.get("id") for e in root}
    missing = [group for group in wanted if group not in have]
    if missing:
        raise FaceError(
            f"{path} has no top-level group with id {missing[0]!r}: name the layer in the drawing, see docs/avatars.md",
            adapter="vector",
            code="bad_rig",
        )
    return root


def _flatten(images: list[Rgba]) -> Rgba:
    """Paint pictures over each other; the result is premultiplied."""
    out = np.zeros(images[0].shape, np.float32)
    for image in images:
        alpha = image[..., 3:].astype(np.float32) / 255
        out *= 1 - alpha
        out[..., :3] += image[..., :3] * alpha
        out[..., 3:] += alpha * 255
    return np.rint(out).astype(np.uint8)

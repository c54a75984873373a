"""Metadata of an ONNX file, read without any ONNX library and without loading the weights.

An ONNX file is one protocol-buffers message (onnx.proto, ModelProto): field 7 is the graph, which is skipped, field 14
a repeated pair of strings, key 1 and value 2.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO

_GRAPH, _PAIR = 7, 14
_VARINT, _FIXED64, _LENGTH, _FIXED32 = 0, 1, 2, 5
_LARGEST_PAIR = 1 << 20


class NotOnnx(ValueError):
    """The file is no ONNX model; the message says what it seems to be."""


def read_metadata(path: Path) -> dict[str, str]:
    """Key → value. Raises `NotOnnx`, `OSError`."""
    size = path.stat().st_size
    with path.open("rb") as file:
        if file.read(24).startswith(b"version https://git-lfs"):
            raise NotOnnx("is a Git LFS pointer: the model itself was not downloaded (git lfs pull)")
        file.seek(0)
        found: dict[str, str] = {}
        graph = False
        for field, length in _fields(file, size):
            graph = graph or field == _GRAPH
            if field == _PAIR and length is not None and length <= _LARGEST_PAIR:
                key, value = _pair(file.read(length))
                found[key] = value
            elif length is not None:
                file.seek(length, 1)
    if not graph:
        raise NotOnnx("is no ONNX model")
    return found


def _fields(file: BinaryIO, size: int) -> Iterator[tuple[int, int | None]]:
    """Number and length of each field, None for those without; the file stands behind the length."""
    while file.tell() < size:
        field, kind = divmod(_varint(file), 8)
        if kind == _VARINT:
            _varint(file)
            yield field, None
        elif kind in (_FIXED64, _FIXED32):
            file.seek(8 if kind == _FIXED64 else 4, 1)
            yield field, None
        elif kind == _LENGTH and field:
            length = _varint(file)
            if length > size - file.tell():
                raise NotOnnx("is cut off: the download was not complete" if field == _GRAPH else "is no ONNX model")
            yield field, length
        else:
            raise NotOnnx("is no ONNX model")


def _varint(file: BinaryIO) -> int:
    value = 0
    for shift in range(0, 70, 7):
        byte = file.read(1)
        if not byte:
            break
        value |= (byte[0] & 0x7F) << shift
        if byte[0] < 0x80:
            return value
    raise NotOnnx("is no ONNX model")


def _pair(data: bytes) -> tuple[str, str]:
    """Of a StringStringEntryProto; both fields have numbers below 16, so their tags are one byte."""
    parts = {1: "", 2: ""}
    at = 0
    while at < len(data):
        tag, at = data[at], at + 1
        length = shift = 0
        while True:
            if at >= len(data) or shift > 28:
                raise NotOnnx("is no ONNX model")
            byte, at = data[at], at + 1
            length |= (byte & 0x7F) << shift
            shift += 7
            if byte < 0x80:
                break
        if tag & 7 != _LENGTH or at + length > len(data):
            raise NotOnnx("is no ONNX model")
        parts[tag >> 3] = data[at : at + length].decode("utf-8", "replace")
        at += length
    return parts[1], parts[2]

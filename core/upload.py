"""Reads a multipart upload: a few short text fields and one file, spooled to disk. Bounded in every direction."""

from __future__ import annotations

import asyncio
import contextlib
import tempfile
from collections.abc import Callable, Mapping
from typing import BinaryIO

from aiohttp import BodyPartReader, HttpVersion11, MultipartReader, hdrs, web
from aiohttp.http_exceptions import HttpProcessingError

from core.errors import BadRequest, PayloadTooLarge

MAX_FIELDS = 32
MAX_FIELD_BYTES = 4096
_OVERHEAD = 1 << 16
"""Bytes that boundaries, headers and fields may add to the file."""
_CHUNK = 1 << 18
_IN_MEMORY = 4 << 20
_STALL_S = 30.0
"""A client that sends nothing for so long has given up."""

_DAMAGED = (ValueError, AssertionError, RuntimeError, HttpProcessingError)
"""What aiohttp's reader raises for broken framing, broken headers and unknown transfer encodings."""
_STALLED = "the upload stalled"
_Part = BodyPartReader | MultipartReader | None


async def read_upload(
    request: web.Request, max_bytes: int, admit: Callable[[Mapping[str, str]], None]
) -> tuple[dict[str, str], BinaryIO | None]:
    """The text fields and the rewound content of the part named "file", which the caller closes.

    `admit` is given the fields that came before the file, and raises to have it not read. Raises what `admit` does,
    `PayloadTooLarge` (before reading when the length is declared) and `BadRequest`; then nothing is held.
    """
    if (request.content_length or 0) > max_bytes + _OVERHEAD:
        raise _too_large(max_bytes)
    await _go_on(request)
    fields: dict[str, str] = {}
    file: BinaryIO | None = None
    with contextlib.ExitStack() as held:
        try:
            reader = await request.multipart()
            while (part := await _next_part(reader)) is not None:
                if not isinstance(part, BodyPartReader):
                    raise BadRequest("nested multipart is not supported")
                if part.name == "file" and file is None:
                    admit(fields)
                    file = held.enter_context(await _spool(part, max_bytes))
                elif len(fields) < MAX_FIELDS:
                    fields[part.name or ""] = await _field(part)
                else:
                    raise BadRequest("the upload has too many fields")
        except _DAMAGED as error:
            raise BadRequest("the multipart body is damaged") from error
        held.pop_all()
    return fields, file


async def _go_on(request: web.Request) -> None:
    """Tell a client that waits for it (`Expect: 100-continue`, RFC 9110, 10.1.1) to send the body."""
    if request.version >= HttpVersion11 and request.headers.get(hdrs.EXPECT, "").lower() == "100-continue":
        await request.writer.write(b"HTTP/1.1 100 Continue\r\n\r\n")
        request.writer.output_size = 0  # it is no part of the answer's own head


async def _next_part(reader: MultipartReader) -> _Part:
    try:
        async with asyncio.timeout(_STALL_S):
            return await reader.next()
    except TimeoutError:
        raise BadRequest(_STALLED) from None


async def _chunk(part: BodyPartReader, size: int) -> bytes:
    try:
        async with asyncio.timeout(_STALL_S):
            return await part.read_chunk(size)
    except TimeoutError:
        raise BadRequest(_STALLED) from None


async def _field(part: BodyPartReader) -> str:
    data = bytearray()
    while chunk := await _chunk(part, MAX_FIELD_BYTES):
        data += chunk
        if len(data) > MAX_FIELD_BYTES:
            raise BadRequest(f"a field is longer than {MAX_FIELD_BYTES} bytes")
    return data.decode(errors="replace")


async def _spool(part: BodyPartReader, max_bytes: int) -> BinaryIO:
    loop = asyncio.get_running_loop()
    file: BinaryIO = tempfile.SpooledTemporaryFile(_IN_MEMORY)  # type: ignore[assignment]  # noqa: SIM115
    try:
        size = 0
        while chunk := await _chunk(part, _CHUNK):
            size += len(chunk)
            if size > max_bytes:
                raise _too_large(max_bytes)
            await loop.run_in_executor(None, file.write, chunk)
        file.seek(0)
    except BaseException:
        file.close()
        raise
    return file


def _too_large(max_bytes: int) -> PayloadTooLarge:
    return PayloadTooLarge(f"the upload is larger than {max_bytes >> 20} MB")

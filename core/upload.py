"""Reads a multipart upload: a few short text fields and one file, spooled to disk. Bounded in every direction."""

from __future__ import annotations

import asyncio
import tempfile
from typing import BinaryIO

from aiohttp import BodyPartReader, web
from aiohttp.http_exceptions import HttpProcessingError

from core.errors import BadRequest, PayloadTooLarge

MAX_FIELDS = 32
MAX_FIELD_BYTES = 4096
_OVERHEAD = 1 << 16
"""Bytes that boundaries, headers and fields may add to the file."""
_CHUNK = 1 << 18
_IN_MEMORY = 4 << 20


async def read_upload(request: web.Request, max_bytes: int) -> tuple[dict[str, str], BinaryIO | None]:
    """The text fields and the rewound content of the part named "file", which the caller closes.

    Raises `PayloadTooLarge`, before reading when the length is declared, and `BadRequest`; then nothing is held.
    """
    if (request.content_length or 0) > max_bytes + _OVERHEAD:
        raise _too_large(max_bytes)
    fields: dict[str, str] = {}
    file: BinaryIO | None = None
    try:
        async for part in await request.multipart():
            if not isinstance(part, BodyPartReader):
                raise BadRequest("nested multipart is not supported")
            if part.name == "file" and file is None:
                file = await _spool(part, max_bytes)
            elif len(fields) < MAX_FIELDS:
                fields[part.name or ""] = await _field(part)
            else:
                raise BadRequest("the upload has too many fields")
    except BaseException as error:
        if file is not None:
            file.close()
        # aiohttp's reader raises these for broken framing, broken headers and unknown transfer encodings
        if isinstance(error, ValueError | AssertionError | RuntimeError | HttpProcessingError):
            raise BadRequest("the multipart body is damaged") from error
        raise
    return fields, file


async def _field(part: BodyPartReader) -> str:
    data = bytearray()
    while chunk := await part.read_chunk(MAX_FIELD_BYTES):
        data += chunk
        if len(data) > MAX_FIELD_BYTES:
            raise BadRequest(f"a field is longer than {MAX_FIELD_BYTES} bytes")
    return data.decode(errors="replace")


async def _spool(part: BodyPartReader, max_bytes: int) -> BinaryIO:
    loop = asyncio.get_running_loop()
    file: BinaryIO = tempfile.SpooledTemporaryFile(_IN_MEMORY)  # type: ignore[assignment]  # noqa: SIM115
    try:
        size = 0
        while chunk := await part.read_chunk(_CHUNK):
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

"""What the server and its pocketsphinx worker say to each other, over the worker's stdin and stdout.

A message is a header of 9 bytes (`<IBI`: payload length, kind, utterance id) and a payload.

    to the worker    OPEN     —            a new utterance; ids are never used twice
                     AUDIO    int16 LE     16 kHz mono, in order
                     FINISH   —            no more audio, send the FINAL
                     CANCEL   —            forget the utterance, send nothing more about it
    to the server    READY    JSON         the model is loaded (utterance id 0)
                     PARTIAL  JSON         {"text"}: a newer hypothesis
                     FINAL    JSON         {"text", "start", "end", "confidence"}: the utterance is over
                     FAILED   UTF-8        why there will be no FINAL

End of file on stdin ends the worker; end of file on stdout means that it died. Standard library only: the
worker imports this module and must stay small.
"""

from __future__ import annotations

import struct
from enum import IntEnum

HEADER = struct.Struct("<IBI")
MAX_PAYLOAD = 1 << 20


class Kind(IntEnum):
    """What a message is about."""

    OPEN = 1
    AUDIO = 2
    FINISH = 3
    CANCEL = 4
    READY = 16
    PARTIAL = 17
    FINAL = 18
    FAILED = 19


def pack(kind: Kind, utterance: int, payload: bytes = b"") -> bytes:
    """One message, ready to be written. Raises ValueError if the payload is over `MAX_PAYLOAD`."""
    if len(payload) > MAX_PAYLOAD:
        raise ValueError(f"payload of {len(payload)} bytes")
    return HEADER.pack(len(payload), kind, utterance) + payload


def unpack_header(header: bytes) -> tuple[int, Kind, int]:
    """(payload length, kind, utterance id) of a header. Raises ValueError for what `pack` can't have made."""
    length, kind, utterance = HEADER.unpack(header)
    if length > MAX_PAYLOAD:
        raise ValueError(f"payload of {length} bytes")
    return length, Kind(kind), utterance

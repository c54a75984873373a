"""Uploads of the custom protocol's server: chunks in any order, limits, resume, expiry. Sans-I/O."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from dataclasses import dataclass, field
from enum import Enum

from asr.funasr.refusal import Refusal
from asr.funasr.schema import MAX_CHUNKS, AudioChunk, AudioEnd, AudioStart


@dataclass(frozen=True, slots=True)
class Limits:
    """Of the server. Sizes in bytes of decoded audio, times in seconds."""

    message: int = 8 * 2**20
    """Longest text frame that is worked on."""
    upload: int = 64 * 2**20
    audio_s: float = 3600.0
    """Longest audio, which matters where little data is much sound."""
    memory: int = 192 * 2**20
    """Audio of all users held at a time; beyond it the server is busy."""
    per_connection: int = 4
    uploads: int = 64
    idle_s: float = 30.0
    """Without a chunk, the uploader still connected."""
    kept_s: float = 60.0
    """After the connection ended, for `audio_resume`."""

    @property
    def chunk(self) -> int:
        """Longest chunk: what fits a message in base64, with its other fields."""
        return (self.message - 4096) // 4 * 3


class Memory:
    """How much audio is held, against a limit."""

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self.used = 0

    def fits(self, size: int) -> bool:
        """Whether that much more may be held."""
        return self.used + size <= self._limit

    def take(self, size: int) -> None:
        """Hold more. Raises `Refusal` (busy)."""
        if not self.fits(size):
            raise Refusal("busy", "the server holds as much audio as it may; try again later")
        self.used += size

    def give(self, size: int) -> None:
        """Hold less."""
        self.used -= size


class Stage(Enum):
    """How far an upload has come."""

    OPEN = "open"
    PROCESSING = "processing"
    DONE = "done"


@dataclass(slots=True, eq=False)
class Upload:
    """One upload. `owner` is its connection, None while it has none; `peer` is that one's address."""

    request_id: str
    wish: AudioStart
    owner: object | None
    peer: str
    touched: float
    stage: Stage = Stage.OPEN
    chunks: dict[int, bytes] = field(default_factory=dict)
    size: int = 0
    failed: bool = False
    """Was told to be incomplete: may go on, or begin again."""
    answer: str | None = None
    """The final frame, kept for a client that comes back."""
    told: bool = False
    """The answer went to the present owner."""

    def put(self, chunk: AudioChunk) -> bool:
        """Take a chunk; False for one that was here already. Raises `Refusal` (chunk_conflict, bad_request)."""
        if self.stage is not Stage.OPEN:
            return False
        held = self.chunks.get(chunk.index)
        if held is not None:
            if held != chunk.data:
                raise self.refusal("chunk_conflict", f"chunk {chunk.index} came before with other bytes")
            return False
        total = self.wish.total_chunks
        if total is not None and chunk.index > total:
            raise self.refusal("bad_request", f"chunk_index: there are only {total} chunks")
        if len(self.chunks) >= MAX_CHUNKS:
            raise self.refusal("bad_request", f"an upload has at most {MAX_CHUNKS} chunks")
        self.chunks[chunk.index] = chunk.data
        self.size += len(chunk.data)
        return True

    def missing(self, total: int | None = None) -> list[int]:
        """Indices not yet held; of an upload of unknown length, the holes. Counted from 1 where the client does."""
        total = total or self.wish.total_chunks
        top = max(self.chunks, default=-1)
        from_one = 0 not in self.chunks and (top == total if total is not None else top > 0 and self._whole_from_one())
        first = 1 if from_one else 0
        end = first + total if total is not None else max(top + 1, 1)
        return [index for index in range(first, end) if index not in self.chunks]

    def _whole_from_one(self) -> bool:
        return len(self.chunks) == max(self.chunks) and 0 not in self.chunks

    def check(self, end: AudioEnd) -> None:
        """Whether everything is there. Raises `Refusal`."""
        declared = self.wish.total_chunks
        if declared is not None and end.total_chunks not in (None, declared):
            raise self.refusal("bad_request", f"total_chunks: {declared} were announced")
        total = declared or end.total_chunks
        if missing := self.missing(total):
            message = f"{len(missing)} chunk{'s are' if len(missing) > 1 else ' is'} missing"
            raise self.refusal("incomplete", message, missing=missing)
        if total is not None and len(self.chunks) > total:
            raise self.refusal("bad_request", f"there are more than {total} chunks")
        if self.wish.total_size not in (None, self.size):
            raise self.refusal("size_mismatch", f"{self.size} bytes came, {self.wish.total_size} were announced")

    def assembled(self) -> bytes:
        """The whole audio, once `check` has passed. Hashes: not for the event loop. Raises `Refusal`."""
        audio = b"".join(self.chunks[index] for index in sorted(self.chunks))
        if self.wish.sha256 is not None and hashlib.sha256(audio).hexdigest() != self.wish.sha256:
            raise self.refusal("checksum_mismatch", "the audio is not what its sha256 says")
        return audio

    def refusal(self, code: str, message: str, missing: list[int] | None = None) -> Refusal:
        """An error about this upload."""
        return Refusal(code, message, request_id=self.request_id, missing=missing)


class Uploads:
    """All uploads of a server, by request id."""

    def __init__(self, limits: Limits, memory: Memory, clock: Callable[[], float]) -> None:
        self._limits = limits
        self._memory = memory
        self._clock = clock
        self._all: dict[str, Upload] = {}

    def __len__(self) -> int:
        return len(self._all)

    def __contains__(self, upload: Upload) -> bool:
        return self._all.get(upload.request_id) is upload

    def owned(self, owner: object) -> list[Upload]:
        """What belongs to a connection and has not ended."""
        return [u for u in self._all.values() if u.owner is owner and not u.told]

    def begin(self, owner: object, peer: str, request_id: str, wish: AudioStart) -> tuple[Upload, Upload | None]:
        """A new upload, and the abandoned one that it replaces. Raises `Refusal`."""
        if wish.total_size is not None and wish.total_size > self._limits.upload:
            raise self._too_large(request_id)
        old = self._all.get(request_id)
        if old is not None and old.owner is not None and old.stage is not Stage.DONE and not old.failed:
            raise Refusal("session_exists", "an upload of this request_id is going on", request_id=request_id)
        open_here = [u for u in self.owned(owner) if u is not old]
        if len(open_here) >= self._limits.per_connection:
            message = f"a connection has at most {self._limits.per_connection} uploads at a time"
            raise Refusal("too_many_sessions", message, request_id=request_id)
        if len(self) - (old is not None) >= self._limits.uploads and not self._evict():
            raise Refusal("too_many_sessions", "too many uploads are going on", request_id=request_id)
        if old is not None:
            self.drop(old)
        upload = self._all[request_id] = Upload(request_id, wish, owner, peer, self._clock())
        return upload, old

    def find(self, owner: object, request_id: str | None) -> Upload:
        """The upload that a message is about. Raises `Refusal`."""
        if request_id is not None:
            upload = self._all.get(request_id)
            if upload is None or upload.owner is not owner or upload.told:
                raise Refusal("no_session", "there is no upload of this request_id here", request_id=request_id)
            return upload
        mine = self.owned(owner)
        if len(mine) > 1:
            raise Refusal("bad_request", "several uploads are open: request_id is needed")
        if not mine:
            raise Refusal("no_session", "no upload is open here")
        return mine[0]

    def resume(self, owner: object, peer: str, request_id: str) -> Upload:
        """Take an upload over: one whose connection has ended, or one's own from the same address. Raises `Refusal`."""
        upload = self._all.get(request_id)
        taken = upload is not None and upload.owner not in (None, owner) and upload.peer != peer
        if upload is None or taken:
            raise Refusal("no_session", "there is no upload of this request_id to resume", request_id=request_id)
        if upload.owner is not owner and len(self.owned(owner)) >= self._limits.per_connection:
            raise Refusal("too_many_sessions", "too many uploads are open here", request_id=request_id)
        upload.owner, upload.peer, upload.touched = owner, peer, self._clock()
        upload.failed = upload.told = False
        return upload

    def add(self, upload: Upload, chunk: AudioChunk) -> bool:
        """Take a chunk within the limits; False for one that was here already. Raises `Refusal`."""
        upload.touched, upload.failed = self._clock(), False
        if upload.size + len(chunk.data) > self._limits.upload:
            raise self._too_large(upload.request_id)
        if not self._memory.fits(len(chunk.data)):
            self._evict()
        if not upload.put(chunk):
            return False
        try:
            self._memory.take(len(chunk.data))
        except Refusal as refusal:
            upload.size -= len(upload.chunks.pop(chunk.index))
            refusal.request_id = upload.request_id
            raise
        return True

    def release(self, upload: Upload) -> None:
        """Its chunks are not needed any more."""
        self._memory.give(upload.size)
        upload.chunks, upload.size = {}, 0

    def done(self, upload: Upload, answer: str) -> None:
        """It has been recognised; the answer stays for a while, should the client not have got it."""
        self.release(upload)
        upload.stage, upload.answer, upload.touched = Stage.DONE, answer, self._clock()

    def drop(self, upload: Upload) -> None:
        """It has ended. Idempotent."""
        if upload in self:
            del self._all[upload.request_id]
            self.release(upload)

    def park(self, owner: object, clean: bool) -> list[Upload]:
        """A connection has ended; what it had stays for `audio_resume`, but not an answer that it must have got."""
        parked = [u for u in self._all.values() if u.owner is owner]
        for upload in parked:
            if upload.told and clean:
                self.drop(upload)
            else:
                upload.owner, upload.touched = None, self._clock()
        return parked

    def expired(self) -> list[Upload]:
        """Uploads that have waited too long. The caller drops them."""
        now = self._clock()
        return [
            u for u in self._all.values() if u.stage is not Stage.PROCESSING and now - u.touched > self._patience(u)
        ]

    def _patience(self, upload: Upload) -> float:
        connected = upload.owner is not None and upload.stage is Stage.OPEN
        return self._limits.idle_s if connected else self._limits.kept_s

    def _evict(self) -> bool:
        """Drop what nobody is connected to, the oldest first; whether there was any."""
        idle = [u for u in self._all.values() if u.stage is Stage.DONE or (u.owner is None and u.stage is Stage.OPEN)]
        if not idle:
            return False
        self.drop(min(idle, key=lambda upload: upload.touched))
        return True

    def _too_large(self, request_id: str) -> Refusal:
        return Refusal("too_large", f"an upload has at most {self._limits.upload} bytes", request_id=request_id)

"""The pocketsphinx worker process: `python -m asr.pocketsphinx_worker [JSON settings]`.

Pocketsphinx holds the GIL for as long as it decodes, so it lives in a process of its own; messages are those
of `asr.pocketsphinx_wire`. One decoder serves all utterances: it follows the oldest one live, the audio of
the others is kept, and a finished utterance takes the decoder from one that still goes on (that one is
decoded again from its start afterwards, at about a tenth of its length).

Imports only pocketsphinx and the standard library, to stay small.
"""

from __future__ import annotations

import json
import math
import os
import queue
import re
import signal
import sys
import threading
import time
from array import array
from dataclasses import dataclass, field
from typing import Any, BinaryIO

from asr.pocketsphinx_wire import HEADER, Kind, pack, unpack_header

RATE = 16_000
STEP = RATE // 10 * 2
"""Bytes decoded between two looks at the inbox (100 ms of audio, about 10 ms of work)."""

HEAD = RATE * 2
"""Bytes from which the level of an utterance is judged before it is decoded (1 s; a turn brings 0.3 s pre-roll)."""

WRONG_GAIN_DB = 5.0
"""If the level turns out to be this wrong once twice the audio is there, the utterance is decoded again."""

STEADY_DB = 6.0
"""Audio whose level varies less than this is noise, whatever words the decoder finds in it."""

TARGET_DB = -20.0
"""Level of the voiced parts to which every utterance is brought."""

CEPSTRAL_MEAN = "48.59,1.06,6.21,11.74,-0.56,0.39,-1.46,0.01,1.02,-0.61,0.10,-0.67,1.69"
"""Mean cepstrum of speech at `TARGET_DB` (ours, over four flite voices and one person): every utterance
starts from it, so that none depends on what was said before. The model's own default costs accuracy."""

_FILLER = re.compile(r"<[^>]*>|\[[^\]]*\]|\+\+[^+]*\+\+|\(\d+\)")


@dataclass(slots=True)
class Utterance:
    """One turn of one user."""

    number: int
    audio: bytearray = field(default_factory=bytearray)
    decoded: int = 0
    """Bytes that the decoder has seen since it (re)started on this utterance."""
    gain_db: float = 0.0
    spread_db: float = 0.0
    judged: int = 0
    """Bytes from which `gain_db` and `spread_db` were judged."""
    finished: bool = False
    partial: str = ""
    partial_at: float = 0.0


def clean(text: str) -> str:
    """The words of a hypothesis, without fillers (`<sil>`, `[NOISE]`, `++UM++`) and variant numbers (`the(2)`)."""
    return " ".join(_FILLER.sub(" ", text).split())


def measure(pcm: bytes) -> tuple[float, float]:
    """Of `pcm` (int16 LE): decibels that bring its voiced parts to `TARGET_DB` without clipping, at most ±30;
    and how far its loud and its quiet parts are apart, in decibels (speech: 20 and more, steady noise: 1)."""
    samples = array("h", pcm)
    levels = []
    for start in range(0, len(samples) - 319, 320):
        part = samples[start : start + 320]
        levels.append(10 * math.log10(sum(map(int.__mul__, part, part)) / 320 / 32768**2 + 1e-10))
    levels.sort()
    if not levels or levels[-1] < -90:
        return 0.0, 0.0
    voiced = [level for level in levels if level > levels[-1] - 25]
    gain = TARGET_DB - sum(voiced) / len(voiced)
    headroom = -20 * math.log10(max(max(samples), -min(samples)) / 32768)
    spread = levels[int(len(levels) * 0.95)] - levels[int(len(levels) * 0.05)]
    return max(-30.0, min(30.0, gain, headroom + 3)), spread


def amplify(pcm: bytes, gain_db: float) -> bytes:
    """`pcm` (int16 LE) amplified and clipped."""
    factor = 10 ** (gain_db / 20)
    return array("h", [max(-32768, min(32767, int(s * factor))) for s in array("h", pcm)]).tobytes()


class Worker:
    """The decoder and the utterances that want it. `step` does a little work and says whether there was any."""

    def __init__(self, decoder: Any, out: BinaryIO, partial_interval: float) -> None:
        self._decoder = decoder
        self._out = out
        self._partial_interval = partial_interval
        self._utterances: dict[int, Utterance] = {}
        self._holder: Utterance | None = None

    def receive(self, kind: Kind, number: int, payload: bytes) -> None:
        """Take one message of the server."""
        if kind is Kind.OPEN:
            self._utterances[number] = Utterance(number)
            return
        utterance = self._utterances.get(number)
        if utterance is None:
            return
        if kind is Kind.AUDIO:
            utterance.audio += payload
        elif kind is Kind.FINISH:
            utterance.finished = True
        elif kind is Kind.CANCEL:
            self._forget(utterance)

    def step(self) -> bool:
        """Decode a little; False when there is nothing to do until the next message."""
        utterance = self._next()
        if utterance is None:
            return False
        try:
            self._work(utterance)
        except RuntimeError as error:  # pocketsphinx's only exception
            self._holder = None
            self._forget(utterance)
            self._send(Kind.FAILED, utterance.number, str(error).encode())
        return True

    def _next(self) -> Utterance | None:
        for utterance in self._utterances.values():
            if utterance.finished:
                return utterance
        holder = self._holder
        if holder is not None and len(holder.audio) - holder.decoded >= STEP:
            return holder
        if holder is None:
            for utterance in self._utterances.values():
                if len(utterance.audio) >= HEAD:
                    return utterance
        return None

    def _work(self, utterance: Utterance) -> None:
        if self._judge(utterance) or self._holder is not utterance:
            self._release()
            self._take(utterance)
        piece = bytes(utterance.audio[utterance.decoded : utterance.decoded + STEP])
        if piece:
            utterance.decoded += len(piece)
            self._decoder.process_raw(amplify(piece, utterance.gain_db))
        if not utterance.finished:
            self._tell_partial(utterance)
        elif utterance.decoded >= len(utterance.audio):
            self._conclude(utterance)

    def _take(self, utterance: Utterance) -> None:
        utterance.decoded = 0
        self._decoder.set_cmn(CEPSTRAL_MEAN)
        self._decoder.start_utt()
        self._holder = utterance

    def _judge(self, utterance: Utterance) -> bool:
        """Judge the level of the first second, two, four …: always of the same audio, however it arrived.
        True if the gain changed, because what came first was only noise."""
        changed = False
        while utterance.judged < len(utterance.audio):
            upto = max(HEAD, utterance.judged * 2)
            if len(utterance.audio) < upto:
                if not utterance.finished:
                    break
                upto = len(utterance.audio)
            gain, utterance.spread_db = measure(bytes(utterance.audio[:upto]))
            if utterance.judged == 0 or abs(gain - utterance.gain_db) > WRONG_GAIN_DB:
                utterance.gain_db, changed = gain, True
            utterance.judged = upto
        return changed

    def _release(self) -> None:
        if self._holder is not None:
            self._holder = None
            self._decoder.end_utt()

    def _forget(self, utterance: Utterance) -> None:
        self._utterances.pop(utterance.number, None)
        if self._holder is utterance:
            self._release()

    def _tell_partial(self, utterance: Utterance) -> None:
        now = time.monotonic()
        if now - utterance.partial_at < self._partial_interval:
            return
        hypothesis = self._decoder.hyp()
        text = clean(hypothesis.hypstr) if hypothesis else ""
        if not text:
            return  # and the first words are told when they come, however fast the sound was decoded
        utterance.partial_at = now
        if text != utterance.partial:
            utterance.partial = text
            self._send(Kind.PARTIAL, utterance.number, json.dumps({"text": text}).encode())

    def _conclude(self, utterance: Utterance) -> None:
        self._release()
        self._utterances.pop(utterance.number)
        result: dict[str, Any] = {"text": "", "start": 0.0, "end": 0.0, "confidence": None}
        hypothesis = self._decoder.hyp() if utterance.spread_db > STEADY_DB else None
        if hypothesis and (text := clean(hypothesis.hypstr)):
            words = [segment for segment in self._decoder.seg() if clean(segment.word)]
            # The posterior falls with every word; its geometric mean per word is comparable between utterances.
            confidence = max(0.0, min(1.0, hypothesis.prob)) ** (1 / max(1, len(words)))
            result = {"text": text, "confidence": round(confidence, 3), "start": 0.0, "end": 0.0}
            if words:
                result |= {"start": words[0].start_frame / 100, "end": (words[-1].end_frame + 1) / 100}
        self._send(Kind.FINAL, utterance.number, json.dumps(result).encode())

    def _send(self, kind: Kind, number: int, payload: bytes) -> None:
        self._out.write(pack(kind, number, payload))
        self._out.flush()


Inbox = queue.SimpleQueue[tuple[Kind, int, bytes]]


def read_messages(source: BinaryIO, inbox: Inbox) -> None:
    """Thread: move messages from `source` to `inbox`; ends the process when the server is gone."""
    while len(header := source.read(HEADER.size)) == HEADER.size:
        length, kind, number = unpack_header(header)
        inbox.put((kind, number, source.read(length)))
    os._exit(0)


def main() -> None:
    """Load the model, say READY, then serve until end of file."""
    settings = json.loads(sys.argv[1]) if len(sys.argv) > 1 else {}
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is for the server; the worker ends with its stdin
    if hasattr(os, "nice"):
        os.nice(int(settings.get("nice", 0)))
    inbox: Inbox = queue.SimpleQueue()
    threading.Thread(target=read_messages, args=(sys.stdin.buffer, inbox), daemon=True).start()

    from asr.pocketsphinx_model import load_decoder

    decoder = load_decoder(int(settings.get("vocabulary", 20_000)))
    worker = Worker(decoder, sys.stdout.buffer, float(settings.get("partial_interval", 0.2)))
    sys.stdout.buffer.write(pack(Kind.READY, 0, b"{}"))
    sys.stdout.buffer.flush()
    busy = False
    while True:
        try:
            worker.receive(*inbox.get(block=not busy))
        except queue.Empty:
            busy = worker.step()
        else:
            busy = True


if __name__ == "__main__":
    main()

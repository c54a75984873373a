"""What the custom FunASR server does with audio before it is recognised (row C4)."""

from __future__ import annotations

import io
import wave
from pathlib import Path

import av
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from asr.funasr.audio import decode, seconds_of
from asr.funasr.refusal import Refusal
from asr.funasr.schema import AudioChunk, AudioEnd, AudioFormat, AudioStart
from asr.funasr.transcriber import joined, pieces
from asr.funasr.upload import Limits, Memory, Uploads
from core.frames import LISTEN_RATE, Samples, Transcript

TONE = (8000 * np.sin(2 * np.pi * 440 * np.arange(LISTEN_RATE) / LISTEN_RATE)).astype(np.int16)


def pcm(samples: Samples, width: int, channels: int) -> bytes:
    """Little-endian PCM of that form, all channels the same."""
    wide = np.repeat(samples, channels)
    if width == 1:
        return ((wide >> 8) + 128).astype(np.uint8).tobytes()
    if width == 3:
        return b"".join(b"\0" + sample.tobytes() for sample in wide.astype("<i2"))
    return (wide.astype(f"<i{width}") << (8 * (width - 2))).astype(f"<i{width}").tobytes()


def pitch(samples: Samples) -> float:
    """The strongest frequency, in Hz."""
    return float(np.abs(np.fft.rfft(samples[:LISTEN_RATE])).argmax()) * LISTEN_RATE / min(len(samples), LISTEN_RATE)


@pytest.mark.parametrize("channels", [1, 2, 6])
@pytest.mark.parametrize("width", [1, 2, 3, 4])
def test_c4_pcm_and_wav_of_any_width(width: int, channels: int) -> None:
    data = pcm(TONE, width, channels)
    file = io.BytesIO()
    with wave.open(file, "wb") as out:
        out.setparams((channels, width, LISTEN_RATE, 0, "NONE", ""))
        out.writeframes(data)
    for audio, given_format in (
        (data, AudioFormat("pcm", LISTEN_RATE, channels, width)),
        (file.getvalue(), AudioFormat("wav")),
        (file.getvalue(), AudioFormat("pcm")),
    ):
        samples = decode(audio, given_format, 60.0)
        assert samples.dtype == np.int16
        assert len(samples) == LISTEN_RATE
        assert np.abs(samples.astype(int) - TONE).max() <= (256 if width == 1 else 1)
        assert seconds_of(audio, given_format) == pytest.approx(1.0)


@pytest.mark.parametrize("rate", [8000, 22_050, 48_000])
def test_c4_other_rates_are_resampled(rate: int) -> None:
    tone = (8000 * np.sin(2 * np.pi * 440 * np.arange(rate) / rate)).astype(np.int16)
    samples = decode(pcm(tone, 2, 1), AudioFormat("pcm", rate), 60.0)
    assert len(samples) == pytest.approx(LISTEN_RATE, abs=50)
    assert pitch(samples) == pytest.approx(440, abs=2)


@pytest.mark.parametrize(
    ("suffix", "codec", "name"),
    [("mp3", "mp3", "mp3"), ("flac", "flac", "flac"), ("ogg", "libopus", "ogg"), ("opus", "libopus", "opus"),
     ("m4a", "aac", "m4a"), ("webm", "libopus", "webm"), ("wav", "pcm_f32le", "wav"), ("aac", "aac", "aac")],
)  # fmt: skip
def test_c4_compressed_audio(suffix: str, codec: str, name: str, tmp_path: Path) -> None:
    path = tmp_path / f"tone.{suffix}"
    with av.open(str(path), "w") as out:
        stream = out.add_stream(codec, rate=48_000)
        stream.layout = "mono"  # type: ignore[attr-defined]
        tone = (8000 * np.sin(2 * np.pi * 440 * np.arange(48_000) / 48_000)).astype(np.int16)
        frame = av.AudioFrame.from_ndarray(tone[None, :], format="s16", layout="mono")
        frame.sample_rate = 48_000
        out.mux(stream.encode(frame))  # type: ignore[attr-defined]
        out.mux(stream.encode(None))  # type: ignore[attr-defined]
    data = path.read_bytes()
    samples = decode(data, AudioFormat(name), 60.0)
    assert len(samples) == pytest.approx(LISTEN_RATE, rel=0.12)
    assert pitch(samples) == pytest.approx(440, abs=5)
    if name in ("mp3", "flac", "ogg", "webm", "wav"):
        assert len(decode(data, AudioFormat(), 60.0)) == len(samples), "its first bytes show what it is"
    with pytest.raises(Refusal) as caught:
        decode(data, AudioFormat(name), 0.5)
    assert caught.value.code == "too_large"


def test_c4_a_playlist_is_no_audio(tmp_path: Path) -> None:
    """The demuxer is never guessed: an upload must not make the server open files."""
    secret = tmp_path / "secret.wav"
    secret.write_bytes(b"x")
    playlist = f"#EXTM3U\n#EXTINF:1,\n{secret}\n".encode()
    for name in ("mp3", "m4a", "aac", "ogg", None):
        with pytest.raises(Refusal) as caught:
            decode(playlist, AudioFormat(name), 60.0)
        assert caught.value.code == "unsupported_format"


@settings(deadline=None, max_examples=60)
@given(levels=st.lists(st.integers(0, 8000), min_size=1, max_size=40), longest=st.integers(2, 5))
def test_c4_pieces_are_all_of_it_and_none_is_too_long(levels: list[int], longest: int) -> None:
    samples = np.repeat(np.array(levels, np.int16), LISTEN_RATE // 3)
    parts = list(pieces(samples, float(longest)))
    assert np.array_equal(np.concatenate([part for _, part in parts]), samples)
    assert [start for start, _ in parts] == [0, *np.cumsum([len(part) for _, part in parts])[:-1]]
    assert all(len(part) <= longest * LISTEN_RATE for _, part in parts)


def test_c4_transcripts_of_pieces_become_one() -> None:
    said = joined([
        (0, Transcript("")),
        (16_000, Transcript("one two", start=0.5, end=1.0, confidence=0.5)),
        (32_000, Transcript("three", start=0.0, end=2.0, confidence=1.0)),
    ])  # fmt: skip
    assert (said.text, said.start, said.end, said.confidence) == ("one two three", 1.5, 4.0, 0.75)
    assert joined([(0, Transcript("你好")), (9, Transcript("世界")), (9, Transcript("ok"))]).text == "你好世界 ok"
    assert joined([(0, Transcript(""))]).text == ""


@settings(deadline=None, max_examples=100)
@given(data=st.data())
def test_c4_any_order_of_chunks_with_repetitions_gives_the_same_audio(data: st.DataObject) -> None:
    chunks = data.draw(st.lists(st.binary(min_size=1, max_size=9), min_size=1, max_size=8))
    first = data.draw(st.sampled_from([0, 1]))
    extra = data.draw(st.lists(st.integers(0, len(chunks) - 1), max_size=8))
    order = data.draw(st.permutations([*range(len(chunks)), *extra]))
    known = data.draw(st.booleans())
    memory = Memory(1000)
    uploads = Uploads(Limits(), memory, lambda: 0.0)
    wish = AudioStart("r", AudioFormat("pcm"), total_chunks=len(chunks) if known else None)
    upload, _ = uploads.begin("me", "here", "r", wish)
    held: set[int] = set()
    for index in order:
        if known and first == 0:
            assert upload.missing() == [n for n in range(len(chunks)) if n not in held]
        assert uploads.add(upload, AudioChunk("r", index + first, chunks[index])) is (index not in held)
        held.add(index)
    upload.check(AudioEnd("r"))
    assert upload.assembled() == b"".join(chunks)
    assert memory.used == sum(map(len, chunks))
    uploads.drop(upload)
    uploads.drop(upload)
    assert (memory.used, len(uploads)) == (0, 0)


@pytest.mark.parametrize(
    ("connected", "peer", "allowed"),
    [(True, "10.0.0.1", True), (True, "10.0.0.2", False), (False, "10.0.0.2", True)],
)
def test_c4_who_may_take_an_upload_over(connected: bool, peer: str, allowed: bool) -> None:
    """A connection that seems to live may be a dead one of the same client, never one of somebody elsewhere."""
    uploads = Uploads(Limits(), Memory(1000), lambda: 0.0)
    upload, _ = uploads.begin("one", "10.0.0.1", "r", AudioStart("r", AudioFormat("pcm")))
    if not connected:
        uploads.park("one", clean=False)
    if allowed:
        assert uploads.resume("two", peer, "r") is upload
        assert upload.owner == "two"
    else:
        with pytest.raises(Refusal) as caught:
            uploads.resume("two", peer, "r")
        assert caught.value.code == "no_session"
        assert upload.owner == "one"

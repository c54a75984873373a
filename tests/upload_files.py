"""Sound files of many kinds, as FFmpeg writes them."""

from __future__ import annotations

import io
from fractions import Fraction
from typing import Any

import av
import numpy as np
from numpy.typing import NDArray


def any_wav(samples: NDArray[Any], source: int, codec: str, rate: int, layout: str = "mono") -> bytes:
    """Mono samples (int16 at `source`) as a WAV file in that sample format, rate and layout."""
    return muxed(samples, source, "wav", codec, rate, layout)


def muxed(samples: NDArray[Any], source: int, container: str, codec: str, rate: int, layout: str = "mono") -> bytes:
    """Mono samples (int16 at `source`) in any container and codec."""
    buffer = io.BytesIO()
    with av.open(buffer, "w", format=container) as output:
        _write(output, output.add_stream(codec, rate=rate, layout=layout), samples, source)
    return buffer.getvalue()


def film(samples: NDArray[Any], source: int) -> bytes:
    """An MP4 with a black picture and this sound."""
    buffer = io.BytesIO()
    with av.open(buffer, "w", format="mp4") as output:
        picture = output.add_stream("libx264", rate=25, width=64, height=64, pix_fmt="yuv420p")
        sound = output.add_stream("aac", rate=44_100, layout="stereo")
        for _ in range(int(25 * len(samples) / source)):
            black = av.VideoFrame.from_ndarray(np.zeros((96, 64), np.uint8), format="yuv420p")
            output.mux(picture.encode(black))
        output.mux(picture.encode(None))
        _write(output, sound, samples, source)
    return buffer.getvalue()


def _write(output: av.container.OutputContainer, stream: Any, samples: NDArray[Any], source: int) -> None:
    resampler = av.AudioResampler(
        format=stream.format, layout=stream.layout, rate=stream.rate, frame_size=stream.frame_size or None
    )
    frame = av.AudioFrame.from_ndarray(samples.astype(np.int16)[None, :], format="s16", layout="mono")
    frame.sample_rate, frame.pts, frame.time_base = source, 0, Fraction(1, source)
    for part in [*resampler.resample(frame), *resampler.resample(None), None]:
        output.mux(stream.encode(part))

"""What the client says: the configuration of a session, and the frames that carry it and the audio."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from asr.doubao.protocol import Compression, Frame, MessageType, Serialization, encode

MIN_END_WINDOW_MS = 200

LANGUAGES = {
    "en": "en-US", "ja": "ja-JP", "id": "id-ID", "es": "es-MX", "pt": "pt-BR", "de": "de-DE", "fr": "fr-FR",
    "ko": "ko-KR", "fil": "fil-PH", "ms": "ms-MY", "th": "th-TH", "ar": "ar-SA",
}  # fmt: skip
"""Languages that only the `…_nostream` path can be told; all paths understand Chinese and English by themselves."""


@dataclass(frozen=True, slots=True)
class RecognitionConfig:
    """What a session recognises and how. Audio is always 16 kHz 16-bit mono PCM.

    `language`: "" or "zh" for Chinese, its dialects and English; another tag of `LANGUAGES` (or the service's own name,
    "ja-JP") works on the nostream path only. `two_pass`: a second, better pass over each finished sentence, on the
    async path only. `end_window_ms`: so much silence finishes a sentence; at least 200. `speech_ms`: no sentence is
    finished before so much audio. `hotwords`: words to prefer.
    """

    language: str = ""
    hotwords: tuple[str, ...] = ()
    itn: bool = True
    punctuation: bool = True
    remove_fillers: bool = False
    two_pass: bool = False
    end_window_ms: int = 800
    speech_ms: int = 1000
    user_id: str = "eman"

    def payload(self) -> dict[str, Any]:
        """The JSON object of the full client request."""
        audio: dict[str, Any] = {"format": "pcm", "codec": "raw", "rate": 16000, "bits": 16, "channel": 1}
        if self.language and self.language.partition("-")[0] != "zh":
            audio["language"] = LANGUAGES.get(self.language, self.language)
        request: dict[str, Any] = {
            "model_name": "bigmodel",
            "enable_itn": self.itn,
            "enable_punc": self.punctuation,
            "enable_ddc": self.remove_fillers,
            "show_utterances": True,
            "result_type": "full",
            "end_window_size": max(MIN_END_WINDOW_MS, self.end_window_ms),
            "force_to_speech_time": max(1, self.speech_ms),
        }
        if self.two_pass:
            request["enable_nonstream"] = True
        if self.hotwords:
            words = {"hotwords": [{"word": word} for word in self.hotwords]}
            request["corpus"] = {"context": json.dumps(words, ensure_ascii=False)}
        return {"user": {"uid": self.user_id}, "audio": audio, "request": request}


class RequestBuilder:
    """Frames of the client. `seq` is the number of the message on its connection, positive, or None for none."""

    @staticmethod
    def new_full_client_request(
        seq: int | None,
        config: RecognitionConfig | Mapping[str, Any],
        *,
        compression: Compression = Compression.GZIP,
    ) -> bytes:
        """The first message of a connection. `config` may be the JSON object itself."""
        payload = config.payload() if isinstance(config, RecognitionConfig) else config
        text = json.dumps(payload, ensure_ascii=False, separators=(",", ":")).encode()
        frame = Frame(
            MessageType.FULL_REQUEST, text, sequence=seq, serialization=Serialization.JSON, compression=compression
        )
        return encode(frame)

    @staticmethod
    def new_audio_only_request(
        seq: int | None,
        audio_data: bytes,
        is_last: bool = False,
        *,
        compression: Compression = Compression.NONE,
    ) -> bytes:
        """A packet of audio; the last one of a session carries its number negative."""
        number = -seq if is_last and seq is not None else seq
        return encode(Frame(MessageType.AUDIO_REQUEST, audio_data, is_last, number, compression=compression))

"""Which kind of model a folder holds, told by its files and by what their exporters wrote into them."""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path

from asr.sherpa_metadata import NotOnnx, read_metadata
from core.errors import RecognizerError

NAME = "sherpa"
MODELS_URL = "https://github.com/k2-fsa/sherpa-onnx/releases/tag/asr-models"
DOWNLOAD = (
    f"download a model from {MODELS_URL}, for instance sherpa-onnx-streaming-zipformer-bilingual-zh-en-2023-02-20 "
    "(with partial results) or sherpa-onnx-sense-voice-zh-en-ja-ko-yue-2024-07-17, unpack it with tar xf, "
    "and set asr.sherpa.model to the folder"
)


class Kind(StrEnum):
    """What sherpa-onnx must be told to load."""

    STREAMING_TRANSDUCER = "streaming transducer"
    STREAMING_PARAFORMER = "streaming paraformer"
    STREAMING_CTC = "streaming zipformer CTC"
    TRANSDUCER = "transducer"
    PARAFORMER = "paraformer"
    SENSE_VOICE = "SenseVoice"
    WHISPER = "Whisper"
    CTC = "zipformer CTC"
    NEMO_CTC = "NeMo CTC"


_STREAMING = {Kind.STREAMING_TRANSDUCER, Kind.STREAMING_PARAFORMER, Kind.STREAMING_CTC}
_SINGLE = {
    "sense_voice_ctc": Kind.SENSE_VOICE,
    "paraformer": Kind.PARAFORMER,
    "zipformer2": Kind.STREAMING_CTC,
    "zipformer2_ctc": Kind.CTC,
    "EncDecCTCModelBPE": Kind.NEMO_CTC,
    "EncDecCTCModel": Kind.NEMO_CTC,
    "EncDecHybridRNNTCTCBPEModel": Kind.NEMO_CTC,
}


@dataclass(frozen=True, slots=True)
class SherpaModel:
    """A model that can be loaded. `files`: the argument of sherpa-onnx → path. `model_type`: as exported."""

    kind: Kind
    files: dict[str, str] = field(default_factory=dict)
    model_type: str = ""

    @property
    def streaming(self) -> bool:
        """Whether it recognises while the user speaks."""
        return self.kind in _STREAMING


def find_model(folder: str, *, precision: str = "int8") -> SherpaModel:
    """The model in `folder`; where it holds several builds, that of `precision` ("int8" or "float").

    Raises `RecognizerError` that says what is missing and where it can be had.
    """
    if not folder:
        raise _error(f"asr.sherpa.model is not set: {DOWNLOAD}")
    path = Path(folder).expanduser()
    if not path.is_dir():
        raise _error(f"asr.sherpa.model: {path} is no folder; {DOWNLOAD}")
    tokens = path / "tokens.txt"
    if not tokens.is_file():
        tokens = next(iter(sorted(path.glob("*tokens.txt"))), tokens)
    if not tokens.is_file():
        raise _error(f"asr.sherpa.model: {path} holds no tokens.txt; {DOWNLOAD}")
    roles = {role: _file(path, role, precision) for role in ("encoder", "decoder", "joiner")}
    parts = {role: str(file) for role, file in roles.items() if file is not None}
    if set(parts) == {"encoder", "decoder", "joiner"}:
        model = _transducer(parts)
    elif set(parts) == {"encoder", "decoder"}:
        model = _pair(parts)
    elif not parts:
        model = _single(path, precision)
    else:
        missing = " and ".join(sorted({"encoder", "decoder"} - set(parts)) or ["joiner"])
        raise _error(f"asr.sherpa.model: {path} is incomplete: no *{missing}*.onnx; {DOWNLOAD}")
    model.files["tokens"] = str(tokens)
    return model


def _file(folder: Path, role: str, precision: str) -> Path | None:
    """The .onnx file for a role, in the wanted precision if there is a choice."""
    found = sorted(path for path in folder.glob("*.onnx") if role in path.name.lower())
    wanted = [path for path in found if (".int8." in path.name) == (precision == "int8")]
    return next(iter(wanted or found), None)


def _transducer(parts: dict[str, str]) -> SherpaModel:
    data = _metadata(Path(parts["encoder"]))
    kind = Kind.STREAMING_TRANSDUCER if {"decode_chunk_len", "chunk_shift"} & set(data) else Kind.TRANSDUCER
    return SherpaModel(kind, parts, data.get("model_type", ""))


def _pair(parts: dict[str, str]) -> SherpaModel:
    data = _metadata(Path(parts["encoder"]))
    exported = data.get("model_type", "")
    if exported.startswith("whisper"):
        return SherpaModel(Kind.WHISPER, parts, exported)
    if exported == "paraformer" or "decoder_num_blocks" in data:
        return SherpaModel(Kind.STREAMING_PARAFORMER, parts, exported)
    raise _unknown(Path(parts["encoder"]), exported)


def _single(folder: Path, precision: str) -> SherpaModel:
    file = _file(folder, "model", precision) or _file(folder, "", precision)
    if file is None:
        raise _error(f"asr.sherpa.model: {folder} holds no .onnx file; {DOWNLOAD}")
    data = _metadata(file)
    exported = data.get("model_type", "")
    kind = _SINGLE.get(exported)
    if kind is Kind.STREAMING_CTC and "decode_chunk_len" not in data:
        kind = Kind.CTC
    if kind is None:
        raise _unknown(file, exported)
    return SherpaModel(kind, {"model": str(file)}, exported)


def _metadata(file: Path) -> dict[str, str]:
    try:
        return read_metadata(file)
    except NotOnnx as error:
        raise _error(f"{file} {error}") from None
    except OSError as error:
        raise _error(f"{file} can't be read ({error.strerror})") from None


def _unknown(file: Path, exported: str) -> RecognizerError:
    kinds = ", ".join(Kind)
    what = f"is a model of type {exported!r}" if exported else "does not say what it is (no model_type in its metadata)"
    return _error(f"{file} {what}; supported: {kinds}. To get one, {DOWNLOAD}")


def _error(message: str) -> RecognizerError:
    return RecognizerError(message, adapter=NAME, code=f"{NAME}_model")

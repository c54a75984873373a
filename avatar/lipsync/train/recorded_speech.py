"""Speech of the voices made from recordings: festival's and flite's with their own segment times, and Kokoro's."""

from __future__ import annotations

import subprocess
import tempfile
from pathlib import Path

from avatar.lipsync.labels import Timed
from avatar.lipsync.train import neural_speech
from avatar.lipsync.train.phones import ipa_of
from avatar.lipsync.train.speech import Speech, read_wave
from avatar.lipsync.train.voices import RecordedVoice
from core.errors import LipSyncError

_SECONDS_PER_TEXT = 60


def speak(texts: list[str], voice: RecordedVoice, *, stretch: float = 1.0) -> list[Speech]:
    """Each of `texts`, `stretch` times as slow as usual. Raises `LipSyncError` when the engine is missing or fails."""
    if voice.engine == "kokoro":
        return neural_speech.speak(texts, voice, stretch=stretch)
    with tempfile.TemporaryDirectory() as folder:
        speaker = _festival if voice.engine == "festival" else _flite
        try:
            return speaker(texts, voice, stretch, Path(folder))
        except FileNotFoundError as error:
            raise LipSyncError(f"{voice.engine} is missing: install the Debian package {voice.package}") from error


def _festival(texts: list[str], voice: RecordedVoice, stretch: float, folder: Path) -> list[Speech]:
    lines = [f"(voice_{voice.name})", f"(Parameter.set 'Duration_Stretch {stretch:.2f})"]
    for i, text in enumerate(texts):
        plain = text.replace("\\", " ").replace('"', " ")
        lines += [
            f'(set! u (utt.synth (Utterance Text "{plain}")))',
            f'(utt.save.segs u "{folder}/{i}.segs")',
            f'(utt.save.wave u "{folder}/{i}.wav" \'riff)',
        ]
    script = folder / "script.scm"
    script.write_bytes("\n".join(lines).encode(voice.encoding, "ignore"))
    limit = _SECONDS_PER_TEXT * len(texts)
    subprocess.run(["festival", "--batch", str(script)], capture_output=True, timeout=limit, check=False)
    found = []
    for i, text in enumerate(texts):
        sound = folder / f"{i}.wav"
        if sound.exists():  # a text that festival can't read ends its script
            found.append(Speech.of(text, read_wave(sound), _segments(folder / f"{i}.segs", voice), voice.name))
    return found


def _segments(path: Path, voice: RecordedVoice) -> list[Timed]:
    """Lines of end time, a number, and name, after a line with "#"."""
    phones, start = [], 0.0
    for line in path.read_text("latin-1").splitlines()[1:]:
        end, _, name = line.split()
        phones.append(Timed(ipa_of(name, voice.language), start, float(end)))
        start = float(end)
    return phones


def _flite(texts: list[str], voice: RecordedVoice, stretch: float, folder: Path) -> list[Speech]:
    found = []
    for text in texts:
        sound = folder / "sound.wav"
        options = ["-voice", voice.name, "--setf", f"duration_stretch={stretch:.2f}", "-psdur", "-t", f" {text}"]
        command = ["flite", *options, "-o", str(sound)]
        done = subprocess.run(command, capture_output=True, timeout=_SECONDS_PER_TEXT, check=True, text=True)
        phones, start = [], 0.0
        for item in done.stdout.split():
            name, _, end = item.rpartition(":")
            phones.append(Timed(ipa_of(name, voice.language), start, float(end)))
            start = float(end)
        found.append(Speech.of(text, read_wave(sound), phones, voice.name))
    return found

"""Mouth shapes for speech: one file per method."""

ADAPTERS: dict[str, str] = {
    "auto": "avatar.lipsync.auto:AutoLipSync",
    "phonemes": "avatar.lipsync.phonemes:PhonemeLipSync",
    "aligned": "avatar.lipsync.aligned:AlignedLipSync",
    "audio": "avatar.lipsync.audio:AudioLipSync",
}
"""Name in the settings → "module:Class"."""

"""Mouth shapes for speech: one file per method."""

ADAPTERS: dict[str, str] = {
    "phonemes": "avatar.lipsync.phonemes:PhonemeLipSync",
    "energy": "avatar.lipsync.energy:EnergyLipSync",
}
"""Name in the settings → "module:Class"."""

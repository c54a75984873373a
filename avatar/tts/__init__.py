"""Text to speech: one file per engine."""

ADAPTERS: dict[str, str] = {
    "espeak": "avatar.tts.espeak:EspeakSynthesizer",
}
"""Name in the settings → "module:Class"."""

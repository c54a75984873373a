"""FunASR: the official runtime protocol, and the custom upload protocol (docs/asr-funasr-custom.md) with its server."""

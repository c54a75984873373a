"""Hearing: voice activity and speech recognisers. A recogniser is one module and one line in `ADAPTERS`."""

ADAPTERS: dict[str, str] = {
    "pocketsphinx": "asr.pocketsphinx:PocketsphinxRecognizer",
    "funasr_custom": "asr.funasr.recognizer:FunASRCustomRecognizer",
    "doubao": "asr.doubao.recognizer:DoubaoRecognizer",
    "funasr_runtime": "asr.funasr.runtime_recognizer:FunasrRuntimeRecognizer",
    "automodel": "asr.automodel:AutoModelRecognizer",
    "sherpa": "asr.sherpa:SherpaRecognizer",
    "chain": "asr.chain:ChainRecognizer",
    "openai": "asr.openai:OpenAIRecognizer",
}
"""Name in the settings → "module:Class" of a `core.stages.Recognizer`; loaded only when chosen."""

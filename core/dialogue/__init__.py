"""What to say: one file per back end."""

ADAPTERS: dict[str, str] = {
    "demo": "core.dialogue.demo:DemoDialogue",
    "openai": "core.dialogue.openai:OpenAIDialogue",
}
"""Name in the settings → "module:Class"."""

VOICES: dict[str, str] = {"xiaozhi": "core.dialogue.xiaozhi.voice:XiaozhiVoice"}
"""The same for services that hear and speak, too."""

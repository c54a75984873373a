"""Settings as the values that the parts of a server are built from."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from config.secrets import public_view
from config.settings import Settings, data_folder
from core.access import Access, AccessRules
from core.clips import Clip, ClipShelf
from core.conversation import ConversationLimits
from core.devices.door import Door
from core.devices.options import DeviceOptions, TalkOptions
from core.devices.tokens import DeviceTokens
from core.devices.wake_words import WakeWords
from core.errors import SettingsError
from core.http_api import ApiLimits
from core.identity import Tokens, kept_secret
from core.reply import Timeouts
from core.sessions import LifecycleLimits
from core.stages import Dialogue, Recognizer, VoiceService
from core.turn_events import TurnSettings


def conversation_limits(settings: Settings) -> ConversationLimits:
    """For every session's `Conversation`."""
    return ConversationLimits(
        queued_replies=settings.limits.max_queued_replies,
        history_turns=settings.dialogue.history_turns,
        timeouts=Timeouts(settings.dialogue.timeout_s, settings.tts.timeout_s),
    )


def lifecycle_limits(settings: Settings) -> LifecycleLimits:
    """For `Sessions`."""
    return LifecycleLimits(
        max_sessions=settings.limits.max_sessions,
        handshake_timeout_s=settings.lifecycle.handshake_timeout_s,
        vanish_s=settings.lifecycle.vanish_s,
        resume_s=settings.lifecycle.resume_s,
    )


def api_limits(settings: Settings) -> ApiLimits:
    """For `HttpApi`."""
    return ApiLimits(settings.limits.max_upload_mb << 20, settings.limits.max_text_chars)


def clip_shelf(settings: Settings) -> ClipShelf:
    """The clips that there are. Raises `SettingsError` for a file that is missing."""
    named = settings.avatar.clips_folder
    folder = Path(named).expanduser() if named else None
    if folder is not None and not folder.is_dir():
        raise SettingsError(f"avatar.clips_folder: no such folder: {folder}")
    clips = []
    for number, clip in enumerate(settings.avatar.clips):
        pictures, sound = (
            (folder or Path()) / Path(path).expanduser() if path else None for path in (clip.pictures, clip.sound)
        )
        for key, path in (("pictures", pictures), ("sound", sound)):
            if path is not None and not path.exists():
                raise SettingsError(f"avatar.clips.{number}.{key}: no such file or folder: {path}")
        assert pictures is not None
        clips.append(Clip(clip.audiotype, pictures, sound, clip.loop, clip.fit, clip.name))
    return ClipShelf(clips, folder)


def turn_settings(settings: Settings) -> TurnSettings:
    """For every session's ears. A wait outside the shortest and the longest one moves that bound."""
    turn = settings.turn.model_dump(exclude={"semantic_model"})
    turn["endpoint_shortest_ms"] = min(turn["endpoint_shortest_ms"], turn["endpoint_silence_ms"])
    turn["endpoint_longest_ms"] = max(turn["endpoint_longest_ms"], turn["endpoint_silence_ms"])
    return TurnSettings(**turn)


def body_limit(settings: Settings) -> int:
    """Bytes of a JSON body, which is parsed on the loop: what the longest text needs, in which an escape takes 12."""
    return max(1 << 20, 12 * settings.limits.max_text_chars)


def access_rules(settings: Settings) -> AccessRules:
    """For `Access`."""
    return AccessRules(
        enabled=settings.auth.enabled,
        admin_token=settings.auth.admin_token,
        api_keys=tuple(settings.auth.api_keys),
        allowed_origins=tuple(settings.server.allowed_origins),
        any_origin=settings.compat.livetalking,
        open_admin=settings.compat.livetalking,
        trusted_proxies=tuple(settings.server.trusted_proxies),
        offers_per_minute=settings.limits.offers_per_minute,
        uploads_per_minute=settings.limits.uploads_per_minute,
        messages_per_second=settings.limits.messages_per_second,
    )


def device_options(settings: Settings) -> DeviceOptions:
    """For `DeviceEndpoint`."""
    section = settings.xiaozhi
    return DeviceOptions(
        paths=section.paths,
        ota_paths=section.ota_paths,
        url=section.url,
        presenter=section.presenter,
        background=section.background,
        talk=TalkOptions(
            greeting=section.greeting,
            wake_words=WakeWords(section.wake_words),
            idle_s=section.idle_s,
            max_text_chars=settings.limits.max_text_chars,
        ),
    )


def device_paths(settings: Settings) -> dict[str, list[str]]:
    """The addresses for devices, by the setting that names them."""
    return {"xiaozhi.paths": settings.xiaozhi.paths, "xiaozhi.ota_paths": settings.xiaozhi.ota_paths}


def device_door(settings: Settings, access: Access) -> Door:
    """Lets devices in."""
    return Door(access, DeviceTokens(_secret(settings)), settings.xiaozhi.token, settings.xiaozhi.devices)


def signing(settings: Settings) -> Tokens:
    """Signs tokens with the configured secret, or with the one that is kept beside the history."""
    return Tokens(_secret(settings), settings.auth.token_days * 86_400)


def _secret(settings: Settings) -> str:
    kept_in = settings.history.file()
    folder = kept_in.parent if kept_in is not None else data_folder()
    return settings.auth.secret or kept_secret(folder / "secret")


def presenter(settings: Settings) -> str:
    """The name of the character that sessions show."""
    return str(settings.face.engine_options().get("presenter", settings.face.engine))


def admin_config(settings: Settings) -> dict[str, Any]:
    """What operators see: LiveTalking's names, and all settings with the secrets masked."""
    return {
        "fps": 50,  # LiveTalking counts packets of sound, not pictures
        "model": settings.face.engine,
        "avatar_id": str(settings.face.engine_options().get("presenter", "")),
        "tts": settings.tts.engine,
        "REF_FILE": str(settings.tts.engine_options().get("voice", "")),
        "transport": "webrtc",
        "batch_size": 1,
        "customopt": [
            {"audiotype": clip.audiotype, "imgpath": clip.pictures, "audiopath": clip.sound or ""}
            for clip in settings.avatar.clips
        ],
        "max_session": settings.limits.max_sessions,
        "listenport": settings.server.port,
        "settings": public_view(settings),
    }


def background(settings: Settings) -> str:
    """What is behind the character unless a session chooses."""
    return str(settings.face.engine_options().get("background", "studio"))


def page_config(
    settings: Settings, version: str, recognizer: Recognizer, dialogue: Dialogue, voice: VoiceService | None
) -> dict[str, Any]:
    """What the chat page needs to know."""
    return {
        "name": "Eman",
        "version": version,
        "avatar_name": settings.avatar.name,
        "ice_servers": [server.model_dump(exclude_none=True) for server in settings.ice.servers],
        "asr": {"engine": recognizer.name, "languages": list(recognizer.languages)},
        "dialogue": {"engine": dialogue.name},
        "voice": {"engine": voice.name if voice is not None else "", "sessions": settings.voice.sessions},
        "max_upload_mb": settings.limits.max_upload_mb,
        "max_upload_minutes": settings.limits.max_upload_minutes,
        "max_text_chars": settings.limits.max_text_chars,
        "video": {"width": settings.media.width, "height": settings.media.height},
        "control_url": settings.page.control_url,
        "auth": {
            "enabled": settings.auth.enabled,
            "open": not (settings.auth.enabled and settings.auth.api_keys),
        },
    }

"""How a session is put together: its line, ears, conversation and avatar, on what all sessions of a server share."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import Executor
from dataclasses import dataclass
from functools import partial
from zlib import crc32

from asr.vad import VoiceActivity
from avatar.avatar import Avatar
from avatar.choreography import Choreography
from avatar.guard import FrameGuard
from avatar.ice import IceServers
from avatar.painter import Painter
from config.settings import Settings
from config.wiring import conversation_limits, turn_settings
from core.cast import TRANSPARENT, Cast
from core.clips import ClipShelf
from core.conversation import Conversation
from core.errors import BadRequest
from core.events import Event
from core.frames import Activity, FaceChoice, Samples
from core.listener import Listener
from core.metrics import Metrics
from core.parts import Ears, Parts
from core.relay_ears import RelayEars
from core.transcriber import Transcriber
from core.viseme_feed import VisemeFeed
from core.voice_events import Turns
from core.voice_line import VoiceLine
from engines import Engines


@dataclass(frozen=True, slots=True)
class Assembly:
    """What the parts of every session are made from."""

    settings: Settings
    engines: Engines
    cast: Cast
    clips: ClipShelf
    ice: IceServers
    visemes: VisemeFeed
    metrics: Metrics
    drawing: Executor
    """Where pictures are drawn."""
    speech: Executor
    """Where speech is prepared and uploads are decoded."""
    hear: Callable[[str, Samples], None]
    """Takes the microphone of a session's WebRTC connection."""

    def parts(self, session_id: str, face: FaceChoice, emit: Callable[[Event], None], voice: bool | None) -> Parts:
        """A new session's. `voice`: whether the voice service leads it, None as set. Raises `BadRequest`."""

        def show(activity: Activity) -> None:
            media.stage.show(activity)

        line = self._line(session_id, emit, voice)
        conversation = Conversation(
            dialogue=self.engines.dialogue,
            synthesizer=self.engines.synthesizer,
            emit=emit,
            show=show,
            limits=conversation_limits(self.settings),
            remote=line,
        )

        def painter(choice: FaceChoice) -> Painter:
            # here alone it is known who appears, at the first offer and when another presenter is chosen
            conversation.usual_voice = self.cast.voice(choice, self.engines.synthesizer.name)
            return self._painter(session_id, choice, choreography)

        size = self.settings.media
        choreography = Choreography(size.width, size.height, self.clips.clips)
        media = Avatar(
            listener=conversation,
            lipsync=self.engines.lipsync,
            painter=painter,
            face=face,
            choreography=choreography,
            ice=self.ice,
            codec=self.settings.media.codec,
            speech=self.speech,
            on_audio=partial(self.hear, session_id),
            took=self.metrics.observe_live_sound,
        )
        media.stage.watch_lips(self.visemes.viewer(session_id))
        conversation.use_stage(media.speaker)
        ears = self._ears(conversation, media, emit, line)
        files = Transcriber(
            recognizer=self.engines.recognizer,
            voice_activity=VoiceActivity,
            conversation=conversation,
            emit=emit,
            executor=self.speech,
            timeout_s=self.settings.asr.timeout_s,
            max_turn_s=self.settings.turn.max_turn_s,
        )
        return Parts(conversation, media, ears, files, line)

    def _line(self, session_id: str, emit: Callable[[Event], None], wanted: bool | None) -> VoiceLine | None:
        """The session's line to the voice service; None where it is not to have one. Raises `BadRequest`."""
        settings, service = self.settings.voice, self.engines.voice
        if service is None and wanted:
            raise BadRequest("this server has no voice service (voice.engine)", code="no_voice_service")
        if service is None or not (settings.sessions == "all" if wanted is None else wanted):
            return None
        call = service.open(session_id)
        return VoiceLine(call, service.name, service.turns, emit=emit, timeout_s=settings.timeout_s)

    def _ears(
        self, conversation: Conversation, media: Avatar, emit: Callable[[Event], None], line: VoiceLine | None
    ) -> Ears:
        turn, voice = turn_settings(self.settings), self.engines.voice
        if line is not None:
            line.use_conversation(conversation)
        if line is not None and voice is not None and voice.turns is not Turns.OURS:
            return RelayEars(
                line=line, turns=voice.turns, voice_activity=VoiceActivity(), conversation=conversation,
                avatar=media.stage, emit=emit, tail_s=turn.echo_tail_ms / 1000, max_turn_s=turn.max_turn_s,
            )  # fmt: skip
        return Listener(
            recognizer=line or self.engines.recognizer,
            voice_activity=VoiceActivity(),
            settings=turn,
            conversation=conversation,
            avatar=media.stage,
            emit=emit,
            # the line ends its turns itself, in time
            timeout_s=self.settings.asr.timeout_s if line is None else self.settings.voice.timeout_s + 1.0,
            model=self.engines.end_of_turn,
        )

    def _painter(self, session_id: str, choice: FaceChoice, choreography: Choreography) -> Painter:
        face = self.cast.open(choice, seed=crc32(session_id.encode()))
        size, columns = self.settings.media, 2 if self.cast.background(choice) == TRANSPARENT else 1
        shown = choreography.over(face, matte=columns == 2)
        return Painter(shown, FrameGuard(size.width, size.height, columns=columns), self.drawing)

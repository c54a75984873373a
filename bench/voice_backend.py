"""Conversations that a remote voice service leads, and sound over the WebSocket.

The service is the tests' strict xiaozhi server in a process of its own, with a voice that never pauses: five packets
of 60 ms at once, then one every 60 ms. Clients take the sound from the WebSocket, or through WebRTC where it is said.
All processes are on one machine and share its monotonic clock.
"""

from __future__ import annotations

from collections.abc import Sequence

from bench.remote_voice import RemoteVoice
from bench.result import Figure, Options, Result, statistic
from bench.voice_barge_in import Interruption, Interruptions, interruptions
from bench.voice_breaks import Breaks, Inside, breaks
from bench.voice_downlink import REPLY_S, Downlink, details, downlink, packet_ms
from bench.voice_service import BURST, PACKET_S

CROWD = 20
CLIENTS_OWN = ("RequestHandler.start", "RequestHandler._handle_request")
"""Tasks of HTTP connections that clients keep open."""
_RTP_S = 0.02


async def measure(options: Options) -> Result:
    """See the module."""
    crowd_size = options.count(CROWD, 2)
    alone_ms = statistic(packet_ms(options.count(1000, 100)), "median")
    async with RemoteVoice() as service:
        one = await downlink(service, options, 1, options.duration(60, 3))
        crowd = await downlink(service, options, crowd_size, options.duration(60, 3))
        broken = await breaks(service, options)
        cut = await interruptions(service, options)
        refused = [told["why"] for told in service.all("refused")]
    figures = [
        *_downlink_figures(one, crowd, crowd_size, alone_ms),
        *_break_figures(broken),
        *_barge_in_figures(cut),
        Figure("violations of the protocol that the service saw", "", [len(refused)], goal=0),
    ]
    settings = {
        "packet_ms": round(1000 * PACKET_S), "burst_packets": BURST, "reply_s": REPLY_S, "conversations": crowd_size,
        "downlink_s": options.duration(60, 3),
    }  # fmt: skip
    found = {
        "one": details(one), "crowd": details(crowd), "breaks": broken.details(),
        "barge_in": cut.details(), "refused": refused,
    }  # fmt: skip
    title = "A remote voice service, and sound over the WebSocket"
    return Result("voice_backend", title, figures, settings, found)


def _downlink_figures(one: Downlink, crowd: Downlink, size: int, alone_ms: float) -> list[Figure]:
    stage_note = "decoding and resampling one packet on this machine, alone"
    socket_note = f"{stage_note}, and two hops over loopback, each half of a heartbeat's way there and back at rest"
    socket_ms = alone_ms + 2 * one.hop_ms
    by_arrival = "from the packet's arrival to its sound on the avatar's stage: the server's own metric"
    by_sending = "from the packet's sending to the arrival of the message with its first sample"
    many, single = f"{size} conversations", "one conversation"
    return [
        Figure(f"Opus packet → stage, {many}", "ms", crowd.to_stage, "median", goal=5, floor=alone_ms,
               floor_note=stage_note, note=by_arrival),
        Figure(f"Opus packet → stage, {many}, slowest of 100", "ms", crowd.to_stage, "p99", goal=15, floor=alone_ms,
               floor_note=stage_note, note=by_arrival),
        Figure(f"Opus packet → stage, {single}", "ms", one.to_stage, "median", goal=5, floor=alone_ms,
               floor_note=stage_note, note=by_arrival),
        Figure(f"Opus packet → `audio_frame` at the client, {many}", "ms", crowd.to_socket, "median", goal=10,
               floor=socket_ms, floor_note=socket_note, note=by_sending),
        Figure(f"Opus packet → `audio_frame` at the client, {single}", "ms", one.to_socket, "median", goal=10,
               floor=socket_ms, floor_note=socket_note, note=by_sending),
        Figure("packets whose sound did not come, or replies that ran dry", "",
               [one.lost + crowd.lost + one.left_out + crowd.left_out], goal=0),
    ]  # fmt: skip


def _break_figures(broken: Breaks) -> list[Figure]:
    all_of = broken.breaks
    told = [one.told_s is not None for one in all_of]
    sudden = [one for one in all_of if one.fault != "stall"]
    back = [1000 * one.reconnected_s for one in all_of if one.reconnected_s is not None]
    silent = [one.told_s for one in all_of if one.fault == "stall" and one.told_s is not None]
    return [
        Figure(f"{len(all_of)} disconnects: the page was told", "%", [_share(told)], goal=100, at_least=True),
        Figure("… the next recording was understood, answered and heard", "%",
               [_share([one.next_works for one in all_of])], goal=100, at_least=True),
        Figure("… tasks, sockets, decoders, files left behind", "", [_left_behind(broken)], goal=0,
               note="beside those of each session's one new connection, and after all sessions beside none"),
        Figure("disconnect → the page is told", "ms", [1000 * one.told_s for one in sudden if one.told_s is not None],
               "p99", floor=0, note="but of services that only fall silent"),
        *([Figure("a service that falls silent → the page is told", "s", silent, "max", floor=120,
                  floor_note="it may be silent for 120 s")] if silent else []),
        Figure("the service is back → connected again", "ms", back, "max", goal=2000, floor=1500,
               floor_note="attempts are at most 1.5 s apart in the first minute"),
    ]  # fmt: skip


def _barge_in_figures(cut: Interruptions) -> list[Figure]:
    packet = "half of the 20 ms between two packets, and the one that sounds"
    speech, button = cut.by_speech, cut.by_button
    pressed = [_both(one, one.began) for one in button]
    decided = "from our turn-taking's decision"
    return [
        Figure("barge-in → abort at the service, and silence", "ms", [_both(one, one.decided) for one in speech], "max",
               goal=200, floor=0, floor_note="it was silent before the decision", note=decided),
        Figure("speech over the reply held → silence at the client", "ms", _ms(speech, "held", "silent"), "max",
               goal=200, floor=1500 * _RTP_S, floor_note=packet, note="WebRTC"),
        Figure("first sample of the user's speech → silence at the client", "ms", _ms(speech, "began", "silent"),
               floor=250, floor_note="the guard against coughs", note="WebRTC"),
        Figure("first sample of the user's speech → abort at the service", "ms", _ms(speech, "began", "aborted"),
               floor=1000, floor_note="speech whose words are not known yet interrupts after 1 s"),
        Figure("button → abort at the service, and silence at the client", "ms", pressed, "max", goal=200,
               floor=1500 * _RTP_S, floor_note=packet, note="WebRTC"),
        Figure("interruptions that failed", "", [cut.failed], goal=0),
    ]  # fmt: skip


def _ms(ones: Sequence[Interruption], start: str, end: str) -> list[float]:
    return [1000 * (getattr(one, end) - getattr(one, start)) for one in ones]


def _both(one: Interruption, since: float) -> float:
    """Milliseconds until the service was told and nothing sounded any more; 0 where both were so before."""
    return 1000 * max(0.0, one.aborted - since, one.silent - since)


def _share(good: Sequence[bool]) -> float:
    return 100 * sum(good) / max(1, len(good))


def _left_behind(broken: Breaks) -> int:
    """What is more than before, with everybody still there, and when they had left."""
    pairs = (broken.before, broken.after, False), (broken.alone, broken.left, True)
    return sum(more(then, now, files=files) for then, now, files in pairs if then is not None and now is not None)


def more(then: Inside, now: Inside, *, files: bool) -> int:
    """How many things of each kind there are more than there were."""
    counts = [(then.sockets, now.sockets), *((then.objects[name], now.objects[name]) for name in then.objects)]
    tasks = (then.tasks.keys() | now.tasks.keys()) - set(CLIENTS_OWN)
    counts += [(then.tasks.get(name, 0), now.tasks.get(name, 0)) for name in tasks]
    counts += [(then.fds, now.fds)] if files else []
    return sum(max(0, after - before) for before, after in counts)

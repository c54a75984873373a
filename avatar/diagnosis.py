"""Checks of the media side for `python app.py doctor`."""

from __future__ import annotations

import asyncio
import ctypes.util
import socket

import av
from aioice.ice import get_host_addresses

from avatar.ice import IceServers
from core.doctor import Finding, Verdict

_CODECS = {"libopus": "sound", "libvpx": "VP8 video", "libx264": "H264 video"}


def check_codecs() -> list[Finding]:
    """Whether PyAV's FFmpeg carries the codecs of WebRTC."""
    findings = []
    for codec, purpose in _CODECS.items():
        there = codec in av.codecs_available
        advice = "" if there else "reinstall PyAV from its wheel: pip install --force-reinstall --only-binary :all: av"
        optional = Verdict.CAUTION if codec == "libx264" else Verdict.BAD
        detail = f"{purpose}, inside PyAV" if there else f"{purpose}: missing from PyAV"
        findings.append(Finding(codec, Verdict.GOOD if there else optional, detail, advice))
    if system := ctypes.util.find_library("opus"):
        findings.append(Finding("libopus (system)", Verdict.GOOD, system))
    return findings


def check_udp() -> Finding:
    """Whether UDP datagrams pass between sockets on the addresses that are offered to browsers."""
    addresses = get_host_addresses(use_ipv4=True, use_ipv6=False) or ["127.0.0.1"]
    blocked = [address for address in addresses if not _echo(address)]
    if blocked:
        advice = "allow UDP on these addresses in the firewall, or configure a TURN server (ice.servers)"
        return Finding("UDP", Verdict.BAD, f"nothing passes on {', '.join(blocked)}", advice)
    return Finding("UDP", Verdict.GOOD, f"works on {', '.join(addresses)}")


async def check_ice(servers: IceServers) -> list[Finding]:
    """Which of the configured STUN and TURN servers answer."""
    if not servers.configured:
        detail = "no STUN or TURN server configured: fine on this machine and in a local network"
        return [Finding("ICE servers", Verdict.GOOD, detail)]
    await servers.probe()
    usable = {server.urls for server in servers.usable()}
    advice = "check address, port and firewall; until it answers, it is left out"
    return [
        Finding("ICE server", Verdict.GOOD, f"{server.urls} answers")
        if server.urls in usable
        else Finding("ICE server", Verdict.BAD, f"{server.urls} does not answer", advice)
        for server in servers.configured
    ]


def _echo(address: str) -> bool:
    with (
        socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as one,
        socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as two,
    ):
        try:
            two.bind((address, 0))
            two.settimeout(1.0)
            one.sendto(b"eman", two.getsockname())
            return two.recv(16) == b"eman"
        except OSError:
            return False


async def check_media(servers: IceServers) -> list[Finding]:
    """All of the above."""
    return [*check_codecs(), await asyncio.to_thread(check_udp), *await check_ice(servers)]

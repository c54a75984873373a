"""`python -m bench [name ...]`: run measurements, print them, keep them in bench/results."""

from __future__ import annotations

import argparse
import asyncio
import gc
import importlib
import logging
import sys
from pathlib import Path

from bench.processes import CLIENT_CORE, Others, pin_to
from bench.result import RESULTS, Options, Result, described, pinnable, write

MEASUREMENTS = {
    "connect": "offer to first video, also with a STUN server that does not answer",
    "latency": "text to first sound, interrupt to silence",
    "turns": "end of the user's speech to first sound, spoken through the microphone",
    "endpointing": "whether users are cut off, and how long they wait: adaptive against fixed",
    "barge_in": "speech over the avatar to silence; its own voice coming back",
    "asr": "hearing: word errors, our share of the wait, numbering, large uploads",
    "sync": "mouth opening against sound; --long again after ten minutes",
    "presenters": "mouth opening against sound, every presenter, ten minutes of speech",
    "offline": "videos without a server, against real time",
    "frames": "frame rate and inter-arrival times",
    "face": "time per picture of the embedded face: presenters, sizes, idle, transparent",
    "cpu": "CPU per speaking session, beside a minimal server's",
    "sound": "sound over the WebSocket: CPU per session, first sound, interruption",
    "lipsync": "CPU of the lips, per 40 ms of speech",
    "neighbour": "what one session notices of another",
    "memory": "memory with 0, 1, 4 and 8 sessions",
    "churn": "threads, files and memory after many sessions",
    "voice_backend": "a remote voice service: its packets' way, disconnects, barge-in",
    "voice_page": "gaps in it on the page without WebRTC, with jitter on both ways, in a real Chromium",
    "sockets": "WebSockets: how many, how fast, each message once, nothing left behind",
}


def arguments(argv: list[str] | None = None) -> argparse.Namespace:
    """The command line."""
    lines = "\n".join(f"  {name:13} {what}" for name, what in MEASUREMENTS.items())
    parser = argparse.ArgumentParser(
        prog="python -m bench", formatter_class=argparse.RawDescriptionHelpFormatter,
        description=f"Measure the server on the media a client receives.\n\n{lines}",
    )  # fmt: skip
    parser.add_argument("names", nargs="*", metavar="name", help="measurements to run (default: all)")
    parser.add_argument("--quick", action="store_true", help="short, to try the tool; kept only with --out")
    parser.add_argument("--seconds", type=float, help="length of the timed parts")
    parser.add_argument("--long", action="store_true", help="sync: again after ten minutes in the same session")
    parser.add_argument("--unpinned", action="store_true", help="do not give server and client a core each")
    parser.add_argument("--out", type=Path, help="folder for the results (default: bench/results)")
    options = parser.parse_args(argv)
    unknown = [name for name in options.names if name not in MEASUREMENTS]
    if unknown:
        parser.error(f"unknown: {', '.join(unknown)}; there are {', '.join(MEASUREMENTS)}")
    return options


def run(name: str, options: Options, out: Path | None) -> bool:
    """One measurement. Returns whether every goal was met."""
    print(f"\n{name}: {MEASUREMENTS[name]}", flush=True)
    others = Others()
    result: Result = asyncio.run(importlib.import_module(f"bench.{name}").measure(options))
    gc.collect()
    content = described(result, options, others.share())
    for figure in content["figures"]:
        print(line(figure))
    print(f"  others used {content['others_cpu']} cores meanwhile")
    if out is not None:
        print(f"  kept in {write(content, out)}")
    return all(figure["met"] is not False for figure in content["figures"])


def line(figure: dict[str, object]) -> str:
    """A figure for the terminal."""
    mark = {True: "ok  ", False: "MISS", None: "    "}[figure["met"]]  # type: ignore[index]
    goal = "" if figure["goal"] is None else f"  goal {figure['goal_is']} {figure['goal']:g}"
    spread = f"  n={figure['n']}" + (
        f" median {figure['median']} p99 {figure['p99']} max {figure['max']}" if figure["n"] else ""
    )
    return f"  {mark} {figure['figure']}: {figure['value']} {figure['unit']} ({figure['statistic']}){goal}{spread}"


def main(argv: list[str] | None = None) -> int:
    """Run the command line; 1 when a goal was missed."""
    parsed = arguments(argv)
    options = Options(parsed.quick, parsed.seconds, parsed.long, not parsed.unpinned)
    logging.basicConfig(level=logging.ERROR)
    if pinnable(options):
        pin_to(CLIENT_CORE)()
    gc.disable()  # a collection of everything received so far would delay the packets being timed
    out = parsed.out or (None if parsed.quick else RESULTS)
    met = [run(name, options, out) for name in parsed.names or MEASUREMENTS]
    return 0 if all(met) else 1


if __name__ == "__main__":
    sys.exit(main())

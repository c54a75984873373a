"""FunASR's runtime servers for the contract tests: the simulators, knowing the sentences that these tests speak."""

from __future__ import annotations

import contextlib
import functools
from collections.abc import AsyncIterator, Callable

from asr.funasr.runtime_recognizer import FunasrRuntimeRecognizer
from core.frames import LISTEN_RATE
from tests.simulators.funasr_runtime import Ear, Hear, PythonServer, PythonServerOld, Served
from tests.simulators.funasr_runtime_cpp import Cpp2passServer, CppOfflineServer
from tests.speech import flite

SAID = (
    ("what is seven times six", "rms"),
    ("hello how are you today", "rms"),
    ("hello how are you today", "slt"),
    ("what is seven times six and who are you", "rms"),
)

SERVERS: dict[str, tuple[Callable[[Hear], Served], str]] = {
    "python-old": (PythonServerOld, "2pass"),
    "python-spring-2026": (functools.partial(PythonServer, acknowledges=False), "2pass"),
    "python": (PythonServer, "2pass"),
    "cpp-2pass": (Cpp2passServer, "2pass"),
    "cpp-2pass-modern": (functools.partial(Cpp2passServer, modern=True), "2pass"),
    "python-old-online": (PythonServerOld, "online"),
    "python-spring-2026-online": (functools.partial(PythonServer, acknowledges=False), "online"),
    "python-online": (PythonServer, "online"),
    "cpp-online": (Cpp2passServer, "online"),
    "cpp-offline": (CppOfflineServer, "offline"),
    "python-old-offline": (PythonServerOld, "offline"),
    "python-spring-2026-offline": (functools.partial(PythonServer, acknowledges=False), "offline"),
    "python-offline": (PythonServer, "offline"),
    "cpp-2pass-offline": (Cpp2passServer, "offline"),
}
"""Every server there is, in every mode it has."""


@functools.cache
def ear() -> Ear:
    """Knows the contract's sentences."""
    return Ear([(text, flite(text, voice, LISTEN_RATE).astype("<i2").tobytes()) for text, voice in SAID])


@contextlib.asynccontextmanager
async def served(server: str = "cpp-2pass") -> AsyncIterator[FunasrRuntimeRecognizer]:
    """The adapter with one of `SERVERS`."""
    make, mode = SERVERS[server]
    async with make(ear()).running() as url:
        yield FunasrRuntimeRecognizer(url=url, mode=mode)

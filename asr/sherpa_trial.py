"""Loads a model in a process of its own: sherpa-onnx ends its process when a model's metadata or tokens are wrong.

`python -m asr.sherpa_trial JSON`: 0 if it can be loaded, else the reason is the last line on stderr.
"""

from __future__ import annotations

import asyncio
import json
import sys
from pathlib import Path
from typing import Any

import numpy as np

from asr.sherpa_engine import load
from asr.sherpa_model import NAME, Kind, SherpaModel
from core.errors import RecognizerError
from core.frames import LISTEN_RATE

_ROOT = Path(__file__).resolve().parent.parent


async def try_out(model: SherpaModel, options: dict[str, Any], timeout_s: float) -> None:
    """Raises `RecognizerError` if the model can't be loaded and run. `options`: of `sherpa_engine.load`."""
    order = json.dumps({"kind": model.kind, "files": model.files, "type": model.model_type, "options": options})
    pipe, null = asyncio.subprocess.PIPE, asyncio.subprocess.DEVNULL
    command = (sys.executable, "-m", "asr.sherpa_trial", order)
    process = await asyncio.create_subprocess_exec(*command, stdin=null, stdout=null, stderr=pipe, cwd=_ROOT)
    try:
        _, said = await asyncio.wait_for(process.communicate(), timeout_s)
    except TimeoutError:
        message = f"the model could not be loaded within {timeout_s:g} s"
        raise RecognizerError(message, adapter=NAME, code=f"{NAME}_model", retryable=True) from None
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()
    if process.returncode:
        lines = said.decode(errors="replace").strip().splitlines()
        reason = lines[-1][-300:] if lines else f"it ended with {process.returncode}"
        raise RecognizerError(f"the model can't be used: {reason}", adapter=NAME, code=f"{NAME}_model")


def _main(order: str) -> int:
    found = json.loads(order)
    try:
        engine = load(SherpaModel(Kind(found["kind"]), found["files"], found["type"]), **found["options"])
        stream = engine.begin()
        engine.feed(stream, np.zeros(LISTEN_RATE, np.int16))
        engine.end(stream)
    except (RecognizerError, RuntimeError) as error:
        print(str(error), file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(_main(sys.argv[1]))

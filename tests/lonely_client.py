"""A client in a process of its own, to be killed.

`python -m tests.lonely_client URL` prints the server's answer once media flows.
"""

from __future__ import annotations

import asyncio
import json
import sys

from tests.avatar_client import AvatarClient, WavMicrophone


async def main(url: str) -> None:
    """Connect and stay."""
    client = AvatarClient(url, microphone=WavMicrophone())
    print(json.dumps(await client.connect()), flush=True)
    await asyncio.Event().wait()


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1]))

"""The dialogue contract, over every adapter of the table."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import AsyncIterator

import pytest

from core.dialogue import ADAPTERS
from core.stages import Dialogue
from tests.contracts_dialogue import SITES, DialogueContract, load


@pytest.fixture(params=sorted(ADAPTERS))
def adapter(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture
async def dialogue(adapter: str) -> AsyncIterator[Dialogue]:
    async with SITES[adapter]() as settings:
        made: Dialogue = load(adapter)(**settings)
        await made.start()
        yield made
        await made.close()


class TestEveryDialogue(DialogueContract):
    """All of the contract."""


def test_choosing_the_demo_loads_no_vendor_library() -> None:
    code = "import sys, core.dialogue.demo; print({'openai', 'httpx2', 'aiohttp', 'av'} & set(sys.modules))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "set()"

"""C1: the recogniser's contract at every server of FunASR's runtime, old and new, in every mode."""

from collections.abc import AsyncIterator

import pytest
import pytest_asyncio

from core.stages import Recognizer
from tests import contracts_recognizer as contract
from tests.funasr_runtime_served import SERVERS, served

pytestmark = pytest.mark.asyncio(loop_scope="module")


@pytest_asyncio.fixture(scope="module", loop_scope="module", params=list(SERVERS))
async def recognizer(request: pytest.FixtureRequest) -> AsyncIterator[Recognizer]:
    """The adapter with each server."""
    async with served(request.param) as adapter:
        await adapter.start()
        yield adapter
        await adapter.close()
        await adapter.close()


test_c1_recognizes_speech = contract.test_recognizes_speech
test_c1_an_empty_turn = contract.test_an_empty_turn
test_c1_noise_and_silence_are_no_words = contract.test_noise_and_silence_are_no_words
test_c1_any_packet_size_gives_the_same = contract.test_any_packet_size_gives_the_same
test_c1_turns_do_not_mix = contract.test_turns_do_not_mix
test_c1_cancel_at_any_time = contract.test_cancel_at_any_time

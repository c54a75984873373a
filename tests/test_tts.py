"""Every synthesizer against the contract."""

import avatar.tts
from tests.contracts_voice import (  # noqa: F401 - collected by pytest
    SYNTHESIZERS,
    test_chunks_are_mono_int16_at_one_rate_in_order,
    test_closing_the_iterator_cancels_and_the_next_text_is_spoken,
    test_nothing_to_say_yields_nothing,
    test_phonemes_start_in_their_chunk_and_tile_the_utterance,
    test_synthesizer_is_an_adapter,
)


def test_every_adapter_is_under_contract() -> None:
    assert set(SYNTHESIZERS) == set(avatar.tts.ADAPTERS)

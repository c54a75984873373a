"""Every lip-sync adapter against the contract."""

import avatar.lipsync
from tests.contracts_voice import (  # noqa: F401 - collected by pytest
    LIP_SYNCS,
    test_another_rate_is_refused,
    test_frames_cover_the_audio_and_sum_to_one,
    test_frames_do_not_depend_on_how_the_audio_is_cut,
    test_lipsync_is_an_adapter,
    test_silence_keeps_the_mouth_closed,
    test_streams_of_one_adapter_are_independent,
)


def test_every_adapter_is_under_contract() -> None:
    assert set(LIP_SYNCS) == set(avatar.lipsync.ADAPTERS)

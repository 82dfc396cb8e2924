"""The benchmark of a transducer's searches compares like with like."""

from __future__ import annotations

import pytest
import transducer_search


@pytest.mark.parametrize("beam_size", [0, 4])
def test_ours_finds_what_the_plain_loop_finds(beam_size):
    model, frames = transducer_search.problem(symbols=20, width=8, utterances=2, frames=15)
    decoders = transducer_search.decoders_of(model, beam_size)
    rows = transducer_search.measure(decoders, frames, repeats=1)
    assert rows["wfst_entropy"].found == rows["plain loop"].found
    assert any(rows["plain loop"].found)

"""The benchmark of prefix search compares like with like."""

from __future__ import annotations

import prefix_search


def test_ours_finds_what_the_plain_search_finds():
    scores = prefix_search.frame_scores(2, 40, 20)
    decoders = {
        name: prefix_search.ROWS[name](8, 20) for name in ("wfst_entropy, prefix", "plain Python")
    }
    rows = prefix_search.measure(decoders, scores, repeats=1)
    ours, plain = (row.found for row in rows.values())
    assert ours == plain
    assert all(ours)
    assert prefix_search.log_probability(scores[0], ours[0]) < 0

"""The union: its shape, lists and vectors, and what does not fit."""

from __future__ import annotations

import pytest
import torch

from wfst_entropy import Fsa, FsaError, get_tot_scores, union

A = Fsa.from_str("0 1 1 1\n1 1 2 2\n1 2 -1 3\n2", acceptor=True)
B = Fsa.from_str("0 1 -1 4\n1", acceptor=True)
EMPTY = Fsa.from_arcs([], num_states=0)


def test_numbers_of_states():
    united, arc_map = union(Fsa.from_fsas([A, EMPTY, B]), ret_arc_map=True)
    assert united.num_axes == 2
    assert united.arcs.tolist() == [
        [0, 1, 0], [0, 3, 0], [1, 2, 1], [2, 2, 2], [2, 4, -1], [3, 4, -1],
    ]  # fmt: skip
    assert arc_map.tolist() == [-1, -1, 0, 1, 2, 3]
    assert torch.equal(union([A, EMPTY, B]).arcs, united.arcs)


def test_totals_add_up_and_gradients_are_posteriors():
    a, b = B.clone().requires_grad_(), B.with_scores(B.scores - 1).requires_grad_()
    total = get_tot_scores(union([a, b]))
    total.sum().backward()
    torch.testing.assert_close(total, torch.logaddexp(a.scores, b.scores))
    torch.testing.assert_close(a.scores.grad + b.scores.grad, torch.ones(1))


def test_what_does_not_fit():
    with pytest.raises(FsaError, match=r"fsas\[1\]: must be an Fsa, got str"):
        union([A, "b"])
    with pytest.raises(FsaError, match="attributes differ"):
        union([A, B.clone().set_attribute_("aux_labels", torch.tensor([-1]))])

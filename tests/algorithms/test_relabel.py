"""New labels for old."""

from __future__ import annotations

import pytest
import torch

from wfst_entropy import Fsa, FsaError, RaggedTensor, relabel

FST = Fsa.from_str("0 1 1 7 0.5\n0 2 2 8 1\n1 2 3 0 2\n2 3 -1 -1 0\n3", num_aux_labels=1)


def test_what_is_mentioned_changes_at_once():
    new = relabel(FST, {1: 2, 2: 1, 3: 0, 100: 5}, {0: 4})
    assert new.labels.tolist() == [2, 1, 0, -1] and new.aux_labels.tolist() == [7, 8, 4, -1]
    assert FST.labels.tolist() == [1, 2, 3, -1] and new.arcs.dtype == torch.int32
    assert relabel(FST).to_str() == FST.to_str() == relabel(FST, {}, {}).to_str()
    lists = RaggedTensor.from_lists([[7, 8], [], [8], [-1]], dtype=torch.int32)
    ragged = relabel(FST.clone().set_attribute_("aux_labels", lists), aux_labels={8: 9})
    assert ragged.aux_labels.tolist() == [[7, 9], [], [9], [-1]]


@pytest.mark.parametrize("table", [{-1: 3}, {3: -1}, {3: 2**31}, {"a": 1}, {1: 0.5}])
def test_labels_must_be_labels(table):
    with pytest.raises(FsaError, match=r"labels: .* got .*: "):
        relabel(FST, table)


def test_output_labels_must_be_there():
    acceptor = Fsa.from_str("0 1 -1 0\n1", acceptor=True)
    with pytest.raises(FsaError, match="aux_labels: the Fsa has no aux_labels"):
        relabel(acceptor, aux_labels={1: 2})

"""Files of lattices: what is written is read again; Kaldi's are read; what is wrong is told."""

from __future__ import annotations

import pytest
import torch
from small_lattices import small_lattices

from wfst_entropy import Fsa, load_fsa, prune, read_lattices, save_fsa, write_lattices
from wfst_entropy.fsa import FsaFormatError, FsaValueError


def test_there_and_back_with_an_empty_lattice(tmp_path):
    some = small_lattices(1, (4, 3))
    batch = Fsa.from_fsas([some[0], prune(some[0], state_threshold=0), some[1]])
    path = tmp_path / "lattices.pt"
    write_lattices(path, ["a", "b b", "ü"], batch.requires_grad_())
    found = read_lattices(path)
    assert found.names == ["a", "b b", "ü"]
    assert torch.equal(found.lattices.arcs, batch.arcs)
    assert torch.equal(found.lattices.scores, batch.scores.detach())
    assert found.lattices.attributes.keys() == batch.attributes.keys()
    assert "utterances" not in batch.attributes
    assert load_fsa(path).utterances == ["a", "b b", "ü"]


def test_files_without_names(tmp_path):
    some = small_lattices(1, (4, 3))
    save_fsa(some, tmp_path / "two.pt")
    save_fsa(some[0], tmp_path / "one.pt")
    assert read_lattices(tmp_path / "two.pt").names == ["0", "1"]
    assert read_lattices(tmp_path / "one.pt").names == ["0"]


def test_archives_of_kaldi(tmp_path):
    path = tmp_path / "two.lat"
    path.write_text("utt-1\n0 1 5 2.5,-4,7_7_8\n1 0.5,0,9\n\nutt-2\n0 1 6 1,-4,7\n1\n\n")
    found = read_lattices(path)
    assert found.names == ["utt-1", "utt-2"]
    assert found.lattices.aux_labels.tolist() == [5, -1, 6, -1]
    assert found.lattices.lm_scores.tolist() == [-2.5, -0.5, -1, 0]
    path.write_text("utt-1\n0 1 5 2.5,-4,7\n1\n\nutt-1\n0 1 6 1,-4,7\n1\n\n")
    with pytest.raises(FsaFormatError, match=r"two\.lat: names:.*once; got 'utt-1'"):
        read_lattices(path)


def test_errors(tmp_path):
    some, path = small_lattices(1, (4, 3)), tmp_path / "x.pt"
    with pytest.raises(FsaValueError, match=r"an FSA for each of 1 names, got Fsa\(num_fsas=2"):
        write_lattices(path, ["a"], some)
    with pytest.raises(FsaValueError, match="once; got 'a'"):
        write_lattices(path, ["a", "a"], some)
    assert not path.exists()
    some.set_attribute_("utterances", ["a"])
    save_fsa(some, path)
    with pytest.raises(FsaFormatError, match=r"x\.pt: its attribute 'utterances' must be a list"):
        read_lattices(path)
    save_fsa(some.set_attribute_("utterances", ["a", 3]), path)
    with pytest.raises(FsaFormatError, match=r"x\.pt: names: .*got 3"):
        read_lattices(path)

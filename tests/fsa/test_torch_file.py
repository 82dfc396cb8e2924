from __future__ import annotations

from pathlib import Path

import pytest
import torch

from wfst_entropy.fsa import Fsa, FsaFormatError, load_fsa, save_fsa, save_k2


@pytest.fixture
def fsa() -> Fsa:
    return Fsa.from_str("0 1 5 7 0.5\n0 1 0 0 -1\n1 2 -1 -1 0\n2", acceptor=False)


@pytest.mark.parametrize("how", ["save_fsa", "save_k2", "torch.save"])
def test_every_kind_of_file_is_read(fsa: Fsa, tmp_path: Path, how: str) -> None:
    path = tmp_path / "L.pt"
    writers = {"save_fsa": save_fsa, "save_k2": save_k2, "torch.save": torch.save}
    writers[how](fsa, path)
    again = load_fsa(path)
    assert again.to_str() == fsa.to_str()
    assert again.aux_labels.dtype == torch.int32


@pytest.mark.parametrize(
    "content", [b"", b"\x00" * 100, b"PK\x03\x04 cut off", b"junk", b"0.", b"X\1\0\0\0\xff"]
)
def test_a_damaged_file_is_named(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "L.pt").write_bytes(content)
    with pytest.raises(FsaFormatError, match=r"L\.pt: is not a file of torch\.save"):
        load_fsa(tmp_path / "L.pt")


def test_an_invalid_graph_names_its_file(fsa: Fsa, tmp_path: Path) -> None:
    values = fsa.as_dict()
    values["arcs"] = values["arcs"] + 7
    torch.save(values, tmp_path / "L.pt")
    with pytest.raises(FsaFormatError, match=r"L\.pt: "):
        load_fsa(tmp_path / "L.pt")


def test_a_missing_file_is_told(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        load_fsa(tmp_path / "L.pt")

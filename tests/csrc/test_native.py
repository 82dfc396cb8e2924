"""The extension and its loader: what it links against, when it is missing, what it refuses."""

from __future__ import annotations

import importlib.machinery
import importlib.util
import os
import struct
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from wfst_entropy import _native
from wfst_entropy._native import ctc as native_ctc
from wfst_entropy._native import dense
from wfst_entropy.losses import ctc_alignment

needs_native = pytest.mark.skipif(not _native.is_available(), reason=_native.why_not())
SCORES = torch.randn(2, 6, 4)
TARGETS = torch.tensor([[1, 2], [3, 3]])
LENGTHS = (torch.tensor([6, 5]), torch.tensor([2, 2]))


def elf_needed(path: Path) -> list[str]:
    """The names of the shared libraries that a 64-bit little-endian ELF file asks for."""
    data = path.read_bytes()
    if data[:6] != b"\x7fELF\x02\x01":
        pytest.skip("not a 64-bit little-endian ELF file")
    (table,) = struct.unpack_from("<Q", data, 40)
    entry_size, count = struct.unpack_from("<HH", data, 58)
    header = struct.Struct("<IIQQQQIIQQ")
    sections = [header.unpack_from(data, table + i * entry_size) for i in range(count)]
    names = []
    for _, kind, _, _, offset, size, link, *_ in sections:
        if kind != 6:  # SHT_DYNAMIC
            continue
        strings = sections[link][4]
        for at in range(offset, offset + size, 16):
            tag, value = struct.unpack_from("<QQ", data, at)
            if tag == 1:  # DT_NEEDED
                begin = strings + value
                names.append(data[begin : data.index(b"\0", begin)].decode())
    return names


@needs_native
def test_the_extension_does_not_link_against_torch():
    spec = importlib.util.find_spec("wfst_entropy._wfst_entropy")
    assert spec is not None and spec.origin is not None
    needed = elf_needed(Path(spec.origin))
    assert any(name.startswith("libc.so") for name in needed)  # the reader reads
    torn = [name for name in needed if "torch" in name or "c10" in name or "python" in name]
    assert torn == []


@pytest.mark.slow
def test_without_the_extension_everything_still_works():
    program = (
        "import torch; from wfst_entropy import _native; from wfst_entropy.losses import *\n"
        "print(_native.is_available(), '|', _native.why_not(), '|', _native.instruction_set())\n"
        "print(float(ctc_alignment(torch.zeros(1, 2, 3), torch.tensor([[1]]), [2], [1]).nll))"
    )
    environment = {**os.environ, "WFST_ENTROPY_NO_NATIVE": "1"}
    run = subprocess.run(
        [sys.executable, "-c", program], env=environment, capture_output=True, text=True, check=True
    )
    first, second = run.stdout.splitlines()
    assert first.startswith("False | switched off by the environment variable WFST_ENTROPY_NO_")
    assert first.endswith("| none")
    assert float(second) == pytest.approx(-torch.tensor(3.0).log().item(), abs=1e-6)


def test_a_missing_or_broken_extension_is_a_reason_not_a_failure(monkeypatch, tmp_path):
    monkeypatch.delenv("WFST_ENTROPY_NO_NATIVE", raising=False)

    def missing(name):
        raise ModuleNotFoundError(f"No module named '{name}'")

    monkeypatch.setattr(_native.importlib, "import_module", missing)
    assert _native._load() == (
        None,
        "the extension was not built (No module named 'wfst_entropy._wfst_entropy'); "
        "`pip install .` builds it",
    )

    truncated = tmp_path / "_wfst_entropy.so"
    truncated.write_bytes(b"\x7fELF")

    def broken(name):
        loader = importlib.machinery.ExtensionFileLoader(name, str(truncated))
        spec = importlib.util.spec_from_loader(name, loader)
        return importlib.util.module_from_spec(spec)

    monkeypatch.setattr(_native.importlib, "import_module", broken)
    module, reason = _native._load()
    assert module is None and reason.startswith("the extension does not load: ")
    assert str(truncated) in reason


def test_disabled_nests_and_says_so():
    available, reason = _native.is_available(), _native.why_not()
    with _native.disabled():
        with _native.disabled():
            assert not _native.is_available()
        assert not _native.is_available()
        assert "_native.disabled()" in _native.why_not()
        assert not _native.can_run(SCORES)
    assert (_native.is_available(), _native.why_not()) == (available, reason)


@needs_native
def test_kernels_take_float_tensors_of_the_cpu_only():
    assert _native.can_run(SCORES) and _native.can_run(SCORES.double())
    assert not _native.can_run(SCORES.half()) and not _native.can_run(SCORES.to("meta"))
    assert native_ctc.can_run(SCORES.half()) and native_ctc.can_run(SCORES.bfloat16())
    assert not native_ctc.can_run(SCORES.long()) and not native_ctc.can_run(SCORES.to("meta"))


@needs_native
def test_the_engine_is_the_one_that_runs(monkeypatch):
    def no_kernel(*args, **kwargs):
        raise AssertionError("the kernel ran")

    monkeypatch.setattr(native_ctc, "ctc_forward", no_kernel)
    with pytest.raises(AssertionError, match="the kernel ran"):
        ctc_alignment(SCORES, TARGETS, *LENGTHS)
    with _native.disabled():
        assert ctc_alignment(SCORES, TARGETS, *LENGTHS).valid.all()


@needs_native
def test_instruction_sets():
    before = _native.instruction_set()
    with _native.using_instruction_set("portable"):
        assert _native.instruction_set() == "portable"
    assert _native.instruction_set() == before
    with (
        pytest.raises(RuntimeError, match="instruction set 'mmx': not on this machine"),
        _native.using_instruction_set("mmx"),
    ):
        pass


@needs_native
def test_nothing_that_would_read_outside_a_tensor_reaches_a_kernel():
    offsets = torch.tensor([0, 2])

    def batch(
        scores=SCORES, targets=TARGETS, offsets=offsets, frames=LENGTHS[0], labels=LENGTHS[1]
    ):
        return _native.CtcBatch(scores, targets, offsets, frames, labels, 0)

    with pytest.raises(ValueError, match=r"input_lengths: must lie in 0\.\.6"):
        batch(frames=torch.tensor([7, 5]))
    with pytest.raises(ValueError, match="target_lengths: reach outside the 4 targets"):
        batch(labels=torch.tensor([2, 3]))
    with pytest.raises(ValueError, match="target_lengths: reach outside the 4 targets"):
        batch(labels=torch.tensor([2, 2**63 - 1]))  # its end, added up, would wrap
    with pytest.raises(
        ValueError, match=r"targets: the kernel needs .* torch.int64 .* got torch.int32"
    ):
        batch(targets=TARGETS.int())
    with pytest.raises(ValueError, match=r"target_offsets: .* shape \(2,\), got .* \(1,\)"):
        batch(offsets=offsets[:1])
    with pytest.raises(ValueError, match=r"blank: must lie in 0\.\.3, got 4"):
        _native.CtcBatch(SCORES, TARGETS, offsets, *LENGTHS, 4)
    sums = native_ctc.CtcSums(batch(), entropy=True, softmax=False)
    out = native_ctc.ctc_forward(sums, save=True)
    ones = torch.ones(2, dtype=torch.float64)
    for options in ({"entropy": False, "softmax": False}, {"entropy": True, "softmax": True}):
        other = native_ctc.CtcSums(batch(), **options)  # has other numbers of values per frame
        with pytest.raises(ValueError, match="posteriors: the kernel needs"):
            native_ctc.ctc_backward(other, out.cells, out.path_count, ones, ones)
    with pytest.raises(ValueError, match="path_count: the kernel needs"):
        native_ctc.ctc_backward(sums, out.cells, out.path_count[1:], ones, ones)
    with pytest.raises(ValueError, match="grad_nll: the kernel needs"):
        native_ctc.ctc_backward(sums, out.cells, out.path_count, ones.float(), ones)


@needs_native
def test_no_graph_that_reads_outside_reaches_the_dense_kernel():
    zeros = torch.zeros(2, dtype=torch.int64)
    arcs = torch.tensor([[0, 0, 1], [0, 1, -1]], dtype=torch.int32)
    splits = (torch.tensor([0, 2]), torch.tensor([0, 2]))

    def graphs(arcs=arcs, weights=SCORES[0, 0, :2], states=splits[0], arc_splits=splits[1]):
        return dense.DenseGraphs(arcs, weights, states, arc_splits, 4)

    def meet(graphs, scores, *sequences):
        return dense.DenseIntersection(graphs, dense.DenseSequences(scores, *sequences))

    with pytest.raises(ValueError, match="sequences must lie inside 2 utterances of 6"):
        meet(graphs(), SCORES, zeros, zeros + 1, zeros + 6)
    with pytest.raises(ValueError, match="sequences must lie inside 2 utterances of 6"):
        meet(graphs(), SCORES, zeros, zeros + (2**63 - 1), zeros + 1)  # the sum would wrap
    with pytest.raises(ValueError, match="graphs: need 1 or 3, got 2"):
        two = graphs(states=torch.tensor([0, 2, 2]), arc_splits=torch.tensor([0, 2, 2]))
        meet(two, SCORES, *torch.zeros(3, 3, dtype=torch.int64))
    with pytest.raises(ValueError, match="arc_splits: must end at the 2 arcs"):
        graphs(arc_splits=torch.tensor([0, 1]))
    with pytest.raises(ValueError, match="must start at 0 and never fall"):
        graphs(states=torch.tensor([0, 2, 1]), arc_splits=torch.tensor([0, 2, 2]))
    with pytest.raises(ValueError, match="scores: the kernel needs"):
        graphs(weights=zeros[:1].float())
    with pytest.raises(ValueError, match=r"scores: need .* as the graphs, got torch\.float64"):
        meet(graphs(), SCORES.double(), zeros, zeros, zeros)
    with pytest.raises(ValueError, match="scores: need 4 symbols, got 3"):
        meet(graphs(), SCORES[:, :, :3], zeros, zeros, zeros)
    batch = meet(graphs(), SCORES, torch.tensor([0, 1]), zeros, zeros + 6)
    out = dense.intersect_dense_forward(batch, entropy=True, save=True)
    ones = torch.ones(2, dtype=torch.float64)
    with pytest.raises(ValueError, match="cells: the kernel needs"):
        dense.intersect_dense_backward(
            batch, out.cells, out.cell_offsets, out.path_count, ones, None, graph_gradient=True
        )
    with pytest.raises(ValueError, match="cell_offsets: must come from the forward call"):
        dense.intersect_dense_backward(
            batch, out.cells, zeros + 5, out.path_count, ones, ones, graph_gradient=True
        )

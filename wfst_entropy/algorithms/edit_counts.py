"""Expected errors of the paths of a lattice, for minimum-risk training."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor

from wfst_entropy.algorithms import _surgery
from wfst_entropy.algorithms.shortest_distance import get_arc_post
from wfst_entropy.fsa import Fsa, FsaTypeError, FsaValueError, RaggedShape, RaggedTensor
from wfst_entropy.fsa.errors import CyclicFsaError


class ExpectedEditCounts(NamedTuple):
    """Means over the paths of each lattice, `(num_fsas,)` each; differentiable.

    `errors` is the sum of the other three: the expected Levenshtein distance.
    """

    errors: Tensor
    insertions: Tensor
    deletions: Tensor
    substitutions: Tensor


def expected_edit_counts(
    lattices: Fsa,
    refs: Sequence[Sequence[int]] | RaggedTensor,
    tokens: str = "labels",
    *,
    max_states: int = _surgery.MAX_STATES,
    max_arcs: int = _surgery.MAX_ARCS,
) -> ExpectedEditCounts:
    r"""The expected edit distance of each lattice's paths from its reference, and its parts.

    .. math:: \mathrm{errors} = \sum_\pi p(\pi)\, d(y(\pi), \mathrm{ref}), \qquad
        p(\pi) = e^{w(\pi)} / \sum_{\pi'} e^{w(\pi')}

    where :math:`y(\pi)` are the tokens on the path and :math:`d` is the true Levenshtein distance,
    the minimum over alignments, taken path by path.  (An expectation over the paths of a lattice
    composed with an edit transducer is another thing: there every alignment counts, bad ones too.)
    Insertions, deletions and substitutions are those of the best alignment; of several, the one
    with the most substitutions.

    It is exact.  The states of a lattice are split by the row of the edit distance table of the
    tokens read so far, so that the distance of a path adds up along its arcs; the mean is then a
    sum over arc posteriors.  Of a row only the places of the reference are kept that can still be
    the best, given what the rest of the lattice can read, and only their differences.  That leaves
    few rows where the lattice follows the reference, and too many for a long lattice in which any
    token may follow any other: the limits hold for the split lattices.

    The recursion runs in float64, where the device has it, whatever the dtype of the scores.

    Args:
      lattices: an acyclic FSA or vector.
      refs: the reference of each, `[utt][position]`, lists or a ragged tensor of integers from 1 to
        2**31 - 1; a list with one list for a single FSA.
      tokens: where the tokens stand: `"labels"`, `"aux_labels"` or another integer attribute, a
        tensor or ragged.  0 (epsilon) and -1 are no tokens.
      max_states, max_arcs: limits of the split lattices, over all FSAs; `max_states` also bounds
        the memory of the table rows of each, at 80 bytes per state.

    Returns:
      Means in the dtype of `lattices.scores`, differentiable in them, twice too.  A lattice without
      a successful path recognises nothing: all tokens of its reference are deletions, with gradient
      0.

    Raises:
      FsaTypeError: `lattices` is no Fsa, or tokens or references are not integers.
      FsaValueError: another number of references than lattices, a token in them below 1, or no
        such attribute.
      CyclicFsaError: a lattice has a cycle.
      FsaRuntimeError: the split lattices outgrow a limit.

    >>> lattice = Fsa.from_str("0 1 7 0\n0 1 8 0\n1 2 9 0\n1 3 -1 0\n2 3 -1 0\n3", acceptor=True)
    >>> counts = expected_edit_counts(lattice, [[7, 9]])   # 7 9, 8 9, 7, 8: 0, 1, 1, 2 errors
    >>> counts.errors, counts.deletions, counts.substitutions
    (tensor([1.]), tensor([0.5000]), tensor([0.5000]))
    """
    references = checked_references(lattices, refs)
    token_lists = tokens_of_arcs(lattices, tokens)
    if not lattices.properties.acyclic:
        raise CyclicFsaError(
            "expected_edit_counts: a lattice has a cycle, so its paths have no bound on their "
            "errors; intersect it with the utterance's frames first."
        )
    result = _surgery.run(
        "expected_edit_counts",
        lattices,
        parameters=[
            part.data_ptr()
            for lists in (token_lists, references)
            for part in (lists.shape.row_splits(1), lists.values)
        ],
        max_states=max_states,
        max_arcs=max_arcs,
    )
    arc_map, costs = (part.to(lattices.device) for part in result.maps)
    lengths = token_lists.shape.row_splits(1).diff().to(lattices.device)[arc_map]
    reference_lengths = references.shape.row_splits(1).diff().to(lattices.device)
    split = _split(lattices, result, arc_map)
    means = _expectations(split, lengths, costs, reference_lengths)
    return ExpectedEditCounts(*(mean.to(lattices.scores.dtype) for mean in means))


def _split(lattices: Fsa, result: _surgery.Result, arc_map: Tensor) -> Fsa:
    """The lattices with their states split, and nothing but scores."""
    exact = lattices.scores if lattices.device.type == "mps" else lattices.scores.double()
    scores = _surgery.select_scores(exact, arc_map)
    return Fsa(result.shape, result.arcs, scores.to("cpu")).to(lattices.device)


def _expectations(
    split: Fsa, lengths: Tensor, costs: Tensor, reference_lengths: Tensor
) -> ExpectedEditCounts:
    """Sums over arc posteriors.

    Args:
      lengths: the number of tokens on each arc.
      costs: what each arc adds to (errors - tokens) * (2 U + 2) + (insertions - tokens) of the
        paths through it, U being the length of the reference; see csrc/edit_counts.cpp.
      reference_lengths: U of each FSA.
    """
    fsa = split.arc_to_fsa()
    posterior = get_arc_post(split).exp()

    def mean(counts: Tensor) -> Tensor:
        zeros = posterior.new_zeros(split.num_fsas)
        return zeros.index_add(0, fsa, posterior * counts.to(posterior))

    scale = 2 * reference_lengths[fsa] + 2
    # Insertions less tokens: the remainder nearest to 0, for its size is at most that of U.
    inserted = (costs + scale // 2) % scale - scale // 2
    num_tokens = mean(lengths)
    insertions = num_tokens + mean(inserted)
    deletions = insertions - num_tokens + reference_lengths
    is_final = (split.labels == -1).to(fsa)
    has_path = torch.zeros_like(reference_lengths).index_add(0, fsa, is_final) > 0
    errors = num_tokens + mean(torch.div(costs - inserted, scale, rounding_mode="floor"))
    errors = torch.where(has_path, errors, deletions)
    return ExpectedEditCounts(errors, insertions, deletions, errors - insertions - deletions)


def checked_references(lattices: Fsa, refs: Any) -> RaggedTensor:
    """The references as ragged int32 on the CPU."""
    if not isinstance(lattices, Fsa):
        raise FsaTypeError(
            f"expected_edit_counts: lattices must be an Fsa, got {type(lattices).__name__}."
        )
    if isinstance(refs, RaggedTensor):
        ragged = refs.to("cpu")
    else:
        ragged = RaggedTensor.from_lists(refs, torch.int64)
    if ragged.num_axes != 2 or ragged.dtype not in (torch.int32, torch.int64):
        raise FsaTypeError(
            f"refs: must be one list of integers for each lattice, got {ragged.num_axes} levels of "
            f"{ragged.dtype}."
        )
    if ragged.dim0 != lattices.num_fsas:
        raise FsaValueError(
            f"refs: must be one list for each of the {lattices.num_fsas} lattices, got "
            f"{ragged.dim0} lists."
        )
    values = ragged.values.to(torch.int64)
    wrong = ((values < 1) | (values >= 2**31)).nonzero()
    if wrong.numel():
        element = int(wrong[0])
        utterance = int(ragged.shape.row_ids(1)[element])
        raise FsaValueError(
            f"refs: utterance {utterance} has the token {int(values[element])}; tokens are "
            "from 1 to 2**31 - 1 (0 is epsilon)."
        )
    return RaggedTensor(ragged.shape, values.to(torch.int32))


def tokens_of_arcs(lattices: Fsa, name: str) -> RaggedTensor:
    """The tokens on each arc, int32 on the CPU, without epsilon and -1."""
    found = lattices.labels if name == "labels" else lattices.attributes.get(name)
    if isinstance(found, RaggedTensor):
        ragged = found.to("cpu")
    elif isinstance(found, Tensor) and found.dim() == 1:
        splits = torch.arange(found.numel() + 1)
        ragged = RaggedTensor(RaggedShape(splits), found.to("cpu"))
    else:
        have = ", ".join(["labels", *lattices.attributes])
        raise FsaValueError(
            f"tokens: {name!r} is not on the arcs of the lattices; they have {have}."
        )
    if ragged.num_axes != 2 or ragged.dtype not in (torch.int32, torch.int64):
        raise FsaTypeError(
            f"tokens: {name!r} must hold integers, one or one list per arc, got {ragged.dtype}."
        )
    keep = ragged.values > 0
    kept_before = torch.cat([torch.zeros(1, dtype=torch.int64), keep.cumsum(0)])
    shape = RaggedShape(kept_before[ragged.shape.row_splits(1)])
    return RaggedTensor(shape, ragged.values[keep].to(torch.int32))

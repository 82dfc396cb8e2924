"""k2's lattice of a pruned transducer, state by state and arc by arc as k2 lays it out."""

from __future__ import annotations

import torch
from torch import Tensor

from wfst_entropy.compat.k2.ragged_arc import RaggedArc, as_int
from wfst_entropy.fsa import RaggedShape
from wfst_entropy.fsa.errors import FsaTypeError, FsaValueError


def pruned_ranges_to_lattice(
    ranges: Tensor, frames: Tensor, symbols: Tensor, logits: Tensor
) -> tuple[RaggedArc, Tensor]:
    """The lattice of the alignments that pruning left, with the scores of the joiner's output.

    State `t * S + i` is frame t with `ranges[n, t, i]` symbols seen.  All but the last of a frame
    have an arc with the next symbol to the state after it; a blank leads to the state of the next
    frame with as many symbols, where pruning has left it.  From the last state of the last frame an
    arc of score 0 leads into the final state, so the blank there does not count.
    `wfst_entropy.rnnt_graph` makes the lattice with that blank, without states that lead nowhere,
    and ends at an utterance's own last symbol, which k2 takes to be the last of the range.

    Args:
      ranges: integers `(N, T, S)`, consecutive in each frame, from `get_rnnt_prune_ranges`.
      frames: integers `(N,)`, how many frames each utterance has, at least 1.
      symbols: integers `(N, U)`.
      logits: `(N, T, S, C)`, the joiner's output, or its log-softmax; symbol 0 is blank.

    Returns:
      The arcs of N FSAs, for `k2.Fsa`, and an int32 arc map into `logits.reshape(-1)`, -1 for arcs
      into the final state; with `k2.index_select` it makes scores that autograd follows.

    Raises:
      FsaTypeError: ranges, frames or symbols are not integers, or the logits not floating point.
      FsaValueError: shapes that do not fit; a range or symbol out of bounds, which k2 reads
        unchecked; the message names utterance and frame.

    Source: k2, the operation of the same name.

    Example:
      >>> from wfst_entropy.compat import k2
      >>> ranges = torch.tensor([[[0, 1], [0, 1]]])
      >>> logits = torch.arange(12.0).view(1, 2, 2, 3)
      >>> frames, symbols = torch.tensor([2]), torch.tensor([[2]])
      >>> arcs, arc_map = k2.pruned_ranges_to_lattice(ranges, frames, symbols, logits)
      >>> arcs
      [ [ [ 0 1 2 2 0 2 0 0 ] [ 1 3 0 3 ] [ 2 3 2 8 ] [ 3 4 -1 0 ] [ ] ] ]
      >>> arc_map.tolist()
      [2, 0, 3, 8, -1]
    """
    _check(ranges, frames, symbols, logits)
    device, size = logits.device, ranges.shape[2]
    ranges, frames, symbols = (x.to(device, torch.int64) for x in (ranges, frames, symbols))
    counts = frames * size + 1
    states = RaggedShape.from_sizes(counts)
    n = states.row_ids(1)
    number = torch.arange(n.numel(), device=device) - states.row_splits(1)[n]
    t, i = number // size, number % size
    is_final = number == frames[n] * size
    before_final = number == frames[n] * size - 1
    t = t.clamp(max=ranges.shape[1] - 1)
    last_frame = t + 1 >= frames[n]
    seen = ranges[n, t, i]
    next_place = seen - ranges[n, (t + 1).clamp(max=ranges.shape[1] - 1), 0]
    end_of_range = i == size - 1
    inner = ~is_final & ~before_final
    has_symbol = inner & ~end_of_range
    has_blank = inner & ~last_frame & (end_of_range | (next_place >= 0))
    symbol = _symbols(symbols, n, t, seen, has_symbol, logits.shape[3])
    for state in (has_blank & ((next_place < 0) | (next_place >= size))).nonzero()[:1].flatten():
        raise FsaValueError(
            f"ranges: utterance {int(n[state])}, frame {int(t[state]) + 1} begins with "
            f"{int(ranges[n[state], t[state] + 1, 0])}, which the frame before, with "
            f"{ranges[n[state], t[state]].tolist()}, cannot go on to."
        )
    row = ((n * logits.shape[1] + t) * size + i) * logits.shape[3]
    candidates = torch.stack(
        [
            torch.stack([number, number + 1, symbol, row + symbol], 1),
            torch.stack([number, (t + 1) * size + next_place, torch.zeros_like(n), row], 1),
        ],
        dim=1,
    )
    final = torch.stack([number, number + 1, torch.full_like(n, -1), torch.full_like(n, -1)], 1)
    candidates[:, 0] = torch.where(before_final[:, None], final, candidates[:, 0])
    exists = torch.stack([has_symbol | before_final, has_blank], 1)
    table = candidates[exists]
    arc_map = table[:, 3]
    scores = torch.zeros(len(table), device=device)
    scores[arc_map >= 0] = logits.detach().reshape(-1)[arc_map[arc_map >= 0]].float()
    values = torch.cat([table[:, :3].to(torch.int32), as_int(scores)[:, None]], 1)
    return RaggedArc(RaggedShape.from_sizes(counts, exists.sum(1)), values), arc_map.to(torch.int32)


def _symbols(
    symbols: Tensor, n: Tensor, t: Tensor, seen: Tensor, wanted: Tensor, num_symbols: int
) -> Tensor:
    """The next symbol of each state, 0 where none is wanted."""
    for state in (wanted & ((seen < 0) | (seen >= symbols.shape[1]))).nonzero()[:1].flatten():
        raise FsaValueError(
            f"ranges: utterance {int(n[state])}, frame {int(t[state])} has {int(seen[state])} "
            f"before its last place, but there are {symbols.shape[1]} symbols."
        )
    if not symbols.shape[1]:
        return torch.zeros_like(n)
    symbol = torch.where(wanted, symbols[n, torch.where(wanted, seen, 0)], 0)
    for state in ((symbol < 0) | (symbol >= num_symbols)).nonzero()[:1].flatten():
        raise FsaValueError(
            f"symbols: utterance {int(n[state])}, position {int(seen[state])} is "
            f"{int(symbol[state])}; the logits have the symbols 0 to {num_symbols - 1}."
        )
    return symbol


def _check(ranges: Tensor, frames: Tensor, symbols: Tensor, logits: Tensor) -> None:
    for name, tensor in (("ranges", ranges), ("frames", frames), ("symbols", symbols)):
        if tensor.is_floating_point():
            raise FsaTypeError(f"{name}: must be integers, got {tensor.dtype}.")
    if not logits.is_floating_point():
        raise FsaTypeError(f"logits: must be floating point, got {logits.dtype}.")
    if logits.dim() != 4 or ranges.dim() != 3 or logits.shape[:3] != ranges.shape:
        raise FsaValueError(
            f"ranges, logits: must have shapes (N, T, S) and (N, T, S, C), got "
            f"{tuple(ranges.shape)} and {tuple(logits.shape)}."
        )
    if frames.shape != ranges.shape[:1] or symbols.dim() != 2 or len(symbols) != len(ranges):
        raise FsaValueError(
            f"frames, symbols: must have shapes ({len(ranges)},) and ({len(ranges)}, U), got "
            f"{tuple(frames.shape)} and {tuple(symbols.shape)}."
        )
    if 0 in ranges.shape[1:] or logits.shape[3] == 0:
        raise FsaValueError(f"logits: must not be empty, got {tuple(logits.shape)}.")
    for n in ((frames < 1) | (frames > ranges.shape[1])).nonzero().flatten().tolist()[:1]:
        raise FsaValueError(f"frames[{n}] = {int(frames[n])}: must be in 1..{ranges.shape[1]}.")
    if logits.numel() >= 2**31:
        raise FsaValueError(
            f"logits: {logits.numel()} of them are more than int32 can count; pass fewer utterances"
        )

"""Where along time the entropy of a lattice lies."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

from wfst_entropy.algorithms.shortest_distance import shortest_distance
from wfst_entropy.fsa import Fsa
from wfst_entropy.fsa.errors import FsaValueError
from wfst_entropy.semirings import LogSemiring, TropicalSemiring


class FrameEntropy(NamedTuple):
    """Entropies per frame of each utterance's lattice, float64 nats, zero beyond its frames.

    Attributes:
      states: `(num_fsas, max_frames)`, `H(s_t)`: how unsure the alignment is of its state after
        frame t.
      local: `(num_fsas, max_frames)`, `H(s_t | s_{t-1})`: the part of the path entropy that frame t
        adds; the parts of an utterance sum to its path entropy.
      num_frames: int64 `(num_fsas,)`, arcs on each path, the one into the final state included.
    """

    states: Tensor
    local: Tensor
    num_frames: Tensor


def _depths(lattice: Fsa) -> Tensor:
    """The number of arcs from the start to each state, which must not depend on the path.

    -1 for a state that is not reached.
    """
    ones = torch.ones(lattice.num_arcs, dtype=torch.float64, device=lattice.device)
    depth = shortest_distance(lattice, TropicalSemiring(), scores=ones)
    src, dst = lattice.src_states(), lattice.dst_states()
    reached = depth[src].isfinite()
    uneven = (reached & (depth[dst] != depth[src] + 1)).nonzero()
    if len(uneven):
        arc = int(uneven[0])
        raise FsaValueError(
            "lattice: frame_entropy needs arcs that each take one frame, as intersect_dense gives, "
            f"but paths of different length meet at the end of arc {arc} "
            f"{lattice.arcs[arc].tolist()} of FSA {int(lattice.arc_to_fsa()[arc])}. Remove epsilon "
            "arcs, or use path_entropy."
        )
    return torch.where(depth.isfinite(), depth, -1.0).long()


def frame_entropy(lattice: Fsa) -> FrameEntropy:
    r"""Split the entropy of a lattice's paths over its frames.

    A path drawn with probability `exp(w(path)) / Z` is a Markov chain over the lattice's states:
    from state s it takes arc a with probability `p(a | s) = exp(w(a) + b(dst) - b(s))`, where b is
    the backward score. With `gamma(a)` the posterior of the arc, frame t contributes

        local_t = - sum over arcs a of frame t of gamma(a) log p(a | src(a)),

    and by the chain rule of entropy (Cover and Thomas, Elements of Information Theory, theorem
    2.2.1) `sum_t local_t = path_entropy(lattice)`. Further `states_t = H(s_t)`, from the state
    posteriors; where no two states are joined by several arcs, `local_t <= states_t`.

    Args:
      lattice: an acyclic FSA, or a vector, in which every path has one arc per frame and one into
        the final state (so `intersect_dense` builds them). Log-weights in any range.

    Returns:
      Entropies in nats per frame; the last column of each utterance is the step into the final
      state. Zeros for an FSA without a path. Computed in float64, without gradient.

    Raises:
      FsaValueError: arcs of different frames end in one state.

    >>> both = Fsa.from_str("0 1 5 0\n0 2 6 0\n1 3 -1 0\n2 3 -1 0\n3")
    >>> frame_entropy(both).local.tolist()  # ln 2, all of it in the first frame
    [[0.6931471805599453, 0.0]]
    """
    lattice = lattice.detach()
    scores = lattice.scores.double()
    semiring = LogSemiring()
    forward = shortest_distance(lattice, semiring, scores=scores)
    backward = shortest_distance(lattice, semiring, reverse=True, scores=scores)
    depths = _depths(lattice)
    src, dst, fsa = lattice.src_states(), lattice.dst_states(), lattice.arc_to_fsa()

    starts, finals = lattice.start_states(), lattice.final_states()  # -1 where there are none
    arc_log_post = forward[src] + scores + backward[dst] - backward[starts[fsa]]
    # an arc on no complete path has no mass; its logarithms are not finite and not needed
    used = arc_log_post > -torch.inf
    step = torch.where(used, scores + backward[dst] - backward[src], 0.0)
    arc_post = torch.where(used, arc_log_post, -torch.inf).exp()
    state_post = torch.zeros_like(forward).index_add_(0, dst, arc_post)  # start states: 0

    num_frames = torch.zeros_like(finals)
    num_frames[finals >= 0] = depths[finals[finals >= 0]].clamp(min=0)
    max_frames = int(num_frames.max()) if len(finals) else 0
    local = torch.zeros(lattice.num_fsas, max_frames, dtype=torch.float64, device=lattice.device)
    states = torch.zeros_like(local)
    on_arcs, on_states = used.nonzero().squeeze(1), state_post.nonzero().squeeze(1)
    arc_cells = fsa[on_arcs] * max_frames + depths[src[on_arcs]]
    state_cells = lattice.state_to_fsa()[on_states] * max_frames + depths[on_states] - 1
    local.view(-1).index_add_(0, arc_cells, -(arc_post * step)[on_arcs])
    states.view(-1).index_add_(0, state_cells, -torch.xlogy(state_post, state_post)[on_states])
    return FrameEntropy(states.clamp(min=0), local.clamp(min=0), num_frames)

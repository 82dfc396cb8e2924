"""Whether two FSAs are the same, state by state and arc by arc."""

from __future__ import annotations

import torch
from torch import Tensor

from wfst_entropy.fsa import Fsa, RaggedTensor
from wfst_entropy.fsa.errors import FsaTypeError


def equal(a: Fsa, b: Fsa, delta: float = 1 / 1024) -> bool:
    """Whether two FSAs have the same states, and the same arcs in the same order.

    Labels, `aux_labels` and scores count, other attributes do not.  See `isomorphic` for FSAs that
    may be numbered differently, `equivalent` for those that give each string the same weight.

    Args:
      a: an FSA or a vector of them.
      b: likewise; an FSA never equals a vector, nor an acceptor a transducer.
      delta: how far scores may be apart, in nats.

    Raises:
      FsaTypeError: an operand is no Fsa.

    Source: OpenFst, the operation of the same name.

    >>> a = Fsa.from_str("0 1 5 0.5\\n1 2 -1 0\\n2", acceptor=True)
    >>> equal(a, a.with_scores(a.scores + 1e-4)), equal(a, a.with_scores(a.scores + 1))
    (True, False)
    """
    for name, fsa in (("a", a), ("b", b)):
        if not isinstance(fsa, Fsa):
            raise FsaTypeError(f"{name}: must be an Fsa, got {type(fsa).__name__}.")
    if a.num_axes != b.num_axes:
        return False
    a, b = a.detach().to("cpu"), b.detach().to("cpu")
    if a.shape != b.shape or not torch.equal(a.arcs, b.arcs):
        return False
    scores, others = a.scores.double(), b.scores.double()
    near = ((scores - others).abs() <= delta) | (scores == others)
    return bool(near.all()) and _same_outputs(a, b)


def _same_outputs(a: Fsa, b: Fsa) -> bool:
    outputs, others = (fsa.attributes.get("aux_labels") for fsa in (a, b))
    if isinstance(outputs, Tensor) and isinstance(others, Tensor):
        return torch.equal(outputs, others)
    if isinstance(outputs, RaggedTensor) and isinstance(others, RaggedTensor):
        return outputs == others
    return outputs is None and others is None

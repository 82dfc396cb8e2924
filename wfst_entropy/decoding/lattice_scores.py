"""The two parts of a lattice's scores: what the frames say, and what the graph says."""

from __future__ import annotations

import math
import numbers

import torch
from torch import Tensor

from wfst_entropy.decoding.errors import DecodingError
from wfst_entropy.fsa import Fsa
from wfst_entropy.fsa.errors import FsaValueError


def scaled_lattice(lattice: Fsa, am_scale: float = 1.0, lm_scale: float = 1.0) -> Fsa:
    r"""The lattice with its acoustic and its graph scores multiplied by two scales.

    .. math:: w(a) = \alpha (w_0(a) - l_0(a)) + \lambda\, l_0(a), \qquad l(a) = \lambda\, l_0(a)

    where :math:`l` are the `lm_scores`, the part of the scores that came from the graph.  What one
    of them forbids (-inf) stays so.

    Args:
      lattice: an FSA or a vector with the float attribute `lm_scores`.
      am_scale: :math:`\alpha`.
      lm_scale: :math:`\lambda`.

    Raises:
      DecodingError: the lattice has no `lm_scores`.
      FsaValueError: a scale is no finite number.

    >>> lattice = Fsa.from_str("0 1 5 -3\n1 2 -1 -1\n2", acceptor=True)
    >>> _ = lattice.set_attribute_("lm_scores", lattice.scores.new_tensor([-2.0, -1.0]))
    >>> scaled_lattice(lattice, lm_scale=0.5).scores.tolist()
    [-2.0, -0.5]
    """
    check_scale("am_scale", am_scale)
    check_scale("lm_scale", lm_scale)
    graph = lm_scores_of(lattice)
    impossible = graph.detach() == -torch.inf
    graph = lm_scale * graph.masked_fill(impossible, 0.0)
    scores = am_scale * acoustic_scores(lattice).masked_fill(impossible, -torch.inf) + graph
    return lattice.with_scores(scores).set_attribute_("lm_scores", graph)


def scaled_scores(scores: Tensor, scale: float) -> Tensor:
    """The scores times a finite scale, even 0; what is forbidden stays so."""
    impossible = scores.detach() == -torch.inf
    return (scale * scores.masked_fill(impossible, 0.0)).masked_fill(impossible, -torch.inf)


def check_scale(name: str, scale: object) -> None:
    """Refuses what is no finite number.

    Raises:
      FsaValueError: naming the argument.
    """
    if not isinstance(scale, numbers.Real) or not math.isfinite(scale):
        raise FsaValueError(f"{name}: must be a finite number, got {scale!r}.")


def acoustic_scores(lattice: Fsa) -> Tensor:
    """What is left of the scores without `lm_scores`, `(num_arcs,)`; -inf where they are.

    Raises:
      DecodingError: the lattice has no `lm_scores`.
    """
    impossible = lattice.scores.detach() == -torch.inf
    left = lattice.scores.masked_fill(impossible, 0.0) - lm_scores_of(lattice)
    return left.masked_fill(impossible, -torch.inf)


def lm_scores_of(lattice: Fsa) -> Tensor:
    """The attribute `lm_scores`, `(num_arcs,)`, in the dtype of the scores.

    Raises:
      DecodingError: there is none.
    """
    found = lattice.attributes.get("lm_scores")
    if not isinstance(found, Tensor) or not found.is_floating_point() or found.dim() != 1:
        have = ", ".join(lattice.attributes) or "none"
        raise DecodingError(
            "lattice: needs the attribute lm_scores, the part of each arc's score that came from "
            f"the graph; it has the attributes {have}. Search with a graph that has it: "
            'graph.set_attribute_("lm_scores", graph.scores).'
        )
    return found.to(lattice.scores.dtype)

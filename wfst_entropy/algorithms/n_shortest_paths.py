"""The n best paths of each FSA."""

from __future__ import annotations

from wfst_entropy.algorithms import _surgery
from wfst_entropy.fsa import Fsa, RaggedShape, RaggedTensor
from wfst_entropy.fsa.errors import FsaValueError


def n_shortest_paths(fsa: Fsa, n: int, *, unique: bool = False) -> RaggedTensor:
    """The `n` paths with the largest sums of scores, or the best paths of the `n` best strings.

    Args:
      fsa: an FSA or a vector of them; cycles are fine if none has a positive score.
      n: how many, at least 1; fewer come back where there are fewer.
      unique: whether every string (labels without epsilons) counts once, with its best path.

    Returns:
      Ragged int64 `[fsa][path][arc]`, arc numbers of `fsa`, the best path first; `[1][path][arc]`
      for one FSA. Labels or scores along the paths are `fsa.labels[paths.values]`, ...

    Raises:
      CyclicFsaError: a cycle with a positive score; the message names its states.
      FsaTypeError, FsaValueError: not an Fsa, an `n` below 1, a score that is NaN or +inf.

    Source: Mohri and Riley 2002, "An efficient algorithm for the n-best-strings problem"; OpenFst's
    `shortestpath` with `nshortest`.

    >>> fsa = Fsa.from_str("0 1 5 0.5\\n0 1 6 3\\n0 1 6 1\\n1 2 -1 0\\n2", acceptor=True)
    >>> n_shortest_paths(fsa, 2)
    [[[1, 3], [2, 3]]]
    >>> n_shortest_paths(fsa, 2, unique=True)
    [[[1, 3], [0, 3]]]
    """
    if isinstance(n, bool) or not isinstance(n, int) or not 1 <= n < 2**31:
        raise FsaValueError(f"n: must be an integer from 1 to 2**31 - 1, got {n!r}.")
    result = _surgery.run("n_shortest_paths", fsa, scores=True, parameters=(n, bool(unique)))
    arc_map, num_paths = result.maps
    lengths = result.shape.remove_axis(1)  # [path][arc]
    shape = RaggedShape.from_sizes(num_paths).compose(lengths)
    return RaggedTensor(shape, arc_map).to(fsa.device)

"""Which of the two semirings that C++ knows an operation was asked to use."""

from __future__ import annotations

from wfst_entropy.fsa.errors import FsaTypeError
from wfst_entropy.semirings import LogSemiring, Semiring, TropicalSemiring


def adds_logs(semiring: Semiring, operation: str) -> bool:
    """True for the log semiring, False for the tropical one.

    Raises:
      FsaTypeError: it is another one.
    """
    if type(semiring) is LogSemiring or type(semiring) is TropicalSemiring:
        return type(semiring) is LogSemiring
    raise FsaTypeError(
        f"semiring: {operation} knows TropicalSemiring() and LogSemiring(), got {semiring!r}. For "
        "other semirings, operate in one of these two and pass the scores of the other to "
        "shortest_distance or get_tot_scores."
    )

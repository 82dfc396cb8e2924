"""Forward and backward recursions over graphs, in any semiring."""

from __future__ import annotations

from typing import Any

from torch import Tensor

from wfst_entropy._native.distance import Divergence
from wfst_entropy._native.surgery import InputError, LimitError
from wfst_entropy.algorithms._native_distances import has_kernel, kernel_distances
from wfst_entropy.algorithms.component_closure import DivergenceError
from wfst_entropy.algorithms.components import components_of
from wfst_entropy.algorithms.cycles import describe_cycle
from wfst_entropy.algorithms.level_recursion import ComponentSizeError, level_distances
from wfst_entropy.algorithms.schedule import schedule_of
from wfst_entropy.fsa import Fsa
from wfst_entropy.fsa.errors import CyclicFsaError, FsaRuntimeError, FsaTypeError, FsaValueError
from wfst_entropy.semirings import (
    ConditionalKLSemiring,
    LogReverseKLSemiring,
    LogSemiring,
    Semiring,
    Value,
    map_slots,
)

_LOG = LogSemiring()


def shortest_distance(
    fsas: Fsa, semiring: Semiring = _LOG, *, reverse: bool = False, scores: Any = None
) -> Value:
    r"""The total of all paths from the start state to each state, in any semiring.

    :math:`d(s) = \bigoplus_{\pi: 0 \to s} \bigotimes_{a \in \pi} w(a)`, or with ``reverse`` the
    total of all paths from each state to the final state. Arc weights are
    ``semiring.convert(scores)``. With the log semiring these are k2's forward and backward scores
    (Mohri 2002, "Semiring frameworks and algorithms for shortest-distance problems", Section 4).

    Components of states with cycles among them are closed by elimination, exactly. On the CPU the
    built-in semirings over log-weights run in C++ (in float64, whatever comes in), all others and
    all other devices in torch. The order of the states is worked out once for each structure:
    calling again after ``fsas.with_scores`` does not repeat it.

    Args:
        fsas: one FSA or a vector, states in any order; acyclic, or with cycles whose repetitions
            have a total in the semiring (it needs a star then).
        semiring: the algebra; see ``wfst_entropy.semirings.Semiring`` for writing your own.
        reverse: distances to the final state instead of from the start state.
        scores: what to convert instead of ``fsas.scores``: a Tensor (num_arcs,), or the tuple of
            such Tensors that the semiring's ``convert`` takes. Log-weights in nats, float32 or
            float64; the result has their dtype.

    Returns:
        A value whose slots have the shape (num_states,); zero for a state without a path.
        Differentiable, twice too.

    Raises:
        CyclicFsaError: a cycle diverges, or the semiring has no star; the message names its states,
            labels and score.
        FsaValueError: a score is NaN or +inf, has the wrong shape, or lies outside what the
            semiring is defined for; the message names the arc.

    >>> fsa = Fsa.from_str("0 1 1 -1\n0 1 2 -2\n1 2 -1 -0.5\n2")
    >>> shortest_distance(fsa, reverse=True)
    tensor([-1.1867, -0.5000,  0.0000])
    """
    return _distances(fsas, semiring, scores, reverse=reverse)


def get_forward_scores(fsas: Fsa, semiring: Semiring = _LOG, *, scores: Any = None) -> Value:
    """``shortest_distance`` from the start states, under k2's name.

    >>> get_forward_scores(Fsa.from_str("0 1 1 -1\\n1 2 -1 -0.5\\n2"))
    tensor([ 0.0000, -1.0000, -1.5000])
    """
    return shortest_distance(fsas, semiring, scores=scores)


def get_backward_scores(fsas: Fsa, semiring: Semiring = _LOG, *, scores: Any = None) -> Value:
    """``shortest_distance`` to the final states, under k2's name.

    >>> get_backward_scores(Fsa.from_str("0 1 1 -1\\n1 2 -1 -0.5\\n2"))
    tensor([-1.5000, -0.5000,  0.0000])
    """
    return shortest_distance(fsas, semiring, reverse=True, scores=scores)


def get_tot_scores(fsas: Fsa, semiring: Semiring = _LOG, *, scores: Any = None) -> Value:
    r"""The total of all successful paths of each FSA, in any semiring.

    :math:`\bigoplus_\pi \bigotimes_{a \in \pi} w(a)`. The gradient with respect to the scores is
    the arc posteriors (log semiring) or 1 on one best path (tropical semiring), as in k2.

    Args:
        fsas: as in ``shortest_distance``. Cycles that are on no successful path do not matter.
        semiring: the algebra.
        scores: as in ``shortest_distance``.

    Returns:
        A value whose slots have the shape (num_fsas,), (1,) for one FSA; zero (-inf in the log
        semiring) with gradient 0 for an FSA without a successful path.

    Raises:
        CyclicFsaError, FsaValueError: as ``shortest_distance``.

    >>> from wfst_entropy.semirings import TropicalSemiring
    >>> fsa = Fsa.from_str("0 1 1 -1\n0 1 2 -2\n1 2 -1 -0.5\n2")
    >>> get_tot_scores(fsa), get_tot_scores(fsa, TropicalSemiring())
    (tensor([-1.1867]), tensor([-1.5000]))
    """
    forward = _distances(fsas, semiring, scores, connected=True)
    return _at_states(fsas, semiring, forward)


def get_arc_post(fsas: Fsa, semiring: Semiring = _LOG, *, scores: Any = None) -> Value:
    r"""The share of each arc in the total of its FSA: log posteriors in the log semiring.

    :math:`\alpha(\mathrm{src}) \otimes w(a) \otimes \beta(\mathrm{dst})` divided by the total. In
    the log semiring this is :math:`\log \gamma_a \le 0`, in the tropical one the distance of the
    best path through the arc from the best path of all, both in nats as in k2; in
    ``ConditionalEntropySemiring`` the second slot is the mean surprisal of the paths through the
    arc less the entropy, so that the entropy's gradient is
    :math:`\gamma_a (\mathrm{slot}_1 - \log\gamma_a)`.

    Args:
        fsas: as in ``shortest_distance``. Cycles that are on no successful path do not matter.
        semiring: one with a division (``has_divide``).
        scores: as in ``shortest_distance``.

    Returns:
        A value whose slots have the shape (num_arcs,); -inf, with gradient 0, on arcs that are on
        no successful path.

    Raises:
        CyclicFsaError, FsaValueError: as ``shortest_distance``.
        FsaTypeError: the semiring has no division.

    >>> get_arc_post(Fsa.from_str("0 1 1 -1\n0 1 2 -2\n1 2 -1 -0.5\n2")).exp()
    tensor([0.7311, 0.2689, 1.0000])
    """
    if not semiring.has_divide:
        raise FsaTypeError(
            f"semiring: get_arc_post needs one with a division, {semiring!r} has none; use "
            "LogSemiring() for log posteriors"
        )
    forward = _distances(fsas, semiring, scores, connected=True)
    backward = _distances(fsas, semiring, scores, connected=True, reverse=True)
    weights = _arc_weights(fsas, semiring, scores)
    total = _at_states(fsas, semiring, forward)
    source, destination, owner = fsas.src_states(), fsas.dst_states(), fsas.arc_to_fsa()
    through = semiring.times(
        semiring.times(map_slots(lambda v: v.index_select(0, source), forward), weights),
        map_slots(lambda v: v.index_select(0, destination), backward),
    )
    return semiring.divide(through, map_slots(lambda v: v.index_select(0, owner), total))


def _at_states(fsas: Fsa, semiring: Semiring, distances: Value) -> Value:
    """Values at the final states; zero for an FSA without states."""
    states = fsas.final_states()
    has_states = states >= 0
    chosen = states[has_states]
    where = has_states.nonzero().squeeze(1)
    found = map_slots(lambda v: v.index_select(0, chosen), distances)
    slot = found[0] if isinstance(found, tuple) else found
    empty = semiring.zero((fsas.num_fsas,), slot.dtype, slot.device)
    return map_slots(lambda zero, v: zero.index_copy(0, where, v), empty, found)


def _distances(
    fsas: Fsa, semiring: Semiring, scores: Any, *, reverse: bool = False, connected: bool = False
) -> Value:
    """Distances of all states; with `connected` only those on a successful path matter."""
    weights = _arc_weights(fsas, semiring, scores)

    def in_torch(weights: Value) -> Value:
        schedule = schedule_of(fsas, reverse=reverse, connected=connected)
        return level_distances(schedule, semiring, weights, reverse)

    try:
        if not has_kernel(semiring, weights):
            return in_torch(weights)
        return kernel_distances(
            fsas, semiring, weights, reverse=reverse, connected=connected, in_torch=in_torch
        )
    except DivergenceError as error:
        raise _cyclic(fsas, semiring, scores, error.states) from None
    except Divergence as error:
        component = components_of(fsas).component
        states = (component == component[error.state]).nonzero().squeeze(1)
        raise _cyclic(fsas, semiring, scores, states) from None
    except ComponentSizeError as error:
        raise FsaValueError(
            f"fsas: FSA {int(fsas.state_to_fsa()[error.states[0]])} has a strongly connected "
            f"component of {error.states.numel()} states, too many for {semiring!r} in torch; "
            "LogSemiring() and TropicalSemiring() on the CPU have C++ kernels without this limit. "
            "Intersect it with frame scores first (intersect_dense), or remove its cycles"
        ) from None
    except InputError as error:
        raise FsaValueError(str(error)) from None
    except LimitError as error:
        raise FsaRuntimeError(str(error)) from None


def _cyclic(fsas: Fsa, semiring: Semiring, scores: Any, states: Tensor) -> CyclicFsaError:
    """The error for a component whose closure does not exist."""
    models = _tensors(fsas.scores if scores is None else scores)
    if not isinstance(semiring, (ConditionalKLSemiring, LogReverseKLSemiring)):
        models = models[:1]  # the others are no log-weights
    why = (
        f"repeated passes have no finite total in {semiring!r}"
        if semiring.has_star
        else f"{semiring!r} has no star to sum up repeated passes with"
    )
    return CyclicFsaError(
        f"fsas: {describe_cycle(fsas, models, states)}, and {why}; "
        "needed is an acyclic graph, or cycles whose weights converge. Intersect it with frame "
        "scores first (intersect_dense), lower the scores of the cycle, or remove it"
    )


def _tensors(scores: Any) -> list[Any]:
    """The members of nested tuples."""
    if not isinstance(scores, tuple):
        return [scores]
    return [tensor for part in scores for tensor in _tensors(part)]


def _arc_weights(fsas: Fsa, semiring: Semiring, scores: Any) -> Value:
    """The semiring's weights of all arcs, from checked scores."""
    if scores is None:
        scores = fsas.scores
    for part in _tensors(scores):
        _check_scores(fsas, part)
    try:
        return semiring.convert(scores)
    except ValueError as error:
        raise FsaValueError(f"scores (one per arc): {error}") from error
    except TypeError as error:
        raise FsaTypeError(f"scores (one per arc): {error}") from error


def _check_scores(fsas: Fsa, scores: Any) -> None:
    if not isinstance(scores, Tensor):
        raise FsaTypeError(
            f"scores: must be a tensor ({fsas.num_arcs},), one number per arc, or the tuple of "
            f"tensors that the semiring takes, got {type(scores).__name__}"
        )
    if scores.shape != (fsas.num_arcs,) or not scores.is_floating_point():
        raise FsaValueError(
            f"scores: must be floating point of shape ({fsas.num_arcs},), one per arc, got "
            f"{scores.dtype} {tuple(scores.shape)}"
        )
    bad = scores.isnan() | (scores == float("inf"))
    if bool(bad.any()):
        arc = int(bad.nonzero()[0])
        first = int(fsas.src_states()[arc]) - int(fsas.arcs[arc, 0])
        source, destination, label = fsas.arcs[arc].tolist()
        raise FsaValueError(
            f"scores: arc {arc} (FSA {int(fsas.state_to_fsa()[first])}, state {source} to "
            f"{destination}, label {label}) has the score {scores[arc].item()}; needed are finite "
            "log-weights or -inf. Look for a division by zero or an overflow where it was computed"
        )

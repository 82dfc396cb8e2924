"""The decoding methods by name."""

from __future__ import annotations

from wfst_entropy.asr.options import OptionError
from wfst_entropy.asr.search.fast_beam import (
    FastBeam,
    FastBeamLG,
    FastBeamNbest,
    FastBeamNbestLG,
    FastBeamNbestOracle,
)
from wfst_entropy.asr.search.greedy import GreedySearch
from wfst_entropy.asr.search.method import SearchMethod, SearchSetup
from wfst_entropy.asr.search.nbest import NbestOracle, NbestSearch
from wfst_entropy.asr.search.one_best import OneBest
from wfst_entropy.asr.search.prefix_beam import PrefixBeamSearch
from wfst_entropy.asr.search.rescoring import NbestRescoring, WholeLatticeRescoring
from wfst_entropy.asr.search.transducer_beam import (
    TransducerBeam,
    TransducerLodr,
    TransducerShallowFusion,
)
from wfst_entropy.asr.search.transducer_greedy import TransducerGreedy

METHODS: dict[str, type[SearchMethod]] = {
    method.name: method
    for method in (
        GreedySearch,
        OneBest,
        NbestSearch,
        NbestRescoring,
        WholeLatticeRescoring,
        NbestOracle,
        PrefixBeamSearch,
        TransducerGreedy,
        TransducerBeam,
        TransducerShallowFusion,
        TransducerLodr,
        FastBeam,
        FastBeamLG,
        FastBeamNbest,
        FastBeamNbestLG,
        FastBeamNbestOracle,
    )
}

_FAVOURING: tuple[type[SearchMethod], ...] = (
    PrefixBeamSearch,
    TransducerBeam,
    TransducerShallowFusion,
    TransducerLodr,
)


def method_name(text: str) -> str:
    """The name of a method, written with hyphens or underscores.

    Raises:
      OptionError: there is no such method.

    >>> method_name("nbest_oracle"), method_name("greedy-search")
    ('nbest-oracle', 'greedy_search')
    """
    names = {name.replace("_", "-"): name for name in METHODS}
    name = names.get(text.replace("_", "-"))
    if name is None:
        raise OptionError(f"decoding_method: {text!r} is unknown; there are {', '.join(METHODS)}")
    return name


def usable_methods(use_ctc: bool, use_transducer: bool) -> list[str]:
    """The methods for a model with these heads; the first is what it is decoded with by default.

    >>> usable_methods(use_ctc=True, use_transducer=False)[0]
    'ctc-greedy-search'
    """
    heads = {"ctc_log_probs": use_ctc, "encoder_out": use_transducer}
    return sorted(
        (name for name, method in METHODS.items() if heads[method.reads]),
        key=lambda name: METHODS[name].reads != "encoder_out",
    )


def method_for(text: str, use_ctc: bool, use_transducer: bool) -> str:
    """The method to decode a model with.

    Args:
      text: its name, or "" for the greedy search of the transducer head, or else of the CTC head.
      use_ctc: whether the model has a CTC head.
      use_transducer: whether it has a transducer head.

    Raises:
      OptionError: there is no such method, or it reads a head that the model has not.

    >>> method_for("", use_ctc=True, use_transducer=True)
    'greedy_search'
    """
    usable = usable_methods(use_ctc, use_transducer)
    name = method_name(text) if text else usable[0]
    if name not in usable:
        head = "CTC" if METHODS[name].reads == "ctc_log_probs" else "transducer"
        raise OptionError(
            f"decoding_method: {name} needs a {head} head, which the model has not; it can be "
            f"decoded with {', '.join(usable)}"
        )
    return name


def make_method(name: str, setup: SearchSetup) -> SearchMethod:
    """The search of a decoding method.

    Args:
      name: of the method, as in `METHODS`.
      setup: vocabulary, graphs, options, and the scales to decode with.

    Raises:
      OptionError: a graph that the method needs is missing, or it cannot favour the phrases that
        are given.
    """
    method = METHODS[name]
    if setup.options.context_file is not None and method not in _FAVOURING:
        names = ", ".join(each.name for each in _FAVOURING)
        raise OptionError(f"context_file: {name} favours no phrases; there is {names}")
    return method(setup)

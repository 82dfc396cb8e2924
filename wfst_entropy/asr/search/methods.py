"""The decoding methods by name."""

from __future__ import annotations

from wfst_entropy.asr.options import OptionError
from wfst_entropy.asr.search.greedy import GreedySearch
from wfst_entropy.asr.search.method import SearchMethod, SearchSetup
from wfst_entropy.asr.search.nbest import NbestOracle, NbestSearch
from wfst_entropy.asr.search.one_best import OneBest
from wfst_entropy.asr.search.prefix_beam import PrefixBeamSearch
from wfst_entropy.asr.search.rescoring import NbestRescoring, WholeLatticeRescoring

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
    )
}


def method_name(text: str) -> str:
    """The name of a method, written with hyphens or underscores.

    Raises:
      OptionError: there is no such method.

    >>> method_name("nbest_oracle")
    'nbest-oracle'
    """
    name = text.replace("_", "-")
    if name not in METHODS:
        raise OptionError(f"decoding_method: {name!r} is unknown; there are {', '.join(METHODS)}")
    return name


def make_method(name: str, setup: SearchSetup) -> SearchMethod:
    """The search of a decoding method.

    Args:
      name: of the method, as in `METHODS`.
      setup: vocabulary, graphs, options, and the scales to decode with.

    Raises:
      OptionError: a graph that the method needs is missing.
    """
    return METHODS[name](setup)

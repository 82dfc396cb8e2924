"""The decoding methods by name."""

from __future__ import annotations

from wfst_entropy.asr.options import OptionError

METHODS = (
    "ctc-greedy-search",
    "1best",
    "nbest",
    "nbest-rescoring",
    "whole-lattice-rescoring",
    "nbest-oracle",
    "ctc-prefix-beam-search",
)


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

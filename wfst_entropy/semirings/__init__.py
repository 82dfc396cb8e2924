"""Semirings: the algebra in which the weights of a graph are added and multiplied."""

from wfst_entropy.semirings.base import Semiring, Value, map_slots
from wfst_entropy.semirings.conditional_entropy import ConditionalEntropySemiring
from wfst_entropy.semirings.conditional_kl import ConditionalKLSemiring
from wfst_entropy.semirings.entropy import LogEntropySemiring
from wfst_entropy.semirings.log import LogSemiring
from wfst_entropy.semirings.reverse_kl import LogReverseKLSemiring
from wfst_entropy.semirings.tropical import TropicalSemiring

__all__ = [
    "ConditionalEntropySemiring",
    "ConditionalKLSemiring",
    "LogEntropySemiring",
    "LogReverseKLSemiring",
    "LogSemiring",
    "Semiring",
    "TropicalSemiring",
    "Value",
    "map_slots",
]

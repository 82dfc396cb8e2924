"""Semirings: the algebra in which the weights of a graph are added and multiplied."""

from wfst_entropy.semirings.base import Semiring, Value, map_slots
from wfst_entropy.semirings.conditional_covariance import ConditionalCovarianceSemiring
from wfst_entropy.semirings.conditional_entropy import ConditionalEntropySemiring
from wfst_entropy.semirings.conditional_expectation import ConditionalExpectationSemiring
from wfst_entropy.semirings.conditional_kl import ConditionalKLSemiring
from wfst_entropy.semirings.counting import CountingSemiring
from wfst_entropy.semirings.entropy import LogEntropySemiring
from wfst_entropy.semirings.expectation import ExpectationSemiring
from wfst_entropy.semirings.k_best import KBestTropicalSemiring
from wfst_entropy.semirings.log import LogSemiring
from wfst_entropy.semirings.product import ProductSemiring
from wfst_entropy.semirings.real import RealSemiring
from wfst_entropy.semirings.reverse_kl import LogReverseKLSemiring
from wfst_entropy.semirings.second_order_expectation import SecondOrderExpectationSemiring
from wfst_entropy.semirings.tropical import TropicalSemiring

__all__ = [
    "ConditionalCovarianceSemiring",
    "ConditionalEntropySemiring",
    "ConditionalExpectationSemiring",
    "ConditionalKLSemiring",
    "CountingSemiring",
    "ExpectationSemiring",
    "KBestTropicalSemiring",
    "LogEntropySemiring",
    "LogReverseKLSemiring",
    "LogSemiring",
    "ProductSemiring",
    "RealSemiring",
    "SecondOrderExpectationSemiring",
    "Semiring",
    "TropicalSemiring",
    "Value",
    "map_slots",
]

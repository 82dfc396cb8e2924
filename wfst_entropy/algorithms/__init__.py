"""Operations on graphs, one file each."""

from wfst_entropy.algorithms.compose import compose
from wfst_entropy.algorithms.connect import connect
from wfst_entropy.algorithms.difference import difference
from wfst_entropy.algorithms.edit_counts import ExpectedEditCounts, expected_edit_counts
from wfst_entropy.algorithms.frame_entropy import FrameEntropy, frame_entropy
from wfst_entropy.algorithms.intersect import intersect
from wfst_entropy.algorithms.intersect_dense import intersect_dense, intersect_dense_tot_scores
from wfst_entropy.algorithms.intersect_device import intersect_device
from wfst_entropy.algorithms.path_entropy import path_entropy
from wfst_entropy.algorithms.shortest_distance import (
    get_arc_post,
    get_backward_scores,
    get_forward_scores,
    get_tot_scores,
    shortest_distance,
)

__all__ = [
    "ExpectedEditCounts",
    "FrameEntropy",
    "compose",
    "connect",
    "difference",
    "expected_edit_counts",
    "frame_entropy",
    "get_arc_post",
    "get_backward_scores",
    "get_forward_scores",
    "get_tot_scores",
    "intersect",
    "intersect_dense",
    "intersect_dense_tot_scores",
    "intersect_device",
    "path_entropy",
    "shortest_distance",
]

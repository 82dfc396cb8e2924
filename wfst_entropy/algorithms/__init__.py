"""Operations on graphs, one file each."""

from wfst_entropy.algorithms.connect import connect
from wfst_entropy.algorithms.frame_entropy import FrameEntropy, frame_entropy
from wfst_entropy.algorithms.intersect_dense import intersect_dense, intersect_dense_tot_scores
from wfst_entropy.algorithms.path_entropy import path_entropy
from wfst_entropy.algorithms.shortest_distance import (
    get_arc_post,
    get_backward_scores,
    get_forward_scores,
    get_tot_scores,
    shortest_distance,
)

__all__ = [
    "FrameEntropy",
    "connect",
    "frame_entropy",
    "get_arc_post",
    "get_backward_scores",
    "get_forward_scores",
    "get_tot_scores",
    "intersect_dense",
    "intersect_dense_tot_scores",
    "path_entropy",
    "shortest_distance",
]

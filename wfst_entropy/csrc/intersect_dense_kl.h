// The divergence KL(p || q) of two models' alignments of any graphs, both likelihoods, and the gradients in both
// models' frame scores and in the graphs' scores, which both models share.
#pragma once

#include <cstdint>
#include <vector>

#include "intersect_dense.h"
#include "pair_total.h"

namespace wfst_entropy {

template <class T>
struct DensePair {
  DenseVec<T> p, q;  // with as many sequences of the same lengths
};

// As ctc_kl_workspace.
template <class T>
int64_t intersect_dense_kl_workspace(const std::vector<DenseGraph<T>>& graphs, int64_t num_sequences,
                                     const int64_t* lengths, bool moments, int64_t* cell_offsets);

// As ctc_kl_forward; bad_frame counts from the sequence's first frame.
template <class T>
void intersect_dense_kl_forward(const std::vector<DenseGraph<T>>& graphs, const DensePair<T>& dense, bool moments,
                                T* cells, const int64_t* cell_offsets, double* log_p, double* log_q, double* kl,
                                uint8_t* status, int64_t* bad_frame, int64_t* bad_symbol, uint8_t* bad_model);

// The factors of the outputs, (S,) each, and where their gradients go: contiguous (N, T, C) of either model, and of the
// graphs (A,), or (S, A) if one graph is shared; nullptr: not wanted. Those of p, and of the graphs through p, need the
// moments.
template <class T>
struct DenseKlGradients {
  const double *by_kl, *by_p, *by_q;
  T *grad_p, *grad_q, *grad_graph;
  bool graph_in_p, graph_in_q;  // through which model's path weights grad_graph goes
};

template <class T>
void intersect_dense_kl_backward(const std::vector<DenseGraph<T>>& graphs, const DensePair<T>& dense, bool moments,
                                 const T* cells, const int64_t* cell_offsets, const uint8_t* status,
                                 const DenseKlGradients<T>& gradients);

}  // namespace wfst_entropy

// The divergence KL(p || q) of two transducers' alignments over the same lattices, both likelihoods, and the gradients
// in both models, from the scores of their arcs.
#pragma once

#include <nanobind/nanobind.h>

#include <cstdint>

#include "rnnt_band.h"

namespace wfst_entropy {

template <class T>
struct GridModel {
  Plane<T> blank, label;  // as of GridBatch
};

template <class T>
struct GridPairBatch {
  int64_t num_utterances;
  GridModel<T> p, q;
  const int64_t* logit_lengths;   // (N,)
  const int64_t* target_lengths;  // (N,)
  RnntType type;
  const int64_t* cell_offsets;  // from rnnt_kl_workspace
  int num_threads;
};

// What a forward call fills, per utterance.
struct GridPairTotals {
  double *log_p, *log_q;  // log Z of both models
  double* kl;
  uint8_t* status;  // KlStatus
  int64_t* bad;     // model (0: p), plane (0: blank), frame and labels seen of the first score that may not be used; -1
};

// Fills cell_offsets and returns how many values the saved cells of all utterances take. moments: whether p will be
// given a gradient of the divergence.
int64_t rnnt_kl_workspace(int64_t num_utterances, const int64_t* logit_lengths, const int64_t* target_lengths,
                          RnntType type, bool moments, int64_t* cell_offsets);

// cells: nullptr, or what the backward call reads.
template <class T>
void rnnt_kl_forward(const GridPairBatch<T>& batch, bool moments, T* cells, const GridPairTotals& totals);

// Writes by_kl[n] * d kl[n] + by_p[n] * d log_p[n] + by_q[n] * d log_q[n] to every element of the gradients of both
// models; those whose blank is nullptr are not wanted. That of p needs the moments.
template <class T>
void rnnt_kl_backward(const GridPairBatch<T>& batch, bool moments, const T* cells, const uint8_t* status,
                      const double* by_kl, const double* by_p, const double* by_q, const GridGradient<T>& grad_p,
                      const GridGradient<T>& grad_q);

void bind_rnnt_kl(nanobind::module_& m);

}  // namespace wfst_entropy

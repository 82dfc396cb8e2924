// Likelihood, alignment entropy and their gradients of a transducer's lattice, from the scores of its arcs.
#pragma once

#include <nanobind/nanobind.h>

#include <cstdint>

#include "rnnt_band.h"

namespace wfst_entropy {

template <class T>
struct GridBatch {
  int64_t num_utterances;
  Plane<T> blank;  // (N, T, W)
  Plane<T> label;  // (N, T, W) or (N, T, W - 1)
  const int64_t* logit_lengths;   // (N,)
  const int64_t* target_lengths;  // (N,), below W
  RnntType type;
  const int64_t* cell_offsets;  // from rnnt_grid_workspace
  int num_threads;
};

// Fills cell_offsets and returns how many values the saved cells of all utterances take.
int64_t rnnt_grid_workspace(int64_t num_utterances, const int64_t* logit_lengths, const int64_t* target_lengths,
                            RnntType type, bool entropy, int64_t* cell_offsets);

// Everything is per utterance. cells: nullptr, or what the backward call reads. entropy: nullptr if not wanted.
// bad: plane (0 blank, 1 label), frame and labels seen of the first score that is NaN or above 2^26; else -1.
template <class T>
void rnnt_grid_forward(const GridBatch<T>& batch, T* cells, double* nll, double* entropy, uint8_t* path_count,
                       int64_t* bad);

// Writes the gradient of sum(grad_nll * nll + grad_entropy * entropy) to every element of `grad`. Label arcs get the
// nll's gradient times (1 + fastemit). grad_entropy is nullptr exactly if the forward call had no entropy.
template <class T>
void rnnt_grid_backward(const GridBatch<T>& batch, const T* cells, const uint8_t* path_count, const double* grad_nll,
                        const double* grad_entropy, double fastemit, const GridGradient<T>& grad);

void bind_rnnt_grid(nanobind::module_& m);

}  // namespace wfst_entropy

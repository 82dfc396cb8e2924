// Likelihood, alignment entropy and their gradients for any graphs against dense frame scores.
#pragma once

#include <cstdint>
#include <vector>

#include "dense_graph.h"

namespace wfst_entropy {

// Sequences of frames; sequence s has graph s, or graph 0 if there is only one.
template <class T>
struct DenseVec {
  int64_t num_sequences;
  const T* scores;  // (N, T, C), unit stride over C
  int64_t num_utterances;
  int64_t num_frames;
  int64_t num_symbols;
  int64_t utterance_stride;
  int64_t frame_stride;
  const int64_t* utterances;    // (S,)
  const int64_t* start_frames;  // (S,)
  const int64_t* lengths;       // (S,)
  int num_threads;
};

// Fills cell_offsets and returns how many values the saved cells of all sequences take.
template <class T>
int64_t intersect_dense_workspace(const std::vector<DenseGraph<T>>& graphs, int64_t num_sequences,
                                  const int64_t* lengths, bool entropy, int64_t* cell_offsets);

// As ctc_forward; bad_frame counts from the sequence's first frame.
template <class T>
void intersect_dense_forward(const std::vector<DenseGraph<T>>& graphs, const DenseVec<T>& dense, T* cells,
                             const int64_t* cell_offsets, double* nll, double* entropy, uint8_t* path_count,
                             int64_t* bad_frame, int64_t* bad_symbol);

// Writes the gradient of sum(grad_nll * nll + grad_entropy * entropy) to every element of grad_dense, contiguous
// (N, T, C), and of grad_graph (nullptr: not wanted): (A,), or (S, A) if one graph is shared. grad_entropy is nullptr
// exactly if the forward call had no entropy.
template <class T>
void intersect_dense_backward(const std::vector<DenseGraph<T>>& graphs, const DenseVec<T>& dense, const T* cells,
                              const int64_t* cell_offsets, const uint8_t* path_count, const double* grad_nll,
                              const double* grad_entropy, T* grad_dense, T* grad_graph);

}  // namespace wfst_entropy

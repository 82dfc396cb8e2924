// Likelihood, alignment entropy and their gradient over the CTC trellis.
#pragma once

#include <cstdint>

#include "softmax_loops.h"

namespace wfst_entropy {

// Row is float, double, Float16 or BFloat16; halves are computed in float.
template <class Row>
struct CtcBatch {
  int64_t num_utterances;
  int64_t num_frames;  // of the tensors; an utterance has input_lengths[n] of them
  int64_t num_symbols;
  const Row* scores;         // (N, T, C), unit stride over C
  int64_t utterance_stride;  // in elements
  int64_t frame_stride;
  const int64_t* targets;         // flat
  const int64_t* target_offsets;  // (N,) where an utterance's labels begin
  const int64_t* input_lengths;   // (N,)
  const int64_t* target_lengths;  // (N,)
  int64_t blank;
  bool entropy;  // whether it is wanted beside the likelihood
  bool softmax;  // whether scores are logits, to be normalised over the symbols
  int num_threads;
};

// What the backward call needs of utterance n begins at posterior_offsets[n]; returns how many values the batch has.
// Per frame: the posteriors of the labels and of blank, with entropy then its derivatives by their scores, and with
// softmax the row's maximum and one over its sum.
template <class Row>
int64_t ctc_workspace(const CtcBatch<Row>& batch, int64_t* posterior_offsets);

// Fills nll, entropy (zeros if not wanted) and path_count, and the posteriors (nullptr: no gradient is wanted). The
// first score of an utterance that is NaN, +inf or (without softmax) above 2^26 leaves its place in bad_frame and
// bad_symbol (else -1); the other results of that utterance then mean nothing.
template <class Row>
void ctc_forward(const CtcBatch<Row>& batch, const int64_t* posterior_offsets, Computed<Row>* posteriors, double* nll,
                 double* entropy, uint8_t* path_count, int64_t* bad_frame, int64_t* bad_symbol);

// Writes grad_nll[n] * d nll[n] + grad_entropy[n] * d entropy[n] into every element of grad, contiguous (N, T, C).
template <class Row>
void ctc_backward(const CtcBatch<Row>& batch, const int64_t* posterior_offsets, const Computed<Row>* posteriors,
                  const uint8_t* path_count, const double* grad_nll, const double* grad_entropy, Row* grad);

}  // namespace wfst_entropy

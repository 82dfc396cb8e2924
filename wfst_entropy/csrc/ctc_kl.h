// The divergence KL(p || q) of two models' CTC alignments of the same transcripts, both likelihoods, and the gradients
// in both models, out of one forward and one backward sweep.
#pragma once

#include <cstdint>

#include <nanobind/nanobind.h>

#include "pair_total.h"

namespace wfst_entropy {

template <class T>
struct CtcScores {
  const T* scores;           // (N, T, C), unit stride over C
  int64_t utterance_stride;  // in elements
  int64_t frame_stride;
};

template <class T>
struct CtcKlBatch {
  int64_t num_utterances;
  CtcScores<T> p, q;
  const int64_t* targets;         // flat
  const int64_t* target_offsets;  // (N,) where an utterance's labels begin
  const int64_t* input_lengths;   // (N,)
  const int64_t* target_lengths;  // (N,)
  int64_t blank;
  const int64_t* cell_offsets;  // (N,) where an utterance's cells begin, in elements
  int num_threads;
};

// Fills cell_offsets and returns how many values the saved cells of the whole batch take. moments: whether p will be
// given a gradient of the divergence.
int64_t ctc_kl_workspace(int64_t num_utterances, const int64_t* input_lengths, const int64_t* target_lengths,
                         bool moments, int64_t* cell_offsets);

// Fills log_p, log_q (log Z of both models), kl and status, and saves the cells (nullptr: not wanted). The first score
// of an utterance that is NaN or above 2^26 leaves its place in bad_frame (else -1), bad_symbol and bad_model (0: p);
// the other results of that utterance then mean nothing.
template <class T>
void ctc_kl_forward(const CtcKlBatch<T>& batch, bool moments, T* cells, double* log_p, double* log_q, double* kl,
                    uint8_t* status, int64_t* bad_frame, int64_t* bad_symbol, uint8_t* bad_model);

// Writes by_kl[n] * d kl[n] + by_p[n] * d log_p[n] + by_q[n] * d log_q[n] into every element of grad_p and grad_q,
// contiguous (N, T, C); nullptr: not wanted. grad_p needs the moments.
template <class T>
void ctc_kl_backward(const CtcKlBatch<T>& batch, bool moments, const T* cells, const uint8_t* status,
                     const double* by_kl, const double* by_p, const double* by_q, int64_t max_frames,
                     int64_t num_symbols, T* grad_p, T* grad_q);

void bind_ctc_kl(nanobind::module_& m);

}  // namespace wfst_entropy

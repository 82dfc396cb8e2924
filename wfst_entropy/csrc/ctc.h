// Likelihood, alignment entropy and their gradient over the CTC trellis.
#pragma once

#include <cstdint>

namespace wfst_entropy {

template <class T>
struct CtcBatch {
  int64_t num_utterances;
  const T* log_probs;         // (N, T, C), unit stride over C
  int64_t utterance_stride;   // in elements
  int64_t frame_stride;
  const int64_t* targets;         // flat
  const int64_t* target_offsets;  // (N,) where an utterance's labels begin
  const int64_t* input_lengths;   // (N,)
  const int64_t* target_lengths;  // (N,)
  int64_t blank;
  const int64_t* cell_offsets;  // (N,) where an utterance's cells begin, in elements
  int num_threads;
};

// Fills cell_offsets and returns how many values the saved cells of the whole batch take.
int64_t ctc_workspace(int64_t num_utterances, const int64_t* input_lengths, const int64_t* target_lengths, bool entropy,
                      int64_t* cell_offsets);

// Fills nll, entropy (nullptr: not wanted) and path_count, and saves the cells (nullptr: not wanted). The first score
// of an utterance that is NaN or above 2^26 leaves its place in bad_frame and bad_symbol (else -1); the other results
// of that utterance then mean nothing.
template <class T>
void ctc_forward(const CtcBatch<T>& batch, T* cells, double* nll, double* entropy, uint8_t* path_count,
                 int64_t* bad_frame, int64_t* bad_symbol);

// Writes grad_nll[n] * d nll[n] + grad_entropy[n] * d entropy[n] into every element of grad, contiguous (N, T, C).
// grad_entropy is nullptr exactly if the forward call had no entropy.
template <class T>
void ctc_backward(const CtcBatch<T>& batch, const T* cells, const uint8_t* path_count, const double* grad_nll,
                  const double* grad_entropy, int64_t max_frames, int64_t num_symbols, T* grad);

}  // namespace wfst_entropy

// From a joiner's logits to the scores of the arcs at each node, and back from their gradients: one read of the logits
// each way, and no tensor of log-probabilities.
#pragma once

#include <nanobind/nanobind.h>

#include <cstdint>

#include "softmax_loops.h"

namespace wfst_entropy {

// Row is float, double, Float16 or BFloat16.
template <class Row>
struct LogitBatch {
  int64_t num_utterances, num_frames, width, num_symbols;
  int64_t label_width;  // of a plane of labels: W - 1, for the last node has none, or W where windows go on
  const Row* logits;  // (N, T, W, C), unit stride over C
  int64_t utterance_stride, frame_stride, label_stride;
  const int64_t* targets;
  const int64_t* target_offsets;  // (N,) where an utterance's labels begin in targets
  const int64_t* logit_lengths;   // (N,)
  const int64_t* target_lengths;  // (N,)
  const int64_t* begins;          // (N, T) how many labels come before the first node of a frame, or null for none
  int64_t blank;
  bool normalise;  // whether the scores are those of a softmax, or the logits themselves
  int num_threads;
};

// What a forward call writes for the nodes inside the lengths; those outside become 0. Contiguous.
template <class T>
struct NodeScores {
  T* blank;  // (N, T, W)
  T* label;  // (N, T, label_width)
  T* max;    // (N, T, W) of the row; max and scale are not touched without a softmax
  T* scale;  // (N, T, W) 1 / sum exp(row - max)
};

// bad_node: (N, T), -1, or the first node of the frame whose row gives no scores: a NaN or +inf is in it, or nothing but
// -inf; without a softmax, a score that is used is NaN or above 2^26.
template <class Row>
void rnnt_logits_forward(const LogitBatch<Row>& batch, const NodeScores<Computed<Row>>& scores, int64_t* bad_node);

// Writes the gradient to every element of grad, contiguous (N, T, W, C), which may be the logits' own memory. max and
// scale are from the forward call; blank and label are the gradients of the scores.
template <class Row>
void rnnt_logits_backward(const LogitBatch<Row>& batch, const NodeScores<const Computed<Row>>& grads, Row* grad);

void bind_rnnt_logits(nanobind::module_& m);

}  // namespace wfst_entropy

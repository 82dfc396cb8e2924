// Likelihood, alignment entropy and their gradients for any graphs against dense frame scores.
#pragma once

#include <cstdint>

namespace wfst_entropy {

// A vector of graphs. Every arc consumes one frame, save those with label -1, which follow the last frame.
template <class T>
struct GraphVec {
  int64_t num_graphs;
  const int32_t* arcs;          // (A, 3): source and destination within the graph, label; ordered by graph and source
  const T* scores;              // (A,)
  const int64_t* state_splits;  // (num_graphs + 1,)
  const int64_t* arc_splits;    // (num_graphs + 1,)
};

// Sequences of frames; sequence s has graph s, or graph 0 if there is only one.
template <class T>
struct DenseVec {
  int64_t num_sequences;
  const T* scores;  // (N, T, C), unit stride over C
  int64_t utterance_stride;
  int64_t frame_stride;
  const int64_t* utterances;    // (S,)
  const int64_t* start_frames;  // (S,)
  const int64_t* lengths;       // (S,)
  int num_threads;
};

// Fills cell_offsets and returns how many values the saved cells of all sequences take.
int64_t intersect_dense_workspace(int64_t num_sequences, int64_t num_graphs, const int64_t* state_splits,
                                  const int64_t* lengths, int64_t* cell_offsets);

// As ctc_forward; bad_frame counts from the sequence's first frame.
template <class T>
void intersect_dense_forward(const GraphVec<T>& graphs, const DenseVec<T>& dense, T* cells,
                             const int64_t* cell_offsets, double* nll, double* entropy, uint8_t* path_count,
                             int64_t* bad_frame, int64_t* bad_symbol);

// Adds the gradient of sum(grad_nll * nll + grad_entropy * entropy) to grad_dense, contiguous (N, num_frames, C) and
// zero before the call, and writes it to grad_graph (nullptr: not wanted): (A,), or (S, A) if one graph is shared.
template <class T>
void intersect_dense_backward(const GraphVec<T>& graphs, const DenseVec<T>& dense, const T* cells,
                              const int64_t* cell_offsets, const uint8_t* path_count, const double* grad_nll,
                              const double* grad_entropy, int64_t num_frames, int64_t num_symbols, T* grad_dense,
                              T* grad_graph);

}  // namespace wfst_entropy

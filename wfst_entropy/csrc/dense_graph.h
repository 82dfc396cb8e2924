// A graph regrouped for the loops of dense_loops.h.
//
// Forward, the reads of a row are the arcs into one state with one label, so that the emission is multiplied once per
// row and the posterior of a row is that of its label. A state entered by several labels, or by many arcs, has a
// further row that merges those. Backward, the reads of a row are the arcs that leave one state, each reading the
// forward row that it is in: there, emission and backward cell of the destination have been multiplied.
#pragma once

#include <cstdint>
#include <vector>

#include "dense_loops.h"

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

struct EmittingArc {
  int32_t src, dst;
  int32_t symbol;  // index into DenseGraph::symbols
};

template <class T>
struct FinalArc {
  int32_t src;
  int64_t number;  // of the arc, within the graph
  Weight<T> weight;
};

// The memory behind a RowTable.
template <class T>
struct Rows {
  RowTable<T> table() const;
  int64_t width() const { return kLanes * (static_cast<int64_t>(begins.size()) - 1); }
  int64_t num_weighted_rows() const { return kLanes * num_weighted; }
  int64_t num_weighted_reads() const { return kLanes * begins[num_weighted]; }

  int64_t num_weighted = 0;
  std::vector<int64_t> begins{0};
  std::vector<int32_t> index;
  std::vector<T> m, ln;
  std::vector<Int<T>> e;
  std::vector<int32_t> row_of_state;  // where the cell of each state stands
};

// Arcs without mass are left out.
template <class T>
struct DenseGraph {
  DenseGraph(const GraphVec<T>& graphs, int64_t g);

  int64_t num_states, first_arc, num_arcs;
  std::vector<int32_t> symbols;        // the labels used, ascending
  std::vector<EmittingArc> emitting;   // ordered by source
  std::vector<FinalArc<T>> final;      // ordered by source
  Rows<T> forward, backward;
  std::vector<int32_t> symbol_of_row;  // of the weighted forward rows; symbols.size() for one without arcs
  std::vector<int64_t> symbol_splits;  // of each symbol, where its rows begin in rows_of_symbol
  std::vector<int32_t> rows_of_symbol;
  std::vector<int32_t> dst_of_row;     // of the weighted forward rows: where its state stands in a backward frame
  std::vector<int32_t> src_of_row;     // of the weighted backward rows: where its state stands in a forward frame
  std::vector<int64_t> arc_of_read;    // of the weighted backward reads: the arc within the graph, or -1
};

template <class T>
std::vector<DenseGraph<T>> dense_graphs(const GraphVec<T>& graphs, int num_threads);

}  // namespace wfst_entropy

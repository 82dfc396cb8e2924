// What a search finds for one utterance: a lattice or a path.
#pragma once

#include <cstdint>
#include <vector>

#include "graph.h"
#include "search_graph.h"

namespace wfst_entropy {

// States are in topological order; the last one is final. Without a path there is no state.
struct FoundFsa {
  std::vector<int64_t> splits;  // of each state, where its arcs begin
  std::vector<Arc> arcs;
  std::vector<int64_t> source;  // numbers of graph arcs; -1 for moves of a topology and final arcs of a partial FSA
  std::vector<int32_t> frames;  // of each arc; for one that consumes none, the frame after it
  std::vector<float> read;      // frame scores, if they were kept
  std::vector<int32_t> rows;    // which of a frame's rows of scores, if there are several; -1 for none
  bool partial = false;         // no final state was reached, so any state at the end is final
};

// How the path of a search ends.
struct PathEnd {
  int32_t arc;  // the final arc, -1 for none of the graph
  bool partial;
};

// The FSA of one path of moves. `read`, if not null, are the scores of those that emit; `epsilon` labels the others.
FoundFsa path_fsa(const SearchGraph& graph, const std::vector<int32_t>& moves, const std::vector<float>* read,
                  PathEnd end, int32_t epsilon);

}  // namespace wfst_entropy

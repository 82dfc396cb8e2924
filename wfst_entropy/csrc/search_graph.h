// Graphs as a search reads them: the arcs of a state together, those that a frame can cut off early in order of score.
#pragma once

#include <cstdint>
#include <limits>
#include <vector>

#include "graph.h"

namespace wfst_entropy {

// The label of arcs that consume no frame. Final arcs keep kFinalLabel.
constexpr int32_t kNoFrame = -2;

struct SearchArc {
  int32_t dst, label;
  float score;
};

// None: the graph's own labels are what a frame emits. Else they are tokens, epsilon being 0, and the CTC topology lies
// in front of the graph without being composed with it.
enum class Topology { kNone, kStandard, kModified };

// One FSA, without arcs of no mass. The states of a search are those of the graph or, with a topology, its nodes.
struct SearchGraph {
  // Where the arcs of a state begin: emitting, without a frame, final. The next state's emitting ones are the end.
  // Emitting arcs: label 0 first if it is blank, then from the best score down.
  struct State {
    int32_t emitting, silent, final;
  };

  // A state together with the token that was spoken last, 0 being blank. Arcs without a frame are taken right after the
  // token, before it is repeated or a blank follows: so no sequence of arcs and frame labels has two paths. A state
  // with such arcs therefore has each node twice: a fresh one, and that which repeats and blanks lead to.
  struct Node {
    int32_t state, token;
    int32_t stay;   // where a repeat of the token leads, the same node but not fresh
    int32_t blank;  // where a blank leads: the first node of the state
  };

  Topology topology = Topology::kNone;
  int32_t start = 0;          // as a state of the search
  int32_t largest_label = 0;  // what frames must be able to emit
  int32_t num_levels = 0;     // one more than the most arcs without a frame in a row; 0 if there are none
  std::vector<State> states;  // one more than there are
  std::vector<SearchArc> arcs;
  std::vector<int32_t> source;   // of each arc: its number in the vector of FSAs
  std::vector<int32_t> level;    // of each state: arcs without a frame lead to higher levels; empty if there are none
  std::vector<bool> has_silent;  // of each state of the search; empty if there are no arcs without a frame
  std::vector<Node> nodes;       // with a topology
  std::vector<int32_t> silent_dst;    // with a topology: of each arc without a frame of each fresh node, in their order
  std::vector<int64_t> first_silent;  // of each state: where those of its fresh nodes begin

  bool empty() const { return states.size() < 2; }
  int32_t num_search_states() const {
    return static_cast<int32_t>(topology == Topology::kNone ? states.size() - 1 : nodes.size());
  }
  int64_t bytes() const;
};

// `epsilon` is the label that consumes no frame, or kNoLabel. Throws CycleError if arcs without a frame form a cycle,
// InputError for scores that are NaN or above kSearchScoreLimit, LimitError for too many nodes.
SearchGraph make_search_graph(const FsaVecView& fsas, int64_t number, Topology topology, int32_t epsilon,
                              Progress& progress);

constexpr int32_t kNoLabel = std::numeric_limits<int32_t>::min();
constexpr double kSearchScoreLimit = 1 << 26;  // scores below its negative are no mass

}  // namespace wfst_entropy

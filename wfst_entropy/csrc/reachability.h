// Which states a search from the start state finds, and which one against the arcs from the final state.
#pragma once

#include <vector>

#include "graph.h"

namespace wfst_entropy {

// Marks every state that the start state of an FSA with states reaches, and shows `visit` each arc that leaves one.
template <class Visit>
std::vector<uint8_t> accessible(const FsaView& fsa, Progress& progress, Visit visit) {
  std::vector<uint8_t> seen(fsa.num_states, 0);
  std::vector<int32_t> stack{0};
  seen[0] = 1;
  while (!stack.empty()) {
    const int32_t state = stack.back();
    stack.pop_back();
    for (int64_t a = fsa.splits[state]; a < fsa.splits[state + 1]; ++a) {
      progress.step();
      visit(fsa.arcs[a]);
      const int32_t dst = fsa.arcs[a].dst;
      if (!seen[dst]) {
        seen[dst] = 1;
        stack.push_back(dst);
      }
    }
  }
  return seen;
}

inline std::vector<uint8_t> accessible(const FsaView& fsa, Progress& progress) {
  return accessible(fsa, progress, [](const Arc&) {});
}

// Marks every state that reaches the final state of an FSA with states, over arcs grouped by their destination.
inline std::vector<uint8_t> coaccessible(const FsaView& fsa, Progress& progress) {
  std::vector<int64_t> begin(fsa.num_states + 1, 0);
  for (int64_t a = fsa.first_arc(); a < fsa.end_arc(); ++a) ++begin[fsa.arcs[a].dst + 1];
  for (int32_t s = 0; s < fsa.num_states; ++s) begin[s + 1] += begin[s];
  std::vector<int32_t> origin(fsa.num_arcs());
  std::vector<int64_t> next(begin.begin(), begin.end() - 1);
  for (int64_t a = fsa.first_arc(); a < fsa.end_arc(); ++a) origin[next[fsa.arcs[a].dst]++] = fsa.arcs[a].src;

  std::vector<uint8_t> seen(fsa.num_states, 0);
  std::vector<int32_t> stack{fsa.final_state()};
  seen[fsa.final_state()] = 1;
  while (!stack.empty()) {
    const int32_t state = stack.back();
    stack.pop_back();
    for (int64_t i = begin[state]; i < begin[state + 1]; ++i) {
      progress.step();
      if (!seen[origin[i]]) {
        seen[origin[i]] = 1;
        stack.push_back(origin[i]);
      }
    }
  }
  return seen;
}

}  // namespace wfst_entropy

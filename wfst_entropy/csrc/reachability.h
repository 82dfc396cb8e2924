// Which states a search from the start state finds.
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

}  // namespace wfst_entropy

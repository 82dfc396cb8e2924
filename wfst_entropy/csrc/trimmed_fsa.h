// One FSA as the operations that add weights up read it: only arcs of finite score on successful paths.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "graph.h"

namespace wfst_entropy {

struct TrimmedArc {
  int32_t src, dst, label;
  double score;
  int64_t number;  // of the arc in the whole vector
};

// States keep their order. The start state is 0 and the final one the last; without a successful path there are none.
struct TrimmedFsa {
  int64_t fsa;  // its number in the vector, for messages
  std::vector<int64_t> splits;
  std::vector<TrimmedArc> arcs;
  std::vector<int32_t> original;  // the number of each state in the FSA it was taken from

  int32_t num_states() const { return static_cast<int32_t>(original.size()); }
  int32_t final_state() const { return num_states() - 1; }
  bool empty() const { return original.empty(); }
};

// Throws InputError, naming the arc, for a score that is NaN or +inf.
TrimmedFsa trim(const FsaVecView& fsas, int64_t number, Progress& progress);

enum class Direction { kForward, kBackward };

// Some arcs of a TrimmedFsa, grouped by the state they leave or, backward, by the state they enter.
struct Links {
  Direction direction;
  std::vector<int64_t> splits;
  std::vector<int32_t> to;
  std::vector<int64_t> arc;  // index into TrimmedFsa::arcs

  int32_t num_states() const { return static_cast<int32_t>(splits.size()) - 1; }
};

// The links of the arcs for which `wanted(arc)`.
template <class Wanted>
Links make_links(const TrimmedFsa& fsa, Direction direction, Wanted wanted) {
  const bool forward = direction == Direction::kForward;
  Links links{direction, std::vector<int64_t>(fsa.num_states() + 1, 0), {}, {}};
  for (const TrimmedArc& arc : fsa.arcs) {
    if (wanted(arc)) ++links.splits[(forward ? arc.src : arc.dst) + 1];
  }
  for (int32_t s = 0; s < fsa.num_states(); ++s) links.splits[s + 1] += links.splits[s];
  links.to.resize(links.splits.back());
  links.arc.resize(links.splits.back());
  std::vector<int64_t> next(links.splits.begin(), links.splits.end() - 1);
  for (size_t a = 0; a < fsa.arcs.size(); ++a) {
    const TrimmedArc& arc = fsa.arcs[a];
    if (!wanted(arc)) continue;
    const int64_t place = next[forward ? arc.src : arc.dst]++;
    links.to[place] = forward ? arc.dst : arc.src;
    links.arc[place] = static_cast<int64_t>(a);
  }
  return links;
}

// The strongly connected component of each state. A link goes to a component with the same or a smaller number.
std::vector<int32_t> strong_components(const Links& links, Progress& progress);

// "FSA 3, cycle of states 4 -> 7 -> 4", shortened if it is long; `states` are those of the trimmed FSA, in order.
std::string name_cycle(const TrimmedFsa& fsa, const std::vector<int32_t>& states);

}  // namespace wfst_entropy

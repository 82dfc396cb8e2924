#include "trimmed_fsa.h"

#include <cmath>

namespace wfst_entropy {
namespace {

bool is_kept(double score) { return score != -std::numeric_limits<double>::infinity(); }

void check_score(const FsaView& fsa, int64_t number, int64_t a, const Progress& progress) {
  const double score = fsa.scores[a];
  if (!std::isnan(score) && score != std::numeric_limits<double>::infinity()) return;
  const Arc& arc = fsa.arcs[a];
  throw InputError(progress.operation() + ": arc " + std::to_string(a) + " (FSA " + std::to_string(number) +
                   ", state " + std::to_string(arc.src) + " to " + std::to_string(arc.dst) + ", label " +
                   std::to_string(arc.label) + ") has the score " + (std::isnan(score) ? "nan" : "inf") +
                   "; needed are finite log-weights or -inf. Look for a division by zero or an overflow where it "
                   "was computed.");
}

// Marks what `root` reaches over arcs of finite score.
std::vector<uint8_t> reached(const FsaView& fsa, Direction direction, Progress& progress) {
  const bool forward = direction == Direction::kForward;
  std::vector<int64_t> begin(fsa.num_states + 1, 0);
  for (int64_t a = fsa.first_arc(); a < fsa.end_arc(); ++a) {
    if (is_kept(fsa.scores[a])) ++begin[(forward ? fsa.arcs[a].src : fsa.arcs[a].dst) + 1];
  }
  for (int32_t s = 0; s < fsa.num_states; ++s) begin[s + 1] += begin[s];
  std::vector<int32_t> to(begin.back());
  std::vector<int64_t> next(begin.begin(), begin.end() - 1);
  for (int64_t a = fsa.first_arc(); a < fsa.end_arc(); ++a) {
    const Arc& arc = fsa.arcs[a];
    if (is_kept(fsa.scores[a])) to[next[forward ? arc.src : arc.dst]++] = forward ? arc.dst : arc.src;
  }
  std::vector<uint8_t> seen(fsa.num_states, 0);
  std::vector<int32_t> stack{forward ? 0 : fsa.final_state()};
  seen[stack.back()] = 1;
  while (!stack.empty()) {
    const int32_t state = stack.back();
    stack.pop_back();
    for (int64_t i = begin[state]; i < begin[state + 1]; ++i) {
      progress.step();
      if (seen[to[i]]) continue;
      seen[to[i]] = 1;
      stack.push_back(to[i]);
    }
  }
  return seen;
}

}  // namespace

TrimmedFsa trim(const FsaVecView& fsas, int64_t number, Progress& progress) {
  const FsaView fsa = fsas[number];
  TrimmedFsa trimmed;
  trimmed.fsa = number;
  trimmed.splits.push_back(0);
  if (fsa.empty()) return trimmed;
  for (int64_t a = fsa.first_arc(); a < fsa.end_arc(); ++a) check_score(fsa, number, a, progress);
  std::vector<uint8_t> keep = reached(fsa, Direction::kForward, progress);
  const std::vector<uint8_t> useful = reached(fsa, Direction::kBackward, progress);
  std::vector<int32_t> renumbered(fsa.num_states, -1);
  for (int32_t s = 0; s < fsa.num_states; ++s) {
    if (!(keep[s] &= useful[s])) continue;
    renumbered[s] = trimmed.num_states();
    trimmed.original.push_back(s);
  }
  for (int32_t s : trimmed.original) {
    for (int64_t a = fsa.splits[s]; a < fsa.splits[s + 1]; ++a) {
      const Arc& arc = fsa.arcs[a];
      if (!keep[arc.dst] || !is_kept(fsa.scores[a])) continue;
      trimmed.arcs.push_back({renumbered[s], renumbered[arc.dst], arc.label, fsa.scores[a], a});
    }
    trimmed.splits.push_back(static_cast<int64_t>(trimmed.arcs.size()));
  }
  return trimmed;
}

// Tarjan's algorithm, with a stack of its own: graphs can be deeper than the machine's stack.
std::vector<int32_t> strong_components(const Links& links, Progress& progress) {
  const int32_t num_states = links.num_states();
  constexpr int32_t kNone = -1;
  std::vector<int32_t> order(num_states, kNone), lowest(num_states), component(num_states, kNone), open;
  std::vector<int64_t> next(links.splits.begin(), links.splits.end() - 1);
  std::vector<int32_t> path;
  int32_t num_seen = 0, num_components = 0;
  const auto enter = [&](int32_t state) {
    order[state] = lowest[state] = num_seen++;
    open.push_back(state);
    path.push_back(state);
  };
  for (int32_t root = 0; root < num_states; ++root) {
    if (order[root] != kNone) continue;
    enter(root);
    while (!path.empty()) {
      progress.step();
      const int32_t state = path.back();
      if (next[state] < links.splits[state + 1]) {
        const int32_t to = links.to[next[state]++];
        if (order[to] == kNone) {
          enter(to);
        } else if (component[to] == kNone) {
          lowest[state] = std::min(lowest[state], order[to]);
        }
        continue;
      }
      path.pop_back();
      if (!path.empty()) lowest[path.back()] = std::min(lowest[path.back()], lowest[state]);
      if (lowest[state] != order[state]) continue;
      int32_t member;
      do {
        member = open.back();
        open.pop_back();
        component[member] = num_components;
      } while (member != state);
      ++num_components;
    }
  }
  return component;
}

std::string name_cycle(const TrimmedFsa& fsa, const std::vector<int32_t>& states) {
  constexpr size_t kShown = 10;
  std::string text = "FSA " + std::to_string(fsa.fsa) + ", cycle of states ";
  for (size_t i = 0; i < std::min(states.size(), kShown); ++i) {
    text += std::to_string(fsa.original[states[i]]) + " -> ";
  }
  return text + (states.size() > kShown ? "..." : std::to_string(fsa.original[states[0]]));
}

}  // namespace wfst_entropy

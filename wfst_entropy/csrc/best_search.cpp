#include "best_search.h"

#include <algorithm>
#include <cmath>
#include <unordered_map>

namespace wfst_entropy {
namespace {

constexpr double kInfinity = std::numeric_limits<double>::infinity();

// A cycle's score may be above zero by no more than this, times its largest score: scores that are sums of float32
// numbers are not exact, and going round for such a gain would never end.
constexpr double kTolerance = 1e-7;

}  // namespace

BestSearch::BestSearch(const TrimmedFsa& fsa, const Links& links, Progress& progress)
    : fsa_(fsa),
      links_(links),
      progress_(progress),
      component_(strong_components(links, progress)),
      distance_(links.num_states()),
      via_(links.num_states()),
      seen_(links.num_states(), 0) {}

void BestSearch::collect(int32_t source) {
  ++num_runs_;
  reached_.assign(1, source);
  seen_[source] = num_runs_;
  for (size_t next = 0; next < reached_.size(); ++next) {
    const int32_t state = reached_[next];
    distance_[state] = -kInfinity;
    via_[state] = -1;
    for (int64_t i = links_.splits[state]; i < links_.splits[state + 1]; ++i) {
      progress_.step();
      if (seen_[links_.to[i]] == num_runs_) continue;
      seen_[links_.to[i]] = num_runs_;
      reached_.push_back(links_.to[i]);
    }
  }
  // Links go to components with smaller numbers; within its own the source stays first.
  std::stable_sort(reached_.begin(), reached_.end(),
                   [this](int32_t a, int32_t b) { return component_[a] > component_[b]; });
}

void BestSearch::run(int32_t source) {
  collect(source);
  distance_[source] = 0;
  for (size_t begin = 0, end; begin < reached_.size(); begin = end) {
    end = begin + 1;
    while (end < reached_.size() && component_[reached_[end]] == component_[reached_[begin]]) ++end;
    relax_cyclic(&reached_[begin], &reached_[begin] + (end - begin));
    for (size_t r = begin; r < end; ++r) {
      const int32_t state = reached_[r];
      for (int64_t i = links_.splits[state]; i < links_.splits[state + 1]; ++i) {
        const int32_t to = links_.to[i];
        const double distance = distance_[state] + fsa_.arcs[links_.arc[i]].score;
        if (component_[to] == component_[state] || distance <= distance_[to]) continue;
        distance_[to] = distance;
        via_[to] = links_.arc[i];
      }
    }
  }
}

// Bellman and Ford's rounds within one component.
void BestSearch::relax_cyclic(const int32_t* begin, const int32_t* end) {
  const int32_t component = component_[*begin];
  double largest = 0, gains = 0;
  bool cyclic = false;
  for (const int32_t* state = begin; state != end; ++state) {
    for (int64_t i = links_.splits[*state]; i < links_.splits[*state + 1]; ++i) {
      if (component_[links_.to[i]] != component) continue;
      cyclic = true;
      const double score = fsa_.arcs[links_.arc[i]].score;
      largest = std::max(largest, std::abs(score));
      gains += std::max(score, 0.0);
    }
  }
  if (!cyclic) return;
  // A score below minus the sum of all gains (a mask of -1e30, say) is on no cycle that comes near a gain.
  const double tolerance = kTolerance * std::max(1.0, std::min(largest, gains));
  std::vector<int32_t> active(begin, end), changed;
  int64_t improvements = 0;
  while (!active.empty()) {
    changed.clear();
    for (int32_t state : active) {
      if (distance_[state] == -kInfinity) continue;
      for (int64_t i = links_.splits[state]; i < links_.splits[state + 1]; ++i) {
        progress_.step();
        const int32_t to = links_.to[i];
        if (component_[to] != component) continue;
        const double distance = distance_[state] + fsa_.arcs[links_.arc[i]].score;
        if (distance <= distance_[to] + tolerance) continue;
        distance_[to] = distance;
        via_[to] = links_.arc[i];
        changed.push_back(to);
        // A look at all best arcs now and then costs no more than the improvements did.
        if (++improvements % (end - begin) == 0) throw_if_cycle(begin, end);
      }
    }
    std::sort(changed.begin(), changed.end());
    changed.erase(std::unique(changed.begin(), changed.end()), changed.end());
    active.swap(changed);
  }
}

int32_t BestSearch::before(int32_t state) const {
  const TrimmedArc& arc = fsa_.arcs[via_[state]];
  return links_.direction == Direction::kForward ? arc.src : arc.dst;
}

// Best arcs that form a circle have a gain all round.
void BestSearch::throw_if_cycle(const int32_t* begin, const int32_t* end) const {
  std::unordered_map<int32_t, const int32_t*> met;  // state -> the state of the component from which it was first met
  for (const int32_t* first = begin; first != end; ++first) {
    progress_.step();
    int32_t state = *first;
    while (component_[state] == component_[*begin] && met.try_emplace(state, first).second && via_[state] >= 0) {
      state = before(state);
    }
    const auto found = met.find(state);
    if (found != met.end() && found->second == first && via_[state] >= 0) throw_cycle(state);
  }
}

void BestSearch::throw_cycle(int32_t state) const {
  std::vector<int32_t> cycle;
  double score = 0;
  int32_t s = state;
  do {
    cycle.push_back(s);
    score += fsa_.arcs[via_[s]].score;
    s = before(s);
  } while (s != state);
  if (links_.direction == Direction::kForward) std::reverse(cycle.begin() + 1, cycle.end());
  throw CycleError(progress_.operation() + ": " + name_cycle(fsa_, cycle) + " has the positive score " +
                   std::to_string(score) +
                   ", so that going round it for ever is best; needed are cycles whose scores add up to 0 or less. "
                   "Subtract a constant from its scores, or remove the cycle.");
}

std::vector<int64_t> BestSearch::path(int32_t state) const {
  std::vector<int64_t> arcs;
  for (; via_[state] >= 0; state = before(state)) arcs.push_back(via_[state]);
  std::reverse(arcs.begin(), arcs.end());
  return arcs;
}

}  // namespace wfst_entropy

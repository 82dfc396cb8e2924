#include "log_closure.h"

#include <algorithm>
#include <cmath>
#include <set>

namespace wfst_entropy {
namespace {

constexpr double kZero = -std::numeric_limits<double>::infinity();

double log_add(double a, double b) {
  if (a < b) std::swap(a, b);
  return b == kZero ? a : a + std::log1p(std::exp(b - a));
}

void add_to(LogClosure::Row& row, int32_t state, double weight) {
  const auto [place, is_new] = row.try_emplace(state, weight);
  if (!is_new) place->second = log_add(place->second, weight);
}

}  // namespace

LogClosure::LogClosure(const TrimmedFsa& fsa, const Links& links, Progress& progress)
    : fsa_(fsa), links_(links), progress_(progress), held_(progress), rows_held_(progress), component_of_(strong_components(links, progress)) {
  for (int32_t s = 0; s < links.num_states(); ++s) {
    if (component_of_[s] >= static_cast<int32_t>(components_.size())) components_.resize(component_of_[s] + 1);
    components_[component_of_[s]].states.push_back(s);
  }
}

// Kleene's algorithm: one state after the other is allowed on the way. Nothing is subtracted but in the star, so that
// small totals keep their digits; the star exists at every step if and only if the sum over all paths converges.
void LogClosure::solve(Component& component) {
  const size_t n = component.states.size();
  std::unordered_map<int32_t, size_t> place;
  for (size_t i = 0; i < n; ++i) place[component.states[i]] = i;
  held_.add(static_cast<int64_t>(n) * static_cast<int64_t>(n) * sizeof(double));
  std::vector<double> total(n * n, kZero);
  for (size_t i = 0; i < n; ++i) {
    const int32_t state = component.states[i];
    for (int64_t l = links_.splits[state]; l < links_.splits[state + 1]; ++l) {
      const auto to = place.find(links_.to[l]);
      if (to == place.end()) continue;
      double& entry = total[i * n + to->second];
      entry = log_add(entry, fsa_.arcs[links_.arc[l]].score);
    }
  }
  for (size_t m = 0; m < n; ++m) {
    if (total[m * n + m] >= 0) throw_cycle(component.states[m]);
    const double star = total[m * n + m] == kZero ? 0 : -std::log(-std::expm1(total[m * n + m]));
    for (size_t i = 0; i < n; ++i) {
      if (total[i * n + m] == kZero) continue;
      const double reach = total[i * n + m] + star;
      for (size_t j = 0; j < n; ++j) {
        progress_.step();
        if (j != m && i != m) total[i * n + j] = log_add(total[i * n + j], reach + total[m * n + j]);
      }
      if (i != m) total[i * n + m] = reach;
    }
    for (size_t j = 0; j < n; ++j) total[m * n + j] += star;
  }
  for (size_t i = 0; i < n; ++i) total[i * n + i] = log_add(total[i * n + i], 0);
  component.within = std::move(total);
}

const LogClosure::Row& LogClosure::row(int32_t source) {
  const auto [place, is_new] = rows_.try_emplace(source);
  Row& row = place->second;
  if (!is_new) return row;
  row[source] = 0;
  // Links lead to components with smaller numbers.
  std::set<int32_t> waiting{component_of_[source]};
  while (!waiting.empty()) {
    progress_.step();
    Component& component = components_[*waiting.rbegin()];
    waiting.erase(std::prev(waiting.end()));
    if (component.within.empty()) solve(component);
    send(component, row);
    for (int32_t state : component.states) {
      const double weight = row.at(state);
      for (int64_t l = links_.splits[state]; l < links_.splits[state + 1]; ++l) {
        if (component_of_[links_.to[l]] == component_of_[state]) continue;
        add_to(row, links_.to[l], weight + fsa_.arcs[links_.arc[l]].score);
        waiting.insert(component_of_[links_.to[l]]);
      }
    }
  }
  constexpr int64_t kEntryBytes = 40;
  rows_held_.add(static_cast<int64_t>(row.size()) * kEntryBytes);
  return row;
}

// What has arrived at the states of a component goes all ways within it.
void LogClosure::send(const Component& component, Row& row) const {
  const size_t n = component.states.size();
  if (n == 1 && component.within[0] == 0) return;
  std::vector<double> arrived(n, kZero), sent(n, kZero);
  for (size_t i = 0; i < n; ++i) {
    const auto found = row.find(component.states[i]);
    if (found != row.end()) arrived[i] = found->second;
  }
  for (size_t i = 0; i < n; ++i) {
    if (arrived[i] == kZero) continue;
    for (size_t j = 0; j < n; ++j) {
      progress_.step();
      sent[j] = log_add(sent[j], arrived[i] + component.within[i * n + j]);
    }
  }
  for (size_t j = 0; j < n; ++j) row[component.states[j]] = sent[j];
}

// Names a shortest cycle through the state.
void LogClosure::throw_cycle(int32_t state) const {
  std::unordered_map<int32_t, int32_t> before;
  std::vector<int32_t> queue{state};
  for (size_t next = 0; next < queue.size() && before.count(state) == 0; ++next) {
    for (int64_t l = links_.splits[queue[next]]; l < links_.splits[queue[next] + 1]; ++l) {
      const int32_t to = links_.to[l];
      if (component_of_[to] == component_of_[state] && before.try_emplace(to, queue[next]).second) queue.push_back(to);
    }
  }
  std::vector<int32_t> cycle{state};
  for (int32_t s = before.at(state); s != state; s = before.at(s)) cycle.push_back(s);
  if (links_.direction == Direction::kForward) std::reverse(cycle.begin() + 1, cycle.end());
  throw CycleError(progress_.operation() + ": " + name_cycle(fsa_, cycle) +
                   " is among cycles whose total weight is 1 or more, so that the sum over all ways round them is "
                   "infinite; needed are cycles whose weights add up to less than 1 (log-weights below 0). Lower the "
                   "scores on it, use TropicalSemiring(), or remove the cycle.");
}

}  // namespace wfst_entropy

#include "graph_order.h"

#include <algorithm>
#include <limits>
#include <string>

namespace wfst_entropy {
namespace {

// The arcs that leave each state, as targets grouped by source.
struct Leaving {
  Leaving(int64_t num_states, int64_t num_arcs, const int64_t* source, const int64_t* destination)
      : begin(num_states + 1, 0), target(num_arcs) {
    for (int64_t a = 0; a < num_arcs; ++a) ++begin[source[a] + 1];
    for (int64_t s = 0; s < num_states; ++s) begin[s + 1] += begin[s];
    std::vector<int64_t> next(begin.begin(), begin.end() - 1);
    for (int64_t a = 0; a < num_arcs; ++a) target[next[source[a]]++] = static_cast<int32_t>(destination[a]);
  }

  std::vector<int64_t> begin;
  std::vector<int32_t> target;
};

}  // namespace

GraphOrder::GraphOrder(int64_t num_states, int64_t num_arcs, const int64_t* source, const int64_t* destination,
                       std::vector<int64_t> starts, std::vector<int64_t> ends, Progress& progress)
    : state(num_states), start(num_states, 0), entering(num_states + 1, 0), from(num_arcs), arc(num_arcs) {
  if (num_states > std::numeric_limits<int32_t>::max())
    throw LimitError("shortest_distance: " + std::to_string(num_states) +
                     " states in all are more than 32-bit numbers can count; split the vector");
  for (int64_t a = 0; a < num_arcs; ++a) {
    if (source[a] < 0 || source[a] >= num_states || destination[a] < 0 || destination[a] >= num_states)
      throw InputError("arcs: arc " + std::to_string(a) +
                       " leaves its vector; make a new Fsa instead of writing to fsa.arcs");
  }
  const std::vector<int32_t> component = find_components(source, destination, progress);
  std::vector<int32_t> position(num_states);
  for (int64_t p = 0; p < num_states; ++p) position[state[p]] = static_cast<int32_t>(p);
  std::vector<uint8_t> end(num_states, 0);
  for (int64_t s : starts) start[position[s]] = 1;
  for (int64_t s : ends) end[position[s]] = 1;
  order_arcs(source, destination, position);
  find_blocks(component, end);
}

// Tarjan's algorithm, with a stack of its own. It completes components in reverse topological order, so `state` is
// filled from the back. Returns the component of each position.
std::vector<int32_t> GraphOrder::find_components(const int64_t* source, const int64_t* destination,
                                                 Progress& progress) {
  const int32_t n = num_states();
  const Leaving leaving(n, num_arcs(), source, destination);
  std::vector<int64_t> next(leaving.begin.begin(), leaving.begin.end() - 1);
  constexpr int32_t kUnseen = -1, kDone = std::numeric_limits<int32_t>::max();
  std::vector<int32_t> low(n, kUnseen), index(n, 0), stack, path, component(n);
  int32_t counter = 0, free = n, num_components = 0;
  for (int32_t root = n - 1; root >= 0; --root) {
    if (low[root] != kUnseen) continue;
    path.push_back(root);
    while (!path.empty()) {
      const int32_t s = path.back();
      if (low[s] == kUnseen) {
        low[s] = index[s] = counter++;
        stack.push_back(s);
      }
      bool descends = false;
      for (; next[s] < leaving.begin[s + 1]; ++next[s]) {
        progress.step();
        const int32_t t = leaving.target[next[s]];
        if (low[t] == kUnseen) {
          path.push_back(t);
          descends = true;
          break;
        }
        if (low[t] != kDone) low[s] = std::min(low[s], low[t]);
      }
      if (descends) continue;
      path.pop_back();
      if (low[s] != index[s]) continue;
      int32_t member;
      do {
        member = stack.back();
        stack.pop_back();
        low[member] = kDone;
        state[--free] = member;
        component[free] = num_components;
      } while (member != s);
      ++num_components;
    }
  }
  return component;
}

void GraphOrder::order_arcs(const int64_t* source, const int64_t* destination, const std::vector<int32_t>& position) {
  for (int64_t a = 0; a < num_arcs(); ++a) ++entering[position[destination[a]] + 1];
  for (int32_t p = 0; p < num_states(); ++p) entering[p + 1] += entering[p];
  std::vector<int64_t> next(entering.begin(), entering.end() - 1);
  for (int64_t a = 0; a < num_arcs(); ++a) {
    const int64_t i = next[position[destination[a]]]++;
    from[i] = position[source[a]];
    arc[i] = a;
  }
}

void GraphOrder::find_blocks(const std::vector<int32_t>& component, const std::vector<uint8_t>& end) {
  const int32_t n = num_states();
  std::vector<uint8_t> reached(start), reaches(end);
  const auto block_end = [&](int32_t p) {
    int32_t q = p + 1;
    while (q < n && component[q] == component[p]) ++q;
    return q;
  };
  for (int32_t p = 0; p < n;) {
    const int32_t q = block_end(p);
    bool any = false, inside = false;
    for (int32_t i = p; i < q; ++i) {
      any |= reached[i] != 0;
      for (int64_t e = entering[i]; e < entering[i + 1]; ++e) {
        any |= reached[from[e]] != 0;
        inside |= from[e] >= p;
      }
    }
    std::fill(reached.begin() + p, reached.begin() + q, any);
    if (inside) blocks.push_back({p, q, any});
    p = q;
  }
  auto block = blocks.rbegin();
  for (int32_t q = n; q > 0;) {
    int32_t p = q - 1;
    if (block != blocks.rend() && block->end == q) {
      p = block->begin;
      const bool any = std::any_of(reaches.begin() + p, reaches.begin() + q, [](uint8_t r) { return r != 0; });
      std::fill(reaches.begin() + p, reaches.begin() + q, any);
      block->useful = block->useful && any;
      ++block;
    }
    for (int32_t i = p; i < q; ++i) {
      if (!reaches[i]) continue;
      for (int64_t e = entering[i]; e < entering[i + 1]; ++e) reaches[from[e]] = 1;
    }
    q = p;
  }
}

}  // namespace wfst_entropy

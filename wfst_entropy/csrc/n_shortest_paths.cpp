// The n best paths of each FSA, or the best paths of its n best strings: a search from the start that knows, for each
// state, how good the best way on to the final state is (A* with the exact distance; Mohri and Riley 2002, "An efficient
// algorithm for the n-best-strings problem", which determinises on the way as unique_paths does).
#include <algorithm>
#include <queue>
#include <unordered_map>

#include "best_search.h"
#include "surgery.h"
#include "trace_tree.h"

namespace wfst_entropy {
namespace {

struct Path {
  double total;  // of the best path that begins so
  int64_t length;
  int64_t order;  // in which it was found
  TraceTree::Node trace;
  int32_t state;
};

// Whether `a` is to be gone on with later than `b`.
struct Later {
  template <class P>
  bool operator()(const P& a, const P& b) const {
    if (a.total != b.total) return a.total < b.total;
    return a.length != b.length ? a.length > b.length : a.order > b.order;
  }
};

using Paths = std::vector<std::vector<int64_t>>;  // indexes into TrimmedFsa::arcs

Paths best_paths(const TrimmedFsa& fsa, const BestSearch& to_final, int64_t n, Progress& progress) {
  Paths found;
  Held held(progress);
  TraceTree tree;
  std::priority_queue<Path, std::vector<Path>, Later> queue;
  std::vector<int64_t> times(fsa.num_states(), 0);
  int64_t order = 0;
  queue.push({to_final.distance(0), 0, order++, tree.root(), 0});
  while (!queue.empty() && static_cast<int64_t>(found.size()) < n) {
    const Path path = queue.top();
    queue.pop();
    // No more than n of the best paths have the best beginnings that lead to one state.
    if (++times[path.state] > n) continue;
    if (path.state == fsa.final_state()) {
      held.add(path.length * sizeof(int64_t));
      found.push_back(tree.arcs(tree.root(), path.trace));
      continue;
    }
    const double weight = tree.weight(tree.root(), path.trace);
    for (int64_t a = fsa.splits[path.state]; a < fsa.splits[path.state + 1]; ++a) {
      progress.step();
      const TrimmedArc& arc = fsa.arcs[a];
      if (times[arc.dst] >= n) continue;
      held.add(sizeof(Path) + TraceTree::kNodeBytes);
      queue.push({weight + arc.score + to_final.distance(arc.dst), path.length + 1, order++,
                  tree.add(path.trace, a, arc.score, 0), arc.dst});
    }
  }
  return found;
}

// All states that one string leads to, each by its best path.
struct Prefix {
  double total;
  int64_t length;
  int64_t order;
  std::vector<std::pair<int32_t, TraceTree::Node>> elements;
};

class UniquePaths {
 public:
  UniquePaths(const TrimmedFsa& fsa, const BestSearch& to_final, Progress& progress)
      : fsa_(fsa), to_final_(to_final), progress_(progress), held_(progress) {
    const Links links = make_links(fsa, Direction::kForward, [](const TrimmedArc&) { return true; });
    const std::vector<int32_t> component = strong_components(links, progress);
    double largest = 1;
    bool cyclic = false;
    for (const TrimmedArc& arc : fsa.arcs) {
      cyclic |= component[arc.src] == component[arc.dst];
      largest = std::max(largest, std::abs(arc.score));
    }
    // Going round a cycle without a loss would never end: each label costs a little more than rounding can gain.
    constexpr double kTolerance = 1e-7;
    if (cyclic) cost_ = kTolerance * largest;
  }

  Paths run(int64_t n) {
    Paths found;
    push({{0, tree_.root()}}, 0);
    while (!queue_.empty() && static_cast<int64_t>(found.size()) < n) {
      const Prefix prefix = queue_.top();
      queue_.pop();
      if (prefix.elements[0].first == fsa_.final_state()) {
        found.push_back(tree_.arcs(tree_.root(), prefix.elements[0].second));
        held_.add(found.back().size() * sizeof(int64_t));
        continue;
      }
      expand(prefix);
    }
    return found;
  }

 private:
  using Reached = std::unordered_map<int32_t, TraceTree::Node>;

  // Returns whether `node` is the best way to the state so far.
  bool arrive(Reached& reached, int32_t state, TraceTree::Node node) const {
    const auto [place, is_new] = reached.try_emplace(state, node);
    if (is_new) return true;
    constexpr double kTolerance = 1e-10;
    const double gain = tree_.weight(place->second, node);
    if (gain <= kTolerance) return false;
    place->second = node;
    return true;
  }

  void push(const Reached& start, int64_t length) {
    Reached reached = start;
    std::vector<int32_t> active;
    for (const auto& [state, node] : start) active.push_back(state);
    while (!active.empty()) {
      const int32_t state = active.back();
      active.pop_back();
      const TraceTree::Node node = reached.at(state);
      for (int64_t a = fsa_.splits[state]; a < fsa_.splits[state + 1]; ++a) {
        progress_.step();
        const TrimmedArc& arc = fsa_.arcs[a];
        if (arc.label == 0 && arrive(reached, arc.dst, tree_.add(node, a, arc.score, 0))) active.push_back(arc.dst);
      }
    }
    Prefix prefix{-std::numeric_limits<double>::infinity(), length, order_++, {}};
    for (const auto& [state, node] : reached) {
      prefix.elements.push_back({state, node});
      const double total = tree_.weight(tree_.root(), node) + to_final_.distance(state);
      prefix.total = std::max(prefix.total, total - cost_ * static_cast<double>(length));
    }
    std::sort(prefix.elements.begin(), prefix.elements.end());
    held_.add(sizeof(Prefix) + prefix.elements.size() * (sizeof(prefix.elements[0]) + TraceTree::kNodeBytes));
    queue_.push(std::move(prefix));
  }

  void expand(const Prefix& prefix) {
    std::unordered_map<int32_t, Reached> by_label;
    std::vector<int32_t> labels;
    for (const auto& [state, node] : prefix.elements) {
      for (int64_t a = fsa_.splits[state]; a < fsa_.splits[state + 1]; ++a) {
        progress_.step();
        const TrimmedArc& arc = fsa_.arcs[a];
        if (arc.label == 0) continue;
        const auto [place, is_new] = by_label.try_emplace(arc.label);
        if (is_new) labels.push_back(arc.label);
        arrive(place->second, arc.dst, tree_.add(node, a, arc.score, 0));
      }
    }
    for (int32_t label : labels) push(by_label.at(label), prefix.length + 1);
  }

  const TrimmedFsa& fsa_;
  const BestSearch& to_final_;
  Progress& progress_;
  Held held_;
  TraceTree tree_;
  std::priority_queue<Prefix, std::vector<Prefix>, Later> queue_;
  int64_t order_ = 0;
  double cost_ = 0;
};

int64_t add_paths(const TrimmedFsa& fsa, int64_t n, bool unique, FsaVecBuilder& builder, Progress& progress) {
  if (fsa.empty()) return 0;
  const Links links = make_links(fsa, Direction::kBackward, [](const TrimmedArc&) { return true; });
  BestSearch to_final(fsa, links, progress);
  to_final.run(fsa.final_state());
  const Paths paths =
      unique ? UniquePaths(fsa, to_final, progress).run(n) : best_paths(fsa, to_final, n, progress);
  for (const std::vector<int64_t>& path : paths) {
    for (int64_t a : path) {
      const int32_t state = builder.begin_state();
      builder.add_arc(state + 1, fsa.arcs[a].label, fsa.arcs[a].number);
    }
    builder.end_fsa();
  }
  return static_cast<int64_t>(paths.size());
}

nb::tuple n_shortest_paths(const FsaVecView& fsas, Progress& progress, int64_t n, bool unique) {
  FsaVecBuilder builder(progress, /*num_maps=*/1);
  std::vector<int64_t> num_paths;
  {
    nb::gil_scoped_release released;
    for (int64_t i = 0; i < fsas.num_fsas; ++i) {
      num_paths.push_back(add_paths(trim(fsas, i, progress), n, unique, builder, progress));
    }
  }
  return result(std::move(builder), std::move(num_paths));
}

}  // namespace

void bind_n_shortest_paths(nb::module_& m) { m.def("n_shortest_paths", &n_shortest_paths); }

}  // namespace wfst_entropy

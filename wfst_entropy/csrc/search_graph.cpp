// Makes graphs ready for a search.
#include "search_graph.h"

#include <algorithm>
#include <cmath>
#include <numeric>
#include <string>

namespace wfst_entropy {
namespace {

constexpr int32_t kNone = -1;

std::string name_arc(int64_t number, const FsaView& fsa, int64_t a) {
  const Arc& arc = fsa.arcs[a];
  return "FSA " + std::to_string(number) + ", arc " + std::to_string(a - fsa.first_arc()) + " [" +
         std::to_string(arc.src) + ", " + std::to_string(arc.dst) + ", " + std::to_string(arc.label) + "]";
}

// 0: blank, which no bound on the other labels' scores holds for; 1: emitting; 2: without a frame; 3: final.
int kind_of(int32_t label, bool has_blank) {
  if (label == kFinalLabel) return 3;
  if (label == kNoFrame) return 2;
  return label == 0 && has_blank ? 0 : 1;
}

class Maker {
 public:
  Maker(const FsaVecView& fsas, int64_t number, Topology topology, int32_t epsilon, Progress& progress)
      : fsa_(fsas[number]), number_(number), epsilon_(epsilon), progress_(progress) {
    graph_.topology = topology;
  }

  SearchGraph make() {
    if (fsa_.empty()) return std::move(graph_);
    for (int32_t s = 0; s < fsa_.num_states; ++s) add_state(s);
    const auto end = static_cast<int32_t>(graph_.arcs.size());
    graph_.states.push_back({end, end, end});
    find_levels();
    if (graph_.topology != Topology::kNone) add_nodes();
    if (graph_.num_levels > 0) {
      for (int32_t s = 0; s < graph_.num_search_states(); ++s) graph_.has_silent.push_back(can_pass(s));
    }
    return std::move(graph_);
  }

 private:
  const SearchGraph::State& state(int32_t s) const { return graph_.states[s]; }
  int32_t num_silent(int32_t s) const { return state(s).final - state(s).silent; }

  int32_t label_of(const Arc& arc) const {
    const int32_t epsilon = graph_.topology == Topology::kNone ? epsilon_ : kEpsilon;
    return arc.label == epsilon ? kNoFrame : arc.label;
  }

  void check(int64_t a) const {
    const Arc& arc = fsa_.arcs[a];
    const auto refuse = [&](const std::string& what) { throw InputError(name_arc(number_, fsa_, a) + what); };
    const bool is_final = arc.dst == fsa_.final_state();
    if (arc.dst < 0 || arc.dst >= fsa_.num_states || arc.label < kFinalLabel || is_final != (arc.label == kFinalLabel))
      refuse(": labels are at least 0, and -1 into the final state; make a new Fsa instead of writing to fsa.arcs.");
    if (!(fsa_.scores[a] <= kSearchScoreLimit))
      refuse(" has score " + std::to_string(fsa_.scores[a]) + "; scores are numbers up to 2**26, or -inf.");
  }

  void add_state(int32_t s) {
    const bool has_blank = graph_.topology == Topology::kNone;
    order_.clear();
    for (int64_t a = fsa_.splits[s]; a < fsa_.splits[s + 1]; ++a) {
      progress_.step();
      check(a);
      if (fsa_.scores[a] >= -kSearchScoreLimit) order_.push_back(a);
    }
    const auto kind = [&](int64_t a) { return kind_of(label_of(fsa_.arcs[a]), has_blank); };
    std::stable_sort(order_.begin(), order_.end(), [&](int64_t a, int64_t b) {
      if (kind(a) != kind(b)) return kind(a) < kind(b);
      return kind(a) == 1 && static_cast<float>(fsa_.scores[a]) > static_cast<float>(fsa_.scores[b]);
    });
    const auto count = [&](int k) {
      return static_cast<int32_t>(std::count_if(order_.begin(), order_.end(), [&](auto a) { return kind(a) == k; }));
    };
    const auto begin = static_cast<int32_t>(graph_.arcs.size());
    const int32_t silent = begin + count(0) + count(1);
    graph_.states.push_back({begin, silent, silent + count(2)});
    for (const int64_t a : order_) {
      const Arc& arc = fsa_.arcs[a];
      graph_.arcs.push_back({arc.dst, label_of(arc), static_cast<float>(fsa_.scores[a])});
      graph_.source.push_back(static_cast<int32_t>(a));
      if (kind(a) < 2) graph_.largest_label = std::max(graph_.largest_label, arc.label);
    }
  }

  // Orders the states by their arcs without a frame (Kahn's algorithm), and gives each its longest way from a source.
  void find_levels() {
    const int32_t num_states = fsa_.num_states;
    std::vector<int32_t> incoming(num_states, 0), level(num_states, 0);
    bool any = false;
    for_each_silent([&](int32_t, int32_t dst) {
      ++incoming[dst];
      any = true;
    });
    if (!any) return;
    for (int32_t s = 0; s < num_states; ++s)
      if (incoming[s] == 0) silent_order_.push_back(s);
    for (size_t i = 0; i < silent_order_.size(); ++i) {
      const int32_t s = silent_order_[i];
      for (int32_t a = state(s).silent; a < state(s).final; ++a) {
        const int32_t dst = graph_.arcs[a].dst;
        level[dst] = std::max(level[dst], level[s] + 1);
        graph_.num_levels = std::max(graph_.num_levels, level[dst] + 1);
        if (--incoming[dst] == 0) silent_order_.push_back(dst);
      }
    }
    if (static_cast<int32_t>(silent_order_.size()) < num_states) throw_cycle(incoming);
    graph_.level = std::move(level);
  }

  template <class Body>
  void for_each_silent(const Body& body) const {
    for (int32_t s = 0; s < fsa_.num_states; ++s)
      for (int32_t a = state(s).silent; a < state(s).final; ++a) body(s, graph_.arcs[a].dst);
  }

  // States with incoming arcs left lie on a cycle or behind one: going back from any of them ends in a cycle.
  [[noreturn]] void throw_cycle(const std::vector<int32_t>& incoming) const {
    std::vector<int32_t> before(fsa_.num_states, kNone), seen(fsa_.num_states, 0), path;
    for_each_silent([&](int32_t src, int32_t dst) {
      if (incoming[src] > 0) before[dst] = src;
    });
    auto s = static_cast<int32_t>(std::find_if(incoming.begin(), incoming.end(), [](auto n) { return n > 0; }) -
                                  incoming.begin());
    while (!seen[s]) {
      seen[s] = 1;
      s = before[s];
    }
    const int32_t first = s;
    do {
      path.push_back(s);
      s = before[s];
    } while (s != first);
    std::string text = std::to_string(first);
    constexpr size_t kShown = 10;
    for (size_t i = path.size(); i-- > 0 && path.size() - i <= kShown;) text += " -> " + std::to_string(path[i]);
    throw CycleError("FSA " + std::to_string(number_) + ": arcs that consume no frame form a cycle of states " + text +
                     (path.size() > kShown ? " -> ..." : "") +
                     "; a search would never leave it. Remove it (remove_epsilon), or check which label consumes no "
                     "frame.");
  }

  // The tokens after which each state can be reached: of its emitting arcs and, along arcs without a frame, of the
  // states before it.
  std::vector<std::vector<int32_t>> tokens_of_states() const {
    std::vector<std::vector<int32_t>> tokens(fsa_.num_states);
    const auto tidy = [](std::vector<int32_t>& list) {
      std::sort(list.begin(), list.end());
      list.erase(std::unique(list.begin(), list.end()), list.end());
    };
    for (int32_t s = 0; s < fsa_.num_states; ++s)
      for (int32_t a = state(s).emitting; a < state(s).silent; ++a)
        tokens[graph_.arcs[a].dst].push_back(graph_.arcs[a].label);
    for (auto& list : tokens) tidy(list);
    int64_t inherited = 0;
    for (const int32_t s : silent_order_) {
      tidy(tokens[s]);
      for (int32_t a = state(s).silent; a < state(s).final; ++a) {
        auto& list = tokens[graph_.arcs[a].dst];
        list.insert(list.end(), tokens[s].begin(), tokens[s].end());
        inherited += static_cast<int64_t>(tokens[s].size());
        progress_.grow(inherited, 0);
      }
    }
    return tokens;
  }

  void add_nodes() {
    std::vector<std::vector<int32_t>> tokens = tokens_of_states();
    std::vector<int32_t> first(fsa_.num_states + 1, 0);
    int64_t count = 0;
    for (int32_t s = 0; s < fsa_.num_states; ++s) {
      first[s] = static_cast<int32_t>(count);
      count += static_cast<int64_t>(tokens[s].size() + 1) * (num_silent(s) > 0 ? 2 : 1);
      progress_.grow(count, static_cast<int64_t>(graph_.arcs.size()));
    }
    graph_.nodes.reserve(count);
    for (int32_t s = 0; s < fsa_.num_states; ++s) {
      for (int32_t copy = 0; copy < (num_silent(s) > 0 ? 2 : 1); ++copy) {
        graph_.nodes.push_back({s, 0, first[s], first[s]});
        for (size_t i = 0; i < tokens[s].size(); ++i) {
          graph_.nodes.push_back({s, tokens[s][i], first[s] + 1 + static_cast<int32_t>(i), first[s]});
        }
      }
      tokens[s] = {};
    }
    first.back() = static_cast<int32_t>(count);
    link_nodes(first);
  }

  // Only the fresh nodes of a state have its arcs without a frame.
  bool can_pass(int32_t s) const {
    if (graph_.topology == Topology::kNone) return num_silent(s) > 0;
    const SearchGraph::Node& node = graph_.nodes[s];
    return node.stay != s && num_silent(node.state) > 0;
  }

  // The fresh node of a state after a token that can come before it.
  int32_t fresh_node(const std::vector<int32_t>& first, int32_t s, int32_t token) const {
    const int32_t size = (first[s + 1] - first[s]) / (num_silent(s) > 0 ? 2 : 1);
    const auto begin = graph_.nodes.begin() + first[s];
    const auto found = std::lower_bound(begin, begin + size, token,
                                        [](const SearchGraph::Node& node, int32_t t) { return node.token < t; });
    return static_cast<int32_t>(found - graph_.nodes.begin()) + (num_silent(s) > 0 ? size : 0);
  }

  void link_nodes(const std::vector<int32_t>& first) {
    for (int32_t s = 0; s < fsa_.num_states; ++s) {
      progress_.step();
      for (int32_t a = state(s).emitting; a < state(s).silent; ++a) {
        SearchArc& arc = graph_.arcs[a];
        arc.dst = fresh_node(first, arc.dst, arc.label);
      }
      graph_.first_silent.push_back(static_cast<int64_t>(graph_.silent_dst.size()));
      if (num_silent(s) == 0) continue;
      const int32_t end = first[s + 1];
      for (int32_t node = first[s] + (end - first[s]) / 2; node < end; ++node) {
        for (int32_t a = state(s).silent; a < state(s).final; ++a)
          graph_.silent_dst.push_back(fresh_node(first, graph_.arcs[a].dst, graph_.nodes[node].token));
        progress_.grow(static_cast<int64_t>(graph_.nodes.size()), static_cast<int64_t>(graph_.silent_dst.size()));
      }
    }
    graph_.start = fresh_node(first, 0, 0);
  }

  const FsaView fsa_;
  const int64_t number_;
  const int32_t epsilon_;
  Progress& progress_;
  SearchGraph graph_;
  std::vector<int64_t> order_;
  std::vector<int32_t> silent_order_;
};

template <class T>
int64_t bytes_of(const std::vector<T>& values) {
  return static_cast<int64_t>(values.capacity() * sizeof(T));
}

}  // namespace

int64_t SearchGraph::bytes() const {
  return bytes_of(states) + bytes_of(arcs) + bytes_of(source) + bytes_of(level) + bytes_of(nodes) +
         static_cast<int64_t>(has_silent.capacity() / 8) +
         bytes_of(silent_dst) + bytes_of(first_silent);
}

SearchGraph make_search_graph(const FsaVecView& fsas, int64_t number, Topology topology, int32_t epsilon,
                              Progress& progress) {
  return Maker(fsas, number, topology, epsilon, progress).make();
}

}  // namespace wfst_entropy

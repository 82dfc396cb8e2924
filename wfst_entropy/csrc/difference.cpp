// Difference: the paths of one FSA whose strings another does not accept.
#include <numeric>
#include <string>
#include <unordered_map>

#include "pair_graph.h"
#include "sorted_arcs.h"
#include "surgery.h"

namespace wfst_entropy {
namespace {

// The sets of states that strings lead to in one FSA, weights aside: the subset construction, worked out as needed.
class Subsets {
 public:
  static constexpr int32_t kNone = 0;  // the empty set: no longer string is accepted

  Subsets(const SortedArcs& arcs, int64_t first_state, const FsaView& fsa, Progress& progress)
      : arcs_(arcs), first_state_(first_state), progress_(progress), held_(progress), mark_(fsa.num_states, 0) {
    intern({});
    start_ = fsa.empty() ? kNone : intern(closure({0}));
  }

  int32_t start() const { return start_; }

  // Where the label leads from a subset.
  int32_t follow(int32_t subset, uint32_t label) {
    if (subset == kNone) return kNone;
    const int64_t known = transitions_.size();
    const int32_t n = transitions_.number(static_cast<uint64_t>(subset) << 32 | label);
    if (n < known) return targets_[n];
    std::vector<int32_t> reached;
    for (const int32_t state : *subsets_[subset]) {
      const ArcRange all = arcs_.leaving(first_state_ + state);
      for (const SortedArc* x = lower_bound(all, label); x != all.end && x->label == label; ++x) {
        reached.push_back(x->dst);
      }
      progress_.step();
    }
    targets_.push_back(intern(closure(std::move(reached))));
    return targets_.back();
  }

  // Whether a string that leads to the subset is accepted: a state of it has an arc into the final state.
  bool accepts(int32_t subset) const {
    return std::any_of(subsets_[subset]->begin(), subsets_[subset]->end(), [this](int32_t state) {
      const ArcRange all = arcs_.leaving(first_state_ + state);
      return !all.empty() && (all.end - 1)->label == static_cast<uint32_t>(kFinalLabel);
    });
  }

 private:
  struct Hash {
    size_t operator()(const std::vector<int32_t>& states) const {
      return std::accumulate(states.begin(), states.end(), size_t{0}, [](size_t hash, int32_t state) {
        return (hash ^ static_cast<uint32_t>(state)) * 0x9E3779B97F4A7C15u;
      });
    }
  };

  // Adds what epsilons reach; sorted, without repetitions.
  std::vector<int32_t> closure(std::vector<int32_t> states) {
    size_t size = 0;
    for (const int32_t state : states) {
      if (mark_[state]) continue;
      mark_[state] = 1;
      states[size++] = state;
    }
    states.resize(size);
    for (size_t i = 0; i < states.size(); ++i) {
      ArcRange all = arcs_.leaving(first_state_ + states[i]);
      const ArcRange epsilons = all.take_epsilons();
      for (const SortedArc* x = epsilons.begin; x != epsilons.end; ++x) {
        progress_.step();
        if (mark_[x->dst]) continue;
        mark_[x->dst] = 1;
        states.push_back(x->dst);
      }
    }
    for (const int32_t state : states) mark_[state] = 0;
    std::sort(states.begin(), states.end());
    return states;
  }

  int32_t intern(std::vector<int32_t> states) {
    const auto [place, is_new] = numbers_.try_emplace(std::move(states), static_cast<int32_t>(subsets_.size()));
    if (is_new) {
      subsets_.push_back(&place->first);
      constexpr int64_t kKnown = 72;
      held_.add(kKnown + static_cast<int64_t>(place->first.size() * sizeof(int32_t)));
      size_ += static_cast<int64_t>(place->first.size());
      if (size_ > progress_.max_arcs()) {
        throw LimitError(progress_.operation() + ": b is not deterministic, and " + std::to_string(subsets_.size()) +
                         " sets of its states, reached by different strings, outgrow max_arcs=" +
                         std::to_string(progress_.max_arcs()) + "; determinize and minimize b first.");
      }
    }
    return place->second;
  }

  const SortedArcs& arcs_;
  const int64_t first_state_;
  Progress& progress_;
  Held held_;
  std::vector<uint8_t> mark_;
  std::unordered_map<std::vector<int32_t>, int32_t, Hash> numbers_;
  std::vector<const std::vector<int32_t>*> subsets_;  // the keys of numbers_, which stay where they are
  int64_t size_ = 0;
  KeyTable transitions_;
  std::vector<int32_t> targets_;
  int32_t start_;
};

uint64_t pair_key(int32_t state, int32_t subset) {
  return static_cast<uint64_t>(state) << 32 | static_cast<uint32_t>(subset);
}

void subtract(const FsaView& a, Subsets& b, bool connect, FsaVecBuilder& builder, Progress& progress) {
  // All subsets with a's final state are one state: it has no arcs.
  const uint64_t final_key = pair_key(a.final_state(), Subsets::kNone);
  PairGraph graph(progress, builder);
  graph.number(pair_key(0, b.start()));
  for (int64_t s = 0; s < graph.num_states(); ++s) {
    graph.begin_state();
    const auto state = static_cast<int32_t>(graph.key(s) >> 32), subset = static_cast<int32_t>(graph.key(s));
    for (int64_t i = a.splits[state]; i < a.splits[state + 1]; ++i) {
      const Arc& arc = a.arcs[i];
      const auto source = static_cast<int32_t>(i);
      if (arc.label == kFinalLabel) {
        if (!b.accepts(subset)) graph.add_move(final_key, source, -1);
      } else {
        const int32_t next = arc.label == 0 ? subset : b.follow(subset, static_cast<uint32_t>(arc.label));
        graph.add_move(pair_key(arc.dst, next), source, -1);
      }
      progress.step();
    }
  }
  graph.write(builder, graph.find(final_key), connect, [&a](const Move& move) { return a.arcs[move.source].label; });
}

nb::tuple difference(const FsaVecView& a, const FsaVecView& b, Progress& progress, uintptr_t a_numbers,
                     uintptr_t b_numbers, int64_t num_pairs, bool connect) {
  FsaVecBuilder builder(progress, /*num_maps=*/1);
  const auto* a_number = reinterpret_cast<const int64_t*>(a_numbers);
  const auto* b_number = reinterpret_cast<const int64_t*>(b_numbers);
  {
    nb::gil_scoped_release released;
    check_arc_numbers(a, progress);
    check_arc_numbers(b, progress);
    const SortedArcs b_arcs(b, progress);
    for (int64_t n = 0; n < num_pairs; ++n) {
      if (a[a_number[n]].empty()) {
        builder.end_empty_fsa();
        continue;
      }
      Subsets subsets(b_arcs, b.fsa_splits[b_number[n]], b[b_number[n]], progress);
      subtract(a[a_number[n]], subsets, connect, builder, progress);
    }
  }
  return result(std::move(builder));
}

}  // namespace

void bind_difference(nb::module_& m) { m.def("difference", &difference); }

}  // namespace wfst_entropy

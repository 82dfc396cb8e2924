// Disambiguation in the tropical semiring: of the paths with one string, only the best remains.
//
// A state of the result is an old state with its rivals: the states that the same string leads to and that have a
// string in common that takes them to the final state, each with how much better its best path is. An arc stays if the
// best path to its destination comes over it; the rivals know that. Without rivals nothing has to be told apart, so
// this ends wherever the FSA is unambiguous, also where no deterministic one exists (compare Mohri and Riley 2015, "On
// the disambiguation of weighted automata").
#include <algorithm>
#include <cmath>
#include <unordered_map>
#include <unordered_set>

#include "surgery.h"
#include "trimmed_fsa.h"

namespace wfst_entropy {
namespace {

// Pairs of states that one string leads to from the start and another one from both to the final state.
class Rivals {
 public:
  Rivals(const TrimmedFsa& fsa, Progress& progress) : num_states_(fsa.num_states()), held_(progress) {
    std::unordered_map<int64_t, std::vector<int64_t>> before;  // pair -> pairs one label earlier
    std::vector<int64_t> queue{pair(0, 0)};
    before[queue[0]];
    for (size_t next = 0; next < queue.size(); ++next) {
      const int64_t from = queue[next];
      for_each_step(fsa, from, [&](int64_t to) {
        progress.step();
        const auto [place, is_new] = before.try_emplace(to);
        place->second.push_back(from);
        held_.add(kStepBytes + (is_new ? kPairBytes : 0));
        if (is_new) queue.push_back(to);
      });
    }
    const int64_t last = pair(fsa.final_state(), fsa.final_state());
    pairs_.insert(last);
    queue.assign(1, last);
    for (size_t next = 0; next < queue.size(); ++next) {
      for (int64_t from : before[queue[next]]) {
        if (pairs_.insert(from).second) queue.push_back(from);
      }
    }
  }

  bool are(int32_t a, int32_t b) const { return pairs_.count(pair(a, b)) > 0; }

 private:
  // In hash table and queue; vectors and tables have room to spare.
  static constexpr int64_t kPairBytes = 160, kStepBytes = 16;

  int64_t pair(int32_t a, int32_t b) const { return std::min(a, b) * num_states_ + std::max(a, b); }

  // Arcs are taken as sorted by label in `sorted_`, made for each state when it is first needed.
  template <class Visit>
  void for_each_step(const TrimmedFsa& fsa, int64_t from, Visit visit) {
    const auto& x = sorted(fsa, static_cast<int32_t>(from / num_states_));
    const auto& y = sorted(fsa, static_cast<int32_t>(from % num_states_));
    for (size_t i = 0, j = 0; i < x.size() && j < y.size();) {
      if (x[i].first != y[j].first) {
        ++(x[i].first < y[j].first ? i : j);
        continue;
      }
      size_t end = j;
      for (; end < y.size() && y[end].first == x[i].first; ++end) visit(pair(x[i].second, y[end].second));
      if (++i < x.size() && x[i].first != y[j].first) j = end;
    }
  }

  const std::vector<std::pair<int32_t, int32_t>>& sorted(const TrimmedFsa& fsa, int32_t state) {
    const auto [place, is_new] = sorted_.try_emplace(state);
    if (is_new) {
      for (int64_t a = fsa.splits[state]; a < fsa.splits[state + 1]; ++a) {
        place->second.push_back({fsa.arcs[a].label, fsa.arcs[a].dst});
      }
      std::sort(place->second.begin(), place->second.end());
    }
    return place->second;
  }

  int64_t num_states_;
  Held held_;
  std::unordered_map<int32_t, std::vector<std::pair<int32_t, int32_t>>> sorted_;
  std::unordered_set<int64_t> pairs_;
};

// A state and how much better the best path to it is than that to the state whose rival it is. Rivals are told apart by
// the rounded lead.
struct Rival {
  int32_t state;
  double lead;
  int64_t rounded;
  bool operator==(const Rival& other) const { return state == other.state && rounded == other.rounded; }
};

struct Node {
  int32_t state;
  std::vector<Rival> rivals;  // by state; without the state itself
  bool operator==(const Node& other) const { return state == other.state && rivals == other.rivals; }
};

struct NodeHash {
  size_t operator()(const Node& node) const {
    uint64_t hash = static_cast<uint64_t>(node.state);
    for (const Rival& r : node.rivals) {
      hash = (hash ^ static_cast<uint64_t>(r.state)) * 0x9E3779B97F4A7C15u;
      hash = (hash ^ static_cast<uint64_t>(r.rounded)) * 0xBF58476D1CE4E5B9u;
      hash ^= hash >> 31;
    }
    return hash;
  }
};

class Disambiguator {
 public:
  Disambiguator(const TrimmedFsa& fsa, double delta, FsaVecBuilder& builder, Progress& progress)
      : fsa_(fsa), delta_(delta), builder_(builder), progress_(progress), held_(progress), rivals_(fsa, progress) {}

  void run() {
    find_or_add({0, {}});
    const int64_t states_before = builder_.num_states();
    for (size_t i = 0; i < nodes_.size(); ++i) {
      try {
        progress_.grow(states_before + static_cast<int64_t>(nodes_.size()) + 1, builder_.num_arcs());
        builder_.begin_state();
        expand(Node(*nodes_[i]));
      } catch (const LimitError& error) {
        throw LimitError(error.what() + explain(*nodes_.back()));
      }
    }
    builder_.end_fsa();
  }

 private:
  // A way on from a state or one of its rivals.
  struct Step {
    int32_t label;
    double lead;  // of the state that it leaves
    int64_t arc;
  };

  void expand(const Node& node) {
    steps_.clear();
    add_steps(node.state, 0);
    for (const Rival& rival : node.rivals) add_steps(rival.state, rival.lead);
    std::sort(steps_.begin(), steps_.end(), [](const Step& a, const Step& b) { return a.label < b.label; });
    for (int64_t a = fsa_.splits[node.state]; a < fsa_.splits[node.state + 1]; ++a) {
      const TrimmedArc& arc = fsa_.arcs[a];
      Node next{arc.dst, {}};
      if (!follow(a, next)) continue;
      if (arc.label == kFinalLabel) {
        builder_.add_arc(FsaVecBuilder::kToFinal, kFinalLabel, arc.number);
      } else {
        builder_.add_arc(find_or_add(std::move(next)), arc.label, arc.number);
      }
    }
  }

  void add_steps(int32_t state, double lead) {
    for (int64_t a = fsa_.splits[state]; a < fsa_.splits[state + 1]; ++a) {
      steps_.push_back({fsa_.arcs[a].label, lead, a});
    }
  }

  // Finds the rivals after an arc of the state itself. Returns false if another arc is a better way to its destination;
  // of equally good ones that with the smallest number stays. Two rivals must agree on who is better, each by its own
  // account of the lead, which rounding may have changed by delta: so a lead of less than two is none.
  bool follow(int64_t chosen, Node& next) const {
    const TrimmedArc& arc = fsa_.arcs[chosen];
    auto step = std::lower_bound(steps_.begin(), steps_.end(), arc.label,
                                 [](const Step& s, int32_t label) { return s.label < label; });
    std::unordered_map<int32_t, double> leads;
    for (; step != steps_.end() && step->label == arc.label; ++step) {
      progress_.step();
      const TrimmedArc& other = fsa_.arcs[step->arc];
      if (!rivals_.are(arc.dst, other.dst)) continue;
      const double lead = step->lead + (other.score - arc.score);
      if (other.dst == arc.dst) {
        if (lead > 2 * delta_ || (lead >= -2 * delta_ && step->arc < chosen)) return false;
        continue;
      }
      const auto [place, is_new] = leads.try_emplace(other.dst, lead);
      if (!is_new) place->second = std::max(place->second, lead);
    }
    for (const auto& [state, lead] : leads) {
      constexpr double kLargest = 9e18;
      const double rounded = std::round(std::max(-kLargest, std::min(kLargest, lead / delta_)));
      next.rivals.push_back({state, lead, static_cast<int64_t>(rounded)});
    }
    std::sort(next.rivals.begin(), next.rivals.end(),
              [](const Rival& a, const Rival& b) { return a.state < b.state; });
    return true;
  }

  int32_t find_or_add(Node&& node) {
    const auto [place, is_new] = numbers_.try_emplace(std::move(node), static_cast<int32_t>(nodes_.size()));
    if (is_new) {
      constexpr int64_t kNode = 96;
      held_.add(kNode + static_cast<int64_t>(place->first.rivals.size() * sizeof(Rival)));
      nodes_.push_back(&place->first);
    }
    return place->second;
  }

  std::string explain(const Node& node) const {
    if (node.rivals.empty()) return "";
    const Rival& rival = node.rivals.back();
    return " States " + std::to_string(fsa_.original[node.state]) + " and " +
           std::to_string(fsa_.original[rival.state]) + " of FSA " + std::to_string(fsa_.fsa) +
           " are reached by the same strings, with scores that differ by up to " +
           std::to_string(std::abs(rival.lead)) +
           ". If this grows with the string, they have cycles with the same labels but different scores, and all "
           "differences have to be told apart. Make them differ by disambiguation symbols.";
  }

  const TrimmedFsa& fsa_;
  const double delta_;
  FsaVecBuilder& builder_;
  Progress& progress_;
  Held held_;
  Rivals rivals_;
  std::unordered_map<Node, int32_t, NodeHash> numbers_;
  std::vector<const Node*> nodes_;
  std::vector<Step> steps_;
};

nb::tuple disambiguate(const FsaVecView& fsas, Progress& progress, double delta) {
  FsaVecBuilder builder(progress, /*num_maps=*/1);
  {
    nb::gil_scoped_release released;
    for (int64_t i = 0; i < fsas.num_fsas; ++i) {
      const TrimmedFsa fsa = trim(fsas, i, progress);
      if (fsa.empty()) {
        builder.end_empty_fsa();
      } else {
        Disambiguator(fsa, delta, builder, progress).run();
      }
    }
  }
  return result(std::move(builder));
}

}  // namespace

void bind_disambiguate(nb::module_& m) { m.def("disambiguate", &disambiguate); }

}  // namespace wfst_entropy

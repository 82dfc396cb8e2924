// Minimisation of a deterministic, pushed FSA: states from which the same symbols with the same (rounded) scores lead on
// are one. Hopcroft's partition refinement in the form of Valmari 2012, "Fast brief practical DFA minimization", which
// refines a partition of the arcs along with that of the states and so needs no arc for every symbol: O(arcs log arcs).
#include <algorithm>
#include <cmath>
#include <numeric>

#include "surgery.h"
#include "trimmed_fsa.h"

namespace wfst_entropy {
namespace {

// A partition whose classes can be split by marking some of their members.
class Partition {
 public:
  // One class for each run of equal keys in `order`, a permutation of the members sorted by key.
  template <class Same>
  Partition(std::vector<int64_t> order, Same same)
      : members_(std::move(order)), place_(members_.size()), class_(members_.size()) {
    for (size_t i = 0; i < members_.size(); ++i) {
      if (i == 0 || !same(members_[i - 1], members_[i])) begin_.push_back(static_cast<int64_t>(i));
      place_[members_[i]] = static_cast<int64_t>(i);
      class_[members_[i]] = static_cast<int64_t>(begin_.size()) - 1;
    }
    for (size_t c = 1; c <= begin_.size(); ++c) {
      end_.push_back(c < begin_.size() ? begin_[c] : static_cast<int64_t>(members_.size()));
    }
    num_marked_.resize(begin_.size(), 0);
  }

  int64_t size() const { return static_cast<int64_t>(begin_.size()); }
  int64_t class_of(int64_t member) const { return class_[member]; }
  int64_t begin(int64_t c) const { return begin_[c]; }
  int64_t end(int64_t c) const { return end_[c]; }
  int64_t member(int64_t place) const { return members_[place]; }

  // Marked members are the first of their class.
  void mark(int64_t member) {
    const int64_t c = class_[member], place = place_[member], border = begin_[c] + num_marked_[c];
    if (place < border) return;
    std::swap(members_[place], members_[border]);
    place_[members_[place]] = place;
    place_[member] = border;
    if (num_marked_[c]++ == 0) touched_.push_back(c);
  }

  // Splits every class of which some members, but not all, are marked; the smaller part becomes a new class.
  void split() {
    for (int64_t c : touched_) {
      const int64_t border = begin_[c] + num_marked_[c];
      num_marked_[c] = 0;
      if (border == end_[c]) continue;
      const bool first = border - begin_[c] <= end_[c] - border;
      const int64_t from = first ? begin_[c] : border, to = first ? border : end_[c];
      (first ? begin_[c] : end_[c]) = border;
      begin_.push_back(from);
      end_.push_back(to);
      num_marked_.push_back(0);
      for (int64_t i = from; i < to; ++i) class_[members_[i]] = size() - 1;
    }
    touched_.clear();
  }

 private:
  std::vector<int64_t> members_, place_, class_, begin_, end_, num_marked_, touched_;
};

struct Key {
  int64_t symbol, score;
  bool operator==(const Key& other) const { return symbol == other.symbol && score == other.score; }
  bool operator<(const Key& other) const {
    return symbol != other.symbol ? symbol < other.symbol : score < other.score;
  }
};

void check_deterministic(const TrimmedFsa& fsa, const std::vector<Key>& keys, const Progress& progress) {
  std::vector<std::pair<int64_t, int64_t>> symbols;
  for (int32_t s = 0; s < fsa.num_states(); ++s) {
    symbols.clear();
    for (int64_t a = fsa.splits[s]; a < fsa.splits[s + 1]; ++a) symbols.push_back({keys[a].symbol, a});
    std::sort(symbols.begin(), symbols.end());
    for (size_t i = 1; i < symbols.size(); ++i) {
      if (symbols[i].first != symbols[i - 1].first) continue;
      throw InputError(progress.operation() + ": FSA " + std::to_string(fsa.fsa) + ", state " +
                       std::to_string(fsa.original[s]) + " has two arcs with label " +
                       std::to_string(fsa.arcs[symbols[i].second].label) +
                       " (and the same attributes), arcs " + std::to_string(fsa.arcs[symbols[i - 1].second].number) +
                       " and " + std::to_string(fsa.arcs[symbols[i].second].number) +
                       "; needed is a deterministic FSA. Call determinize() first.");
    }
  }
}

// The class of each state: states with equal classes weigh all strings alike.
Partition refine(const TrimmedFsa& fsa, const std::vector<Key>& keys, Progress& progress) {
  const int32_t num_states = fsa.num_states();
  std::vector<int64_t> states(num_states), arcs(fsa.arcs.size());
  std::iota(states.begin(), states.end(), 0);
  std::iota(arcs.begin(), arcs.end(), 0);
  const int32_t final_state = fsa.final_state();
  Partition blocks(std::move(states), [&](int64_t a, int64_t b) { return (a == final_state) == (b == final_state); });
  std::sort(arcs.begin(), arcs.end(), [&](int64_t a, int64_t b) { return keys[a] < keys[b]; });
  Partition splitters(std::move(arcs), [&](int64_t a, int64_t b) { return keys[a] == keys[b]; });
  const Links entering = make_links(fsa, Direction::kBackward, [](const TrimmedArc&) { return true; });
  // The largest of the first blocks need not split the arcs by their destination: the others do.
  int64_t next_block = blocks.size() - 1;
  const auto split_by_blocks = [&] {
    for (; next_block < blocks.size(); ++next_block) {
      for (int64_t i = blocks.begin(next_block); i < blocks.end(next_block); ++i) {
        const int64_t state = blocks.member(i);
        for (int64_t l = entering.splits[state]; l < entering.splits[state + 1]; ++l) {
          progress.step();
          splitters.mark(entering.arc[l]);
        }
      }
      splitters.split();
    }
  };
  split_by_blocks();
  for (int64_t c = 0; c < splitters.size(); ++c) {
    for (int64_t i = splitters.begin(c); i < splitters.end(c); ++i) {
      progress.step();
      blocks.mark(fsa.arcs[splitters.member(i)].src);
    }
    blocks.split();
    split_by_blocks();
  }
  return blocks;
}

void minimize_one(const TrimmedFsa& fsa, const int64_t* symbols, double delta, FsaVecBuilder& builder,
                  Progress& progress) {
  if (fsa.empty()) return builder.end_empty_fsa();
  std::vector<Key> keys;
  for (const TrimmedArc& arc : fsa.arcs) {
    constexpr double kLargest = 9e18;
    const double score = std::max(-kLargest, std::min(kLargest, std::floor(arc.score / delta + 0.5)));
    keys.push_back({symbols[arc.number], static_cast<int64_t>(score)});
  }
  check_deterministic(fsa, keys, progress);
  const Partition blocks = refine(fsa, keys, progress);
  // The states of the result are the first ones of their classes, in their order: the start is 0, the final the last.
  std::vector<int32_t> number(blocks.size(), -1), representative;
  for (int32_t s = 0; s < fsa.num_states(); ++s) {
    int32_t& n = number[blocks.class_of(s)];
    if (n >= 0) continue;
    n = static_cast<int32_t>(representative.size());
    representative.push_back(s);
  }
  for (int32_t s : representative) {
    builder.begin_state();
    for (int64_t a = fsa.splits[s]; a < fsa.splits[s + 1]; ++a) {
      const TrimmedArc& arc = fsa.arcs[a];
      builder.add_arc(number[blocks.class_of(arc.dst)], arc.label, arc.number);
    }
  }
  builder.end_fsa(/*add_final=*/false);
}

nb::tuple minimize(const FsaVecView& fsas, Progress& progress, uintptr_t symbols, double delta) {
  FsaVecBuilder builder(progress, /*num_maps=*/1);
  {
    nb::gil_scoped_release released;
    for (int64_t i = 0; i < fsas.num_fsas; ++i) {
      minimize_one(trim(fsas, i, progress), reinterpret_cast<const int64_t*>(symbols), delta, builder, progress);
    }
  }
  return result(std::move(builder));
}

}  // namespace

void bind_minimize(nb::module_& m) { m.def("minimize", &minimize); }

}  // namespace wfst_entropy

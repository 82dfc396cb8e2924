// Composition with a graph that has back-off arcs, such as an n-gram language model. An arc of the left operand becomes
// one arc for every way in which the right one can read its symbols; back-off arcs are taken on the way.
#include <algorithm>
#include <cstdint>
#include <string>
#include <vector>

#include "address.h"
#include "pair_graph.h"
#include "surgery.h"

namespace wfst_entropy {
namespace {

// The symbols on the arcs of the left operand: values[splits[a]] ... for arc a.
struct Symbols {
  const int64_t* splits;
  const int32_t* values;
};

// Labels are compared unsigned, as arc_sort orders them: epsilon first, that of arcs into the final state last.
struct Range {
  int64_t begin, end;
};

Range find(const FsaView& fsa, int32_t state, int32_t label) {
  const auto below = [](const Arc& arc, uint32_t l) { return static_cast<uint32_t>(arc.label) < l; };
  const Arc* end = fsa.arcs + fsa.splits[state + 1];
  const Arc* first = std::lower_bound(fsa.arcs + fsa.splits[state], end, static_cast<uint32_t>(label), below);
  const Arc* last = first;
  while (last != end && last->label == label) ++last;
  return {first - fsa.arcs, last - fsa.arcs};
}

uint64_t pair(int32_t a, int32_t b) { return static_cast<uint64_t>(a) << 32 | static_cast<uint32_t>(b); }

// Lists of arcs of the right operand, one for each move.
struct Trails {
  std::vector<int64_t> splits{0}, arcs;
};

// The ways of the right operand through the symbols of one arc, found depth first without recursion.
class Reader {
 public:
  Reader(const FsaView& b, int32_t phi, bool failure, Progress& progress)
      : b_(b), phi_(phi), failure_(failure), progress_(progress) {}

  // Calls found(state) with the trail() to each state that can be reached.
  template <class Found>
  void read(int32_t from, const int32_t* symbols, int64_t num_symbols, bool to_final, Found&& found) {
    const int64_t total = num_symbols + to_final;
    stack_.assign(1, {from, 0, 0, 0, -1});
    while (!stack_.empty()) {
      const Step at = stack_.back();
      stack_.pop_back();
      progress_.step();
      trail_.resize(at.before);
      if (at.arc >= 0) trail_.push_back(at.arc);
      if (at.position == total) {
        found(at.state);
        continue;
      }
      const int32_t symbol = at.position < num_symbols ? symbols[at.position] : kFinalLabel;
      const Range matching = find(b_, at.state, symbol);
      if (!failure_ || matching.begin == matching.end) back_off(at);
      // The stack is emptied from its end: the last arc goes first.
      for (int64_t x = matching.end; x-- > matching.begin;) {
        stack_.push_back({b_.arcs[x].dst, at.position + 1, 0, size(), x});
      }
    }
  }

  const std::vector<int64_t>& trail() const { return trail_; }

 private:
  struct Step {
    int32_t state;
    int64_t position;  // how many symbols have been read
    int64_t chain;     // how many back-off arcs have been taken since the last of them
    int64_t before;    // the length of the trail without `arc`
    int64_t arc;       // the one that led here, or -1
  };

  int64_t size() const { return static_cast<int64_t>(trail_.size()); }

  void back_off(const Step& at) {
    const Range arcs = find(b_, at.state, phi_);
    for (int64_t x = arcs.end; x-- > arcs.begin;) {
      const int32_t dst = b_.arcs[x].dst;
      if (dst == at.state) continue;  // epsilon self-loops, which k2's intersection needs, lead nowhere
      for (int64_t i = size() - at.chain; i < size(); ++i) {
        if (b_.arcs[trail_[i]].src == dst) throw_cycle(dst);
      }
      stack_.push_back({dst, at.position, at.chain + 1, size(), x});
    }
  }

  [[noreturn]] void throw_cycle(int32_t state) const {
    throw CycleError(progress_.operation() + ": the back-off arcs (label " + std::to_string(phi_) +
                     ") of b_fsa form a cycle through state " + std::to_string(state) +
                     "; each must lead to a shorter history. Is phi_label the right one?");
  }

  const FsaView b_;
  const int32_t phi_;
  const bool failure_;
  Progress& progress_;
  std::vector<Step> stack_;
  std::vector<int64_t> trail_;
};

void compose_one(const FsaView& a, const FsaView& b, const Symbols& symbols, int32_t phi, bool failure, bool connect,
                 Trails& trails, FsaVecBuilder& builder, Held& held, Progress& progress) {
  if (a.empty() || b.empty()) return builder.end_empty_fsa();
  PairGraph graph(progress, builder);
  Reader reader(b, phi, failure, progress);
  graph.number(pair(0, 0));
  for (int64_t s = 0; s < graph.num_states(); ++s) {
    graph.begin_state();
    const uint64_t key = graph.key(s);
    const auto a_state = static_cast<int32_t>(key >> 32), b_state = static_cast<int32_t>(key);
    for (int64_t x = a.splits[a_state]; x < a.splits[a_state + 1]; ++x) {
      const Arc& arc = a.arcs[x];
      const int64_t first = symbols.splits[x], count = symbols.splits[x + 1] - first;
      reader.read(b_state, symbols.values + first, count, arc.label == kFinalLabel, [&](int32_t reached) {
        const auto trail = static_cast<int32_t>(trails.splits.size() - 1);
        held.add(static_cast<int64_t>(sizeof(int64_t) * (1 + reader.trail().size())));
        trails.arcs.insert(trails.arcs.end(), reader.trail().begin(), reader.trail().end());
        trails.splits.push_back(static_cast<int64_t>(trails.arcs.size()));
        graph.add_move(pair(arc.dst, reached), static_cast<int32_t>(x), trail);
      });
    }
  }
  const int32_t final_state = graph.find(pair(a.final_state(), b.final_state()));
  graph.write(builder, final_state, connect, [&a](const Move& move) { return a.arcs[move.source].label; });
}

nb::tuple phi_compose(const FsaVecView& a, const FsaVecView& b, Progress& progress, uintptr_t a_numbers,
                      uintptr_t b_numbers, int64_t num_pairs, uintptr_t symbol_splits, uintptr_t symbol_values,
                      int32_t phi_label, bool failure, bool connect) {
  FsaVecBuilder builder(progress, /*num_maps=*/2);
  Trails trails;
  const auto *of_a = pointer<const int64_t>(a_numbers), *of_b = pointer<const int64_t>(b_numbers);
  const Symbols symbols{pointer<const int64_t>(symbol_splits), pointer<const int32_t>(symbol_values)};
  {
    nb::gil_scoped_release released;
    check_arc_numbers(a, progress);
    check_arc_numbers(b, progress);
    Held held(progress);
    for (int64_t n = 0; n < num_pairs; ++n) {
      compose_one(a[of_a[n]], b[of_b[n]], symbols, phi_label, failure, connect, trails, builder, held, progress);
    }
  }
  return result(std::move(builder), std::move(trails.splits), std::move(trails.arcs));
}

}  // namespace

void bind_phi_compose(nb::module_& m) { m.def("phi_compose", &phi_compose); }

}  // namespace wfst_entropy

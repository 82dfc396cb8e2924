// Intersection and composition: states are pairs of states, found from the start; equal labels go together.
#include "pair_graph.h"
#include "sorted_arcs.h"
#include "surgery.h"

namespace wfst_entropy {
namespace {

// What epsilon means.
enum Epsilon : int {
  kSymbol = 0,      // a label like others
  kSequence = 1,    // one side moves alone: a's epsilons come before b's, so each pair of paths is met once
  kInterleave = 2,  // one side moves alone, in any order: a pair of paths is met once per order (as in k2)
};

struct Pair {
  int32_t a, b;
  bool b_moved;  // over epsilon, and a has epsilons here that should have come first

  uint64_t key() const { return static_cast<uint64_t>(a) << 32 | static_cast<uint64_t>(b) << 1 | b_moved; }
  static Pair of(uint64_t key) {
    return {static_cast<int32_t>(key >> 32), static_cast<int32_t>(static_cast<uint32_t>(key) >> 1), (key & 1) != 0};
  }
};

// Adds the moves over epsilon; returns whether labels may follow.
void add_epsilons(const Pair& at, ArcRange a, ArcRange b, bool a_has_others, Epsilon epsilon, PairGraph& graph) {
  if (epsilon == kInterleave || !at.b_moved) {
    for (const SortedArc* x = a.begin; x != a.end; ++x) graph.add_move(Pair{x->dst, at.b, false}.key(), x->arc, -1);
  }
  // Where a has nothing but epsilons, nothing could follow b's: those belong after a's.
  if (epsilon == kSequence && !a_has_others) return;
  const bool b_moved = epsilon == kSequence && !a.empty();
  for (const SortedArc* y = b.begin; y != b.end; ++y) graph.add_move(Pair{at.a, y->dst, b_moved}.key(), -1, y->arc);
}

void expand(const Pair& at, ArcRange a, ArcRange b, Epsilon epsilon, PairGraph& graph, Progress& progress) {
  graph.begin_state();
  if (epsilon != kSymbol) {
    const ArcRange a_epsilons = a.take_epsilons(), b_epsilons = b.take_epsilons();
    add_epsilons(at, a_epsilons, b_epsilons, !a.empty(), epsilon, graph);
  }
  match(a, b, [&graph](const SortedArc& x, const SortedArc& y) {
    graph.add_move(Pair{x.dst, y.dst, false}.key(), x.arc, y.arc);
  });
  progress.step();
}

// The pairs of FSAs to intersect: numbers in the two vectors, as Python passes them.
struct FsaPairs {
  const int64_t *a, *b;
  int64_t size;
};

nb::tuple intersect(const FsaVecView& a, const FsaVecView& b, Progress& progress, uintptr_t a_numbers,
                    uintptr_t b_numbers, int64_t num_pairs, int epsilon, bool connect) {
  FsaVecBuilder builder(progress, /*num_maps=*/2);
  const FsaPairs pairs{reinterpret_cast<const int64_t*>(a_numbers), reinterpret_cast<const int64_t*>(b_numbers),
                       num_pairs};
  {
    nb::gil_scoped_release released;
    check_arc_numbers(a, progress);
    check_arc_numbers(b, progress);
    const SortedArcs a_arcs(a, progress), b_arcs(b, progress);
    for (int64_t n = 0; n < pairs.size; ++n) {
      const int64_t a_begin = a.fsa_splits[pairs.a[n]], b_begin = b.fsa_splits[pairs.b[n]];
      const FsaView a_fsa = a[pairs.a[n]], b_fsa = b[pairs.b[n]];
      if (a_fsa.empty() || b_fsa.empty()) {
        builder.end_empty_fsa();
        continue;
      }
      PairGraph graph(progress, builder);
      graph.number(Pair{0, 0, false}.key());
      for (int64_t s = 0; s < graph.num_states(); ++s) {
        const Pair at = Pair::of(graph.key(s));
        expand(at, a_arcs.leaving(a_begin + at.a), b_arcs.leaving(b_begin + at.b), static_cast<Epsilon>(epsilon),
               graph, progress);
      }
      const int32_t final_state = graph.find(Pair{a_fsa.final_state(), b_fsa.final_state(), false}.key());
      graph.write(builder, final_state, connect,
                  [&a](const Move& move) { return move.source < 0 ? 0 : a.arcs[move.source].label; });
    }
  }
  return result(std::move(builder));
}

}  // namespace

// One function under three names, for its name stands in messages.
void bind_intersect(nb::module_& m) {
  for (const char* name : {"intersect", "intersect_device", "compose"}) m.def(name, &intersect);
}

}  // namespace wfst_entropy

// Turns every arc round.
#include "surgery.h"

namespace wfst_entropy {
namespace {

// The old final state becomes state 0, the old start state the last but one; the others keep their numbers. A new
// final state is needed because arcs may enter the old start state.
void reverse_one(const FsaView& fsa, FsaVecBuilder& builder, Progress& progress) {
  if (fsa.empty()) return builder.end_empty_fsa();
  const int32_t last = fsa.final_state();
  const auto renumber = [last](int32_t state) { return state == 0 ? last : state == last ? 0 : state; };

  std::vector<int64_t> begin(fsa.num_states + 1, 0);  // where the arcs that enter each state begin in `entering`
  for (int64_t a = fsa.first_arc(); a < fsa.end_arc(); ++a) ++begin[fsa.arcs[a].dst + 1];
  for (int32_t s = 0; s < fsa.num_states; ++s) begin[s + 1] += begin[s];
  std::vector<int64_t> entering(fsa.num_arcs());
  std::vector<int64_t> next(begin.begin(), begin.end() - 1);
  for (int64_t a = fsa.first_arc(); a < fsa.end_arc(); ++a) {
    progress.step();
    entering[next[fsa.arcs[a].dst]++] = a;
  }
  for (int32_t s = 0; s < fsa.num_states; ++s) {
    builder.begin_state();
    const int32_t old = renumber(s);
    for (int64_t i = begin[old]; i < begin[old + 1]; ++i) {
      const Arc& arc = fsa.arcs[entering[i]];
      builder.add_arc(renumber(arc.src), arc.label == kFinalLabel ? kEpsilon : arc.label, entering[i]);
    }
    if (old == 0) builder.add_arc(FsaVecBuilder::kToFinal, kFinalLabel);
  }
  builder.end_fsa();
}

nb::tuple reverse(const FsaVecView& fsas, Progress& progress) {
  FsaVecBuilder builder(progress, /*num_maps=*/1);
  {
    nb::gil_scoped_release released;
    for (int64_t i = 0; i < fsas.num_fsas; ++i) reverse_one(fsas[i], builder, progress);
  }
  return result(std::move(builder));
}

}  // namespace

void bind_reverse(nb::module_& m) { m.def("reverse", &reverse); }

}  // namespace wfst_entropy

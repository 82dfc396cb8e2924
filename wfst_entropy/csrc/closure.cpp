// Any number of strings of an FSA, one after the other.
#include "surgery.h"

namespace wfst_entropy {
namespace {

// Copies the arcs of a state, states renumbered by `shift`; arcs into the final state become epsilon arcs to `end`.
void copy_arcs(const FsaView& fsa, int32_t state, int32_t shift, int32_t end, FsaVecBuilder& builder) {
  for (int64_t a = fsa.splits[state]; a < fsa.splits[state + 1]; ++a) {
    const Arc& arc = fsa.arcs[a];
    if (arc.label == kFinalLabel) {
      builder.add_arc(end, kEpsilon, a);
    } else {
      builder.add_arc(arc.dst + shift, arc.label, a);
    }
  }
}

// Zero strings or more. The start state becomes the place between strings, where one may stop; if arcs enter it in the
// middle of a string, there must be a new state for that.
void star(const FsaView& fsa, FsaVecBuilder& builder) {
  bool entered = fsa.empty();
  for (int64_t a = fsa.first_arc(); !entered && a < fsa.end_arc(); ++a) entered = fsa.arcs[a].dst == 0;
  if (entered) {
    builder.begin_state();
    if (!fsa.empty()) builder.add_arc(1, kEpsilon);
    builder.add_arc(FsaVecBuilder::kToFinal, kFinalLabel);
  }
  for (int32_t s = 0; s < fsa.num_states - 1; ++s) {
    builder.begin_state();
    copy_arcs(fsa, s, entered ? 1 : 0, 0, builder);
    if (s == 0 && !entered) builder.add_arc(FsaVecBuilder::kToFinal, kFinalLabel);
  }
  builder.end_fsa();
}

// One string or more. The old final state becomes the place between strings.
void plus(const FsaView& fsa, FsaVecBuilder& builder) {
  if (fsa.empty()) return builder.end_empty_fsa();
  for (int32_t s = 0; s < fsa.final_state(); ++s) {
    builder.begin_state();
    copy_arcs(fsa, s, 0, fsa.final_state(), builder);
  }
  builder.begin_state();
  builder.add_arc(0, kEpsilon);
  builder.add_arc(FsaVecBuilder::kToFinal, kFinalLabel);
  builder.end_fsa();
}

nb::tuple closure(const FsaVecView& fsas, Progress& progress, bool at_least_once) {
  FsaVecBuilder builder(progress, /*num_maps=*/1);
  {
    nb::gil_scoped_release released;
    for (int64_t i = 0; i < fsas.num_fsas; ++i) {
      // A state more than before: so that no state number overflows.
      progress.grow(builder.num_states() + fsas[i].num_states + int64_t{1}, builder.num_arcs());
      if (at_least_once) {
        plus(fsas[i], builder);
      } else {
        star(fsas[i], builder);
      }
    }
  }
  return result(std::move(builder));
}

}  // namespace

void bind_closure(nb::module_& m) { m.def("closure", &closure); }

}  // namespace wfst_entropy

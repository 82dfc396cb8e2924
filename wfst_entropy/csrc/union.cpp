// Everything that some FSA of a vector accepts, in one FSA.
#include <algorithm>

#include "surgery.h"

namespace wfst_entropy {
namespace {

// A new start state with an epsilon arc to the start of each FSA; their final states become one.
void unite(const FsaVecView& fsas, FsaVecBuilder& builder, Progress& progress) {
  int64_t num_states = 2;
  for (int64_t i = 0; i < fsas.num_fsas; ++i) num_states += std::max(fsas[i].num_states - 1, 0);
  if (num_states == 2) return builder.end_empty_fsa();
  progress.grow(num_states, fsas.num_arcs() + fsas.num_fsas);  // so that no state number overflows below

  builder.begin_state();
  int32_t start = 1;
  for (int64_t i = 0; i < fsas.num_fsas; ++i) {
    if (fsas[i].empty()) continue;
    builder.add_arc(start, kEpsilon);
    start += fsas[i].final_state();
  }
  start = 1;
  for (int64_t i = 0; i < fsas.num_fsas; ++i) {
    const FsaView fsa = fsas[i];
    if (fsa.empty()) continue;
    for (int32_t s = 0; s < fsa.final_state(); ++s) {
      builder.begin_state();
      for (int64_t a = fsa.splits[s]; a < fsa.splits[s + 1]; ++a) {
        const Arc& arc = fsa.arcs[a];
        builder.add_arc(arc.label == kFinalLabel ? FsaVecBuilder::kToFinal : start + arc.dst, arc.label, a);
      }
    }
    start += fsa.final_state();
  }
  builder.end_fsa();
}

nb::tuple union_all(const FsaVecView& fsas, Progress& progress) {
  FsaVecBuilder builder(progress, /*num_maps=*/1);
  {
    nb::gil_scoped_release released;
    unite(fsas, builder, progress);
  }
  return result(std::move(builder));
}

}  // namespace

void bind_union(nb::module_& m) { m.def("union", &union_all); }

}  // namespace wfst_entropy

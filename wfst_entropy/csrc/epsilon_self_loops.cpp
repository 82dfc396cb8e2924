// Adds an epsilon self-loop to each state, or takes them away.
#include "surgery.h"

namespace wfst_entropy {
namespace {

void add_loops(const FsaView& fsa, FsaVecBuilder& builder) {
  if (fsa.empty()) return builder.end_empty_fsa();
  for (int32_t s = 0; s < fsa.num_states; ++s) {
    builder.begin_state();
    if (s != fsa.final_state()) builder.add_arc(s, kEpsilon);
    for (int64_t a = fsa.splits[s]; a < fsa.splits[s + 1]; ++a) {
      builder.add_arc(fsa.arcs[a].dst, fsa.arcs[a].label, a);
    }
  }
  builder.end_fsa(/*add_final=*/false);
}

void remove_loops(const FsaView& fsa, FsaVecBuilder& builder) {
  if (fsa.empty()) return builder.end_empty_fsa();
  for (int32_t s = 0; s < fsa.num_states; ++s) {
    builder.begin_state();
    for (int64_t a = fsa.splits[s]; a < fsa.splits[s + 1]; ++a) {
      const Arc& arc = fsa.arcs[a];
      if (arc.label != kEpsilon || arc.dst != s) builder.add_arc(arc.dst, arc.label, a);
    }
  }
  builder.end_fsa(/*add_final=*/false);
}

template <void (*operation)(const FsaView&, FsaVecBuilder&)>
nb::tuple to_each(const FsaVecView& fsas, Progress& progress) {
  FsaVecBuilder builder(progress, /*num_maps=*/1);
  {
    nb::gil_scoped_release released;
    for (int64_t i = 0; i < fsas.num_fsas; ++i) operation(fsas[i], builder);
  }
  return result(std::move(builder));
}

}  // namespace

void bind_epsilon_self_loops(nb::module_& m) {
  m.def("add_epsilon_self_loops", &to_each<add_loops>);
  m.def("remove_epsilon_self_loops", &to_each<remove_loops>);
}

}  // namespace wfst_entropy

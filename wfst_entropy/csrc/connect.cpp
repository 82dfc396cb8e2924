// Keeps the states on a path from the start to the final state.
#include "reachability.h"
#include "surgery.h"

namespace wfst_entropy {
namespace {

void connect_one(const FsaView& fsa, FsaVecBuilder& builder, Progress& progress) {
  if (fsa.empty()) return builder.end_empty_fsa();
  std::vector<uint8_t> keep = accessible(fsa, progress);
  const std::vector<uint8_t> useful = coaccessible(fsa, progress);
  for (int32_t s = 0; s < fsa.num_states; ++s) keep[s] &= useful[s];
  if (!keep[0]) return builder.end_empty_fsa();

  std::vector<int32_t> number(fsa.num_states, -1);
  for (int32_t s = 0, n = 0; s < fsa.num_states; ++s) {
    if (keep[s]) number[s] = n++;
  }
  for (int32_t s = 0; s < fsa.num_states; ++s) {
    if (!keep[s]) continue;
    builder.begin_state();
    for (int64_t a = fsa.splits[s]; a < fsa.splits[s + 1]; ++a) {
      const Arc& arc = fsa.arcs[a];
      if (keep[arc.dst]) builder.add_arc(number[arc.dst], arc.label, a);
    }
  }
  builder.end_fsa(/*add_final=*/false);
}

nb::tuple connect(const FsaVecView& fsas, Progress& progress) {
  FsaVecBuilder builder(progress, /*num_maps=*/1);
  builder.reserve(fsas.num_states(), fsas.num_arcs());
  {
    nb::gil_scoped_release released;
    for (int64_t i = 0; i < fsas.num_fsas; ++i) connect_one(fsas[i], builder, progress);
  }
  return result(std::move(builder));
}

}  // namespace

void bind_connect(nb::module_& m) { m.def("connect", &connect); }

}  // namespace wfst_entropy

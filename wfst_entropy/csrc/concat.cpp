// The strings of one FSA followed by those of another.
#include "surgery.h"

namespace wfst_entropy {
namespace {

// The final state of `a`, which no arc leaves, and the start state of `b` become one.
void concat_one(const FsaView& a, const FsaView& b, FsaVecBuilder& builder, Progress& progress) {
  if (a.empty() || b.empty()) return builder.end_empty_fsa();
  // So that no state number overflows below.
  const int64_t num_states = static_cast<int64_t>(a.final_state()) + b.num_states;
  progress.grow(builder.num_states() + num_states, builder.num_arcs() + a.num_arcs() + b.num_arcs());
  for (int32_t s = 0; s < a.final_state(); ++s) {
    builder.begin_state();
    for (int64_t i = a.splits[s]; i < a.splits[s + 1]; ++i) {
      const Arc& arc = a.arcs[i];
      builder.add_arc(arc.dst, arc.label == kFinalLabel ? kEpsilon : arc.label, i, -1);
    }
  }
  for (int32_t s = 0; s < b.num_states; ++s) {
    builder.begin_state();
    for (int64_t i = b.splits[s]; i < b.splits[s + 1]; ++i) {
      const Arc& arc = b.arcs[i];
      builder.add_arc(a.final_state() + arc.dst, arc.label, -1, i);
    }
  }
  builder.end_fsa(/*add_final=*/false);
}

// One FSA on either side goes with every FSA on the other.
nb::tuple concat(const FsaVecView& a, const FsaVecView& b, Progress& progress) {
  FsaVecBuilder builder(progress, /*num_maps=*/2);
  {
    nb::gil_scoped_release released;
    const int64_t num_fsas = a.num_fsas == 1 ? b.num_fsas : a.num_fsas;
    for (int64_t i = 0; i < num_fsas; ++i) {
      concat_one(a[a.num_fsas == 1 ? 0 : i], b[b.num_fsas == 1 ? 0 : i], builder, progress);
    }
  }
  return result(std::move(builder));
}

}  // namespace

void bind_concat(nb::module_& m) { m.def("concat", &concat); }

}  // namespace wfst_entropy

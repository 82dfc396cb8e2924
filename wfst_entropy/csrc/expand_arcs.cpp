// Turns arcs into chains of arcs.
#include "surgery.h"

namespace wfst_entropy {
namespace {

// The states of the chains that leave a state are numbered right after it, chain by chain. The label stays on the
// first arc of a chain, but the final label must be on the last.
void expand_one(const FsaView& fsa, const int64_t* lengths, FsaVecBuilder& builder, std::vector<int64_t>& origins,
                std::vector<int64_t>& positions, Progress& progress) {
  if (fsa.empty()) return builder.end_empty_fsa();
  std::vector<int64_t> number(fsa.num_states + 1, 0);
  int64_t num_arcs = 0;
  for (int32_t s = 0; s < fsa.num_states; ++s) {
    number[s + 1] = number[s] + 1;
    for (int64_t a = fsa.splits[s]; a < fsa.splits[s + 1]; ++a) {
      number[s + 1] += lengths[a] - 1;
      num_arcs += lengths[a];
    }
    // Before the numbers are needed, so that none overflows.
    progress.grow(builder.num_states() + number[s + 1], builder.num_arcs() + num_arcs);
  }
  const auto add = [&](int64_t dst, int32_t label, int64_t arc, int64_t position) {
    builder.add_arc(static_cast<int32_t>(dst), label, position == 0 ? arc : -1);
    origins.push_back(arc);
    positions.push_back(position);
  };
  for (int32_t s = 0; s < fsa.num_states; ++s) {
    builder.begin_state();
    int64_t link = number[s] + 1;
    for (int64_t a = fsa.splits[s]; a < fsa.splits[s + 1]; ++a) {
      const Arc& arc = fsa.arcs[a];
      const bool one = lengths[a] == 1;
      add(one ? number[arc.dst] : link, !one && arc.label == kFinalLabel ? kEpsilon : arc.label, a, 0);
      link += lengths[a] - 1;
    }
    link = number[s] + 1;
    for (int64_t a = fsa.splits[s]; a < fsa.splits[s + 1]; ++a) {
      const Arc& arc = fsa.arcs[a];
      for (int64_t position = 1; position < lengths[a]; ++position, ++link) {
        const bool last = position == lengths[a] - 1;
        builder.begin_state();
        add(last ? number[arc.dst] : link + 1, last && arc.label == kFinalLabel ? kFinalLabel : kEpsilon, a, position);
      }
    }
  }
  builder.end_fsa(/*add_final=*/false);
}

// lengths: the address of int64 (num_arcs,), at least 1 each. Returns, after the arc map, which old arc every new one
// is a part of, and its place in that one's chain.
nb::tuple expand_arcs(const FsaVecView& fsas, Progress& progress, uintptr_t lengths) {
  FsaVecBuilder builder(progress, /*num_maps=*/1);
  std::vector<int64_t> origins, positions;
  {
    nb::gil_scoped_release released;
    for (int64_t i = 0; i < fsas.num_fsas; ++i) {
      expand_one(fsas[i], reinterpret_cast<const int64_t*>(lengths), builder, origins, positions, progress);
    }
  }
  return result(std::move(builder), std::move(origins), std::move(positions));
}

}  // namespace

void bind_expand_arcs(nb::module_& m) { m.def("expand_arcs", &expand_arcs); }

}  // namespace wfst_entropy

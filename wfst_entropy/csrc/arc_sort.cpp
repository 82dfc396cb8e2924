// Orders the arcs of each state by label, then by destination.
#include <algorithm>

#include "surgery.h"

namespace wfst_entropy {
namespace {

struct Key {
  uint64_t label_and_dst;
  int64_t arc;
  bool operator<(const Key& other) const {
    return label_and_dst != other.label_and_dst ? label_and_dst < other.label_and_dst : arc < other.arc;
  }
};

// Read as unsigned, the final label -1 comes after all others.
uint64_t key_of(const Arc& arc) {
  return static_cast<uint64_t>(static_cast<uint32_t>(arc.label)) << 32 | static_cast<uint32_t>(arc.dst);
}

void sort_one(const FsaView& fsa, FsaVecBuilder& builder) {
  if (fsa.empty()) return builder.end_empty_fsa();
  std::vector<Key> keys;
  for (int32_t s = 0; s < fsa.num_states; ++s) {
    keys.clear();
    for (int64_t a = fsa.splits[s]; a < fsa.splits[s + 1]; ++a) keys.push_back({key_of(fsa.arcs[a]), a});
    if (!std::is_sorted(keys.begin(), keys.end())) std::sort(keys.begin(), keys.end());
    builder.begin_state();
    for (const Key& key : keys) builder.add_arc(fsa.arcs[key.arc].dst, fsa.arcs[key.arc].label, key.arc);
  }
  builder.end_fsa(/*add_final=*/false);
}

nb::tuple arc_sort(const FsaVecView& fsas, Progress& progress) {
  FsaVecBuilder builder(progress, /*num_maps=*/1);
  builder.reserve(fsas.num_states(), fsas.num_arcs());
  {
    nb::gil_scoped_release released;
    for (int64_t i = 0; i < fsas.num_fsas; ++i) sort_one(fsas[i], builder);
  }
  return result(std::move(builder));
}

}  // namespace

void bind_arc_sort(nb::module_& m) { m.def("arc_sort", &arc_sort); }

}  // namespace wfst_entropy

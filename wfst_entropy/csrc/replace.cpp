// Puts FSAs in the place of arcs.
#include <unordered_map>

#include "surgery.h"

namespace wfst_entropy {
namespace {

using Rules = std::unordered_map<int32_t, FsaView>;

// The FSA that an arc calls; null if it is an ordinary arc.
const FsaView* called(const Rules& rules, const Arc& arc) {
  const auto found = rules.find(arc.label);
  return found == rules.end() ? nullptr : &found->second;
}

// The states put in for the arcs of a state are numbered right after it, arc by arc. The start of an FSA put in is
// entered by an epsilon arc, and its final state is the destination of the arc it replaces.
void replace_one(const FsaView& index, const Rules& rules, FsaVecBuilder& builder, Progress& progress) {
  if (index.empty()) return builder.end_empty_fsa();
  std::vector<int64_t> number(index.num_states + 1, 0);
  int64_t num_arcs = index.num_arcs();
  for (int32_t s = 0; s < index.num_states; ++s) {
    number[s + 1] = number[s] + 1;
    for (int64_t a = index.splits[s]; a < index.splits[s + 1]; ++a) {
      const FsaView* rule = called(rules, index.arcs[a]);
      if (!rule || rule->empty()) continue;
      number[s + 1] += rule->final_state();
      num_arcs += rule->num_arcs();
    }
    // Before the numbers are needed, so that none overflows.
    progress.grow(builder.num_states() + number[s + 1], builder.num_arcs() + num_arcs);
  }
  for (int32_t s = 0; s < index.num_states; ++s) {
    builder.begin_state();
    int64_t start = number[s] + 1;
    for (int64_t a = index.splits[s]; a < index.splits[s + 1]; ++a) {
      const Arc& arc = index.arcs[a];
      const FsaView* rule = called(rules, arc);
      if (!rule) {
        builder.add_arc(static_cast<int32_t>(number[arc.dst]), arc.label, a, -1);
      } else if (!rule->empty()) {  // nothing goes through an empty one
        builder.add_arc(static_cast<int32_t>(start), kEpsilon, a, -1);
        start += rule->final_state();
      }
    }
    start = number[s] + 1;
    for (int64_t a = index.splits[s]; a < index.splits[s + 1]; ++a) {
      const FsaView* rule = called(rules, index.arcs[a]);
      if (!rule || rule->empty()) continue;
      for (int32_t t = 0; t < rule->final_state(); ++t) {
        builder.begin_state();
        for (int64_t i = rule->splits[t]; i < rule->splits[t + 1]; ++i) {
          const Arc& inner = rule->arcs[i];
          const bool leaves = inner.label == kFinalLabel;
          const int64_t dst = leaves ? number[index.arcs[a].dst] : start + inner.dst;
          builder.add_arc(static_cast<int32_t>(dst), leaves ? kEpsilon : inner.label, -1, i);
        }
      }
      start += rule->final_state();
    }
  }
  builder.end_fsa(/*add_final=*/false);
}

// labels: the address of int32 (src.num_fsas,), what calls each FSA of `src`.
nb::tuple replace(const FsaVecView& index, const FsaVecView& src, Progress& progress, uintptr_t labels) {
  FsaVecBuilder builder(progress, /*num_maps=*/2);
  {
    nb::gil_scoped_release released;
    Rules rules;
    for (int64_t i = 0; i < src.num_fsas; ++i) rules.emplace(reinterpret_cast<const int32_t*>(labels)[i], src[i]);
    for (int64_t i = 0; i < index.num_fsas; ++i) replace_one(index[i], rules, builder, progress);
  }
  return result(std::move(builder));
}

}  // namespace

void bind_replace(nb::module_& m) { m.def("replace", &replace); }

}  // namespace wfst_entropy

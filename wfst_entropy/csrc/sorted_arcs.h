// The arcs of a vector of FSAs, ordered by label within each state, so that labels can be looked up.
#pragma once

#include <algorithm>
#include <cstdint>
#include <vector>

#include "graph.h"

namespace wfst_entropy {

// Labels are compared unsigned: epsilon comes first, and the label of arcs into the final state last.
struct SortedArc {
  uint32_t label;
  int32_t dst, arc;
};

struct ArcRange {
  const SortedArc *begin, *end;
  int64_t size() const { return end - begin; }
  bool empty() const { return begin == end; }

  // Takes the epsilon arcs off its front.
  ArcRange take_epsilons() {
    ArcRange epsilons{begin, begin};
    while (epsilons.end != end && epsilons.end->label == 0) ++epsilons.end;
    begin = epsilons.end;
    return epsilons;
  }
};

class SortedArcs {
 public:
  // Labels are `aux_labels` where the view has them, but kFinalLabel on the arcs into a final state.
  SortedArcs(const FsaVecView& fsas, Progress& progress) : splits_(fsas.state_splits) {
    arcs_.reserve(fsas.num_arcs());
    for (int64_t a = 0; a < fsas.num_arcs(); ++a) {
      const Arc& arc = fsas.arcs[a];
      const bool matched = fsas.aux_labels != nullptr && arc.label != kFinalLabel;
      const int32_t label = matched ? fsas.aux_labels[a] : arc.label;
      arcs_.push_back({static_cast<uint32_t>(label), arc.dst, static_cast<int32_t>(a)});
      progress.step();
    }
    const auto by_label = [](const SortedArc& x, const SortedArc& y) { return x.label < y.label; };
    for (int64_t s = 0; s < fsas.num_states(); ++s) {
      const auto begin = arcs_.begin() + splits_[s], end = arcs_.begin() + splits_[s + 1];
      if (!std::is_sorted(begin, end, by_label)) std::stable_sort(begin, end, by_label);
      progress.step();
    }
  }

  // The arcs that leave a state, which is numbered over the whole vector.
  ArcRange leaving(int64_t state) const {
    return {arcs_.data() + splits_[state], arcs_.data() + splits_[state + 1]};
  }

 private:
  const int64_t* splits_;
  std::vector<SortedArc> arcs_;
};

// The first arc with at least this label.
inline const SortedArc* lower_bound(const ArcRange& arcs, uint32_t label) {
  return std::lower_bound(arcs.begin, arcs.end, label, [](const SortedArc& x, uint32_t l) { return x.label < l; });
}

// Calls found(x, y) for every arc x of `few` and y of `many` with the same label, in the order of `few`. Labels are
// looked up where one side is much longer, as one does in a lexicon's root; else both are read side by side.
template <class Found>
void match_from(ArcRange few, ArcRange many, Found&& found) {
  int64_t steps = 1;
  while ((int64_t{1} << steps) < many.size()) ++steps;
  const bool look_up = few.size() * steps < many.size();
  for (const SortedArc* x = few.begin; x != few.end; ++x) {
    if (look_up) {
      many.begin = lower_bound(many, x->label);
    } else {
      while (many.begin != many.end && many.begin->label < x->label) ++many.begin;
    }
    // `many` stays put: the next arc of `few` may have the same label.
    for (const SortedArc* y = many.begin; y != many.end && y->label == x->label; ++y) found(*x, *y);
  }
}

// Calls found(x, y) for every arc x of `a` and y of `b` with the same label, in the order of the shorter one.
template <class Found>
void match(ArcRange a, ArcRange b, Found&& found) {
  if (a.size() <= b.size()) {
    match_from(a, b, found);
  } else {
    match_from(b, a, [&found](const SortedArc& y, const SortedArc& x) { found(x, y); });
  }
}

}  // namespace wfst_entropy

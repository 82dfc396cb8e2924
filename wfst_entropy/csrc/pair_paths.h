// What the divergence KL(p || q) of two models' paths can be, and the counts that tell.
#pragma once

#include <cstdint>

#include "path_count.h"

namespace wfst_entropy {

// The numbers are the ones that Python sees.
enum KlStatus : uint8_t {
  kKlNoPath = 0,    // p has no path: 0
  kKlFinite = 1,    // a number
  kKlInfinite = 2,  // p has a path that q has not
  kKlOnePath = 3,   // both have one path, the same: 0 exactly
};

// Paths counted up to two: those of p that q has too, those of p that q has not, and all of q.
struct PairPaths {
  int common = 0, lost = 0, of_q = 0;
};

inline PairPaths operator+(const PairPaths& a, const PairPaths& b) {
  return {add_counts(a.common, b.common), add_counts(a.lost, b.lost), add_counts(a.of_q, b.of_q)};
}

// Paths extended by an arc that has mass, or has not, in either model.
inline PairPaths extended(const PairPaths& paths, bool in_p, bool in_q) {
  if (!in_q) return {0, in_p ? add_counts(paths.common, paths.lost) : 0, 0};
  return {in_p ? paths.common : 0, in_p ? paths.lost : 0, paths.of_q};
}

}  // namespace wfst_entropy

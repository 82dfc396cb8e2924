// How many paths of non-zero mass there are: none, one, or more.
#pragma once

#include <algorithm>
#include <cstdint>

namespace wfst_entropy {

// What became of an utterance; the numbers are the ones that Python sees.
enum PathCount : uint8_t { kNoPath = 0, kOnePath = 1, kManyPaths = 2 };

inline int add_counts(int a, int b) { return std::min(a + b, 2); }

// The entropy of a single path is exactly 0, but rounding leaves a little. Below this size an entropy is checked by
// counting paths.
inline double small_entropy(int64_t num_frames) { return 1e-2 + 1e-6 * static_cast<double>(num_frames); }

}  // namespace wfst_entropy

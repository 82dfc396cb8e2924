// The search for one best path: no lattice is kept, only where each token came from.
#pragma once

#include <cstdint>
#include <vector>

#include "found_fsa.h"
#include "token_passing.h"

namespace wfst_entropy {

// A token on its way: it came by `move` from the trace entry `from`; kEntered: that is itself in the trace, as `from`.
struct PathToken {
  float score;
  int32_t state;
  int32_t from;
  int32_t move;
};

struct PathScratch : SearchScratch {
  TokenList<PathToken> next;
};

class PathSearch {
 public:
  PathSearch(const SearchGraph& graph, PathScratch& scratch);

  // Reads the frame in scratch.frame.
  void advance(const SearchGraph& graph, const SearchOptions& options, PathScratch& scratch);

  FoundFsa best_path(const SearchGraph& graph, const SearchOptions& options, int32_t epsilon) const;

  size_t num_tokens() const { return tokens_.tokens.size(); }

 private:
  friend class PathRecorder;

  struct Entry {
    int32_t from, move;
  };

  void forget_traces();

  TokenList<PathToken> tokens_;
  std::vector<Entry> trace_;
  size_t trace_limit_ = kLeastTraceLimit;

  static constexpr size_t kLeastTraceLimit = size_t{1} << 20;
};

}  // namespace wfst_entropy

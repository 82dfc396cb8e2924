// The lattice of one utterance while the search goes on, chunk by chunk of frames.
#pragma once

#include <cstdint>

#include "lattice_slices.h"

namespace wfst_entropy {

struct LatticeScratch : SearchScratch {
  TokenList<LatticeToken> next;
  Buffer<Link> emitting, silent;
};

class LatticeSearch {
 public:
  LatticeSearch() = default;
  // keep_scores: whether links shall know the frame scores that they read.
  LatticeSearch(const SearchGraph& graph, const SearchOptions& options, bool keep_scores, LatticeScratch& scratch);

  // Reads the frame in scratch.frame.
  void advance(const SearchGraph& graph, const SearchOptions& options, LatticeScratch& scratch, SearchControl& control);

  // Counts what the search holds already.
  void hold(SearchControl& control) const { control.hold(slices_.num_states(), slices_.num_links()); }

  // The lattice of all frames so far; the search may go on after it. `epsilon` labels arcs that consume no frame.
  FoundFsa lattice(const SearchGraph& graph, const SearchOptions& options, int32_t epsilon) const;
  // Its best path alone.
  FoundFsa best_path(const SearchGraph& graph, const SearchOptions& options, int32_t epsilon) const;

  int64_t num_frames() const { return static_cast<int64_t>(slices_.size()) - 1; }
  size_t num_tokens() const { return tokens_.tokens.size(); }

 private:
  void add_slice(LatticeScratch& scratch);

  LatticeSlices slices_;
  TokenList<LatticeToken> tokens_;  // of the last slice
};

}  // namespace wfst_entropy

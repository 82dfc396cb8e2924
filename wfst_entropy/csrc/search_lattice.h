// The lattice of one utterance while the search goes on, chunk by chunk of frames.
#pragma once

#include <cstdint>
#include <memory>
#include <vector>

#include "found_fsa.h"
#include "token_passing.h"

namespace wfst_entropy {

// One arc of a lattice. `slack` is how much worse the best path through it is than the best path to its destination:
// the cost of an arc is its slack and the least cost of those that follow, so that costs along the best path are
// exactly 0 and neither scores nor sums over whole utterances are needed (Povey et al. 2012, "Generating exact
// lattices in the WFST framework").
struct Link {
  int32_t src, dst;  // tokens of its frame and, if it emits, of the next one
  int32_t move;
  float slack;
};

// The tokens at one time and the links that leave them, as far as they may still be needed.
struct Slice {
  std::vector<int32_t> states;
  std::vector<float> cost;    // of each token when the lattice was pruned last; empty before
  std::vector<Link> emitting;  // by source
  std::vector<Link> silent;    // each token's before those of the tokens that they lead to
  std::vector<float> read;     // the frame's scores of `emitting`, if they are kept
};

using Slices = std::vector<std::shared_ptr<Slice>>;  // copies of a search share them

struct LatticeToken {
  float score;
  int32_t state;
};

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
  void hold(SearchControl& control) const { control.hold(num_states_, num_links_); }

  // The lattice of all frames so far; the search may go on after it. `epsilon` labels arcs that consume no frame.
  FoundFsa lattice(const SearchGraph& graph, const SearchOptions& options, int32_t epsilon) const;
  // Its best path alone.
  FoundFsa best_path(const SearchGraph& graph, const SearchOptions& options, int32_t epsilon) const;

  int64_t num_frames() const { return static_cast<int64_t>(slices_.size()) - 1; }
  size_t num_tokens() const { return tokens_.tokens.size(); }

 private:
  void add_slice(LatticeScratch& scratch);
  void prune(float output_beam);
  void count(const Slice& slice, int sign);

  // The slice at a time, to be changed: a copy of its own if other searches have it, too.
  Slice& own(size_t t);

  bool keep_scores_ = false;
  Slices slices_;
  TokenList<LatticeToken> tokens_;  // of the last slice
  int64_t num_states_ = 0, num_links_ = 0;
};

}  // namespace wfst_entropy

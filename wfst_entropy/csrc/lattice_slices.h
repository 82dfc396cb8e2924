// The lattice of one utterance while a search goes on, time by time: what is kept of it, and what becomes of it.
#pragma once

#include <algorithm>
#include <cstdint>
#include <limits>
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
  std::vector<float> cost;     // of each token when the lattice was pruned last; empty before
  std::vector<Link> emitting;  // by source
  std::vector<Link> silent;    // each token's before those of the tokens that they lead to
  std::vector<float> read;     // the frame's scores of `emitting`, if they are kept
  // Of searches in which the frame's scores depend on the token (else empty):
  std::vector<int32_t> rows;  // of each token, which scores it reads
  std::vector<float> scores;  // of each token, from any zero
};

struct LatticeToken {
  float score;
  int32_t state;
};

// How the paths end that are at one of the last tokens now.
struct Ending {
  struct Arc {
    int32_t token, arc;  // -1: no arc of the graph
    float slack;
  };
  std::vector<Arc> arcs;  // by token
  bool partial = false;
};

// Turns the scores that endings have so far into slacks.
inline void finish(Ending& ending) {
  float best = -std::numeric_limits<float>::infinity();
  for (const auto& arc : ending.arcs) best = std::max(best, arc.slack);
  for (auto& arc : ending.arcs) arc.slack = best - arc.slack;
}

template <class Tokens>
Ending end_anywhere(const Tokens& tokens) {
  Ending ending;
  for (size_t i = 0; i < tokens.size(); ++i) ending.arcs.push_back({static_cast<int32_t>(i), -1, tokens[i].score});
  ending.partial = tokens.size() > 0;
  finish(ending);
  return ending;
}

// By the final arcs of the graph; if there are none and `allow_partial`, anywhere.
template <class Tokens>
Ending find_ending(const SearchGraph& graph, bool allow_partial, const Tokens& tokens) {
  Ending ending;
  with_view(graph, [&](const auto& view) {
    for (size_t i = 0; i < tokens.size(); ++i) {
      view.finish(tokens[i].state, [&](int32_t arc, float score) {
        ending.arcs.push_back({static_cast<int32_t>(i), arc, tokens[i].score + score});
      });
    }
  });
  if (ending.arcs.empty() && allow_partial) return end_anywhere(tokens);
  finish(ending);
  return ending;
}

class LatticeSlices {
 public:
  LatticeSlices() = default;
  // keep_scores: whether slices have `read`. ordered: whether the tokens of each are in topological order, one that
  // does not depend on how the search came across them; else they are put in such an order by their states.
  LatticeSlices(bool keep_scores, bool ordered) : keep_scores_(keep_scores), ordered_(ordered) {}

  // A new time, to which the links lead that were given to `emit` last.
  void add(Slice slice);
  // What leaves the newest time.
  void emit(std::vector<Link> links, std::vector<float> read);

  // Forgets what no continuation can bring back into the beam: a token may still turn out to be on the best path, so
  // each of the last ones costs 0. Goes back until nothing changes any more.
  void prune(float output_beam);

  // The first `num_slices` times as a lattice. `epsilon` labels arcs that consume no frame.
  FoundFsa lattice(const SearchGraph& graph, size_t num_slices, const Ending& ending, float beam,
                   int32_t epsilon) const;
  // The best path of all.
  FoundFsa best_path(const SearchGraph& graph, const Ending& ending, int32_t epsilon) const;

  // The share of the paths with these labels, blanks left out, in the mass of all paths. Arcs emit 0 for blank.
  double posterior(const SearchGraph& graph, const Ending& ending, const std::vector<int32_t>& labels) const;

  size_t size() const { return slices_.size(); }
  const Slice& operator[](size_t t) const { return *slices_[t]; }
  bool keep_scores() const { return keep_scores_; }
  int64_t num_states() const { return num_states_; }
  int64_t num_links() const { return num_links_; }

 private:
  void count(const Slice& slice, int sign);

  // The slice at a time, to be changed: a copy of its own if other searches have it, too.
  Slice& own(size_t t);

  bool keep_scores_ = false, ordered_ = false;
  std::vector<std::shared_ptr<Slice>> slices_;  // copies share them
  int64_t num_states_ = 0, num_links_ = 0;
};

}  // namespace wfst_entropy

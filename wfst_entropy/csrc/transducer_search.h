// The search of a graph by a transducer that emits at most one label per frame: states are pairs of a state of the
// graph and the last labels, which are all that the transducer's predictor knows (k2's rnnt_decode has such a search).
#pragma once

#include <cstdint>
#include <utility>
#include <vector>

#include "lattice_slices.h"

namespace wfst_entropy {

struct TransducerOptions {
  int64_t num_symbols;  // blank, which is 0, included
  int64_t history;      // labels in a context
  float beam;
  int64_t max_states, max_contexts;
  uint64_t top;  // num_symbols ** (history - 1)

  // Throws InputError if contexts cannot be numbered.
  TransducerOptions(int64_t num_symbols, int64_t history, double beam, int64_t max_states, int64_t max_contexts);

  // A context is a number with `history` digits, the newest label being the last one.
  uint64_t append(uint64_t context, int32_t label) const { return context % top * num_symbols + label; }
};

// A place of the search. One that was passed can only emit a label in this frame: arcs that consume no frame are taken
// right before the label, not before a blank, so that no sequence of arcs and frame labels has two paths, and states
// of the graph in between take no room in the beam.
struct TransducerToken {
  float score;  // from that of the last frame's best
  int32_t state;
  int32_t row;  // of its context
  bool passed;
};

// Numbers pairs of a context and a state in the order in which they come.
class PairNumbers {
 public:
  struct Pair {
    uint64_t context;
    int32_t state;
  };

  void clear();
  int32_t find_or_add(uint64_t context, int32_t state);
  const std::vector<Pair>& pairs() const { return pairs_; }

 private:
  static uint64_t hash(const Pair& pair);
  void resize(size_t size);

  std::vector<Pair> pairs_;
  std::vector<int32_t> table_;  // a power of two, and less than half of it in use
};

struct TransducerScratch {
  struct Arrival {
    int32_t src, dst, move;  // dst: a number of `numbers`, once it has one
    uint64_t context;
    float score;
  };
  std::vector<FrameScores> frames;  // of each context, what it emits in this frame
  std::vector<Arrival> arrivals;
  PairNumbers numbers;
  std::vector<float> best;
  std::vector<int32_t> kept, place;
  std::vector<std::vector<int32_t>> pending;
};

// Where paths may end: where the graph says so; there, or anywhere if no path is there; anywhere.
enum class PathsEnd { kFinal, kFinalOrAnywhere, kAnywhere };

class TransducerStream {
 public:
  TransducerStream(const SearchGraph& graph, TransducerScratch& scratch);

  // Reads the frame whose scores are scratch.frames, one for each of contexts().
  void advance(const SearchGraph& graph, const TransducerOptions& options, TransducerScratch& scratch,
               SearchControl& control);

  // The contexts of the next frame, in ascending order; none once every path has lost its mass.
  const std::vector<uint64_t>& contexts() const { return contexts_; }
  // Where each of them was among those of the frame before, -1 for a new one.
  const std::vector<int64_t>& carried() const { return carried_; }

  void hold(SearchControl& control) const { control.hold(slices_.num_states(), slices_.num_links()); }

  // Forgets what led nowhere. After it there are no lattices of fewer frames.
  void forget_dead_ends();

  // The lattice of the first frames. Throws InputError if they are fewer than when dead ends were forgotten.
  FoundFsa lattice(const SearchGraph& graph, int64_t num_frames, PathsEnd end, int32_t epsilon) const;
  // The best path, and the probability of its labels among all paths.
  std::pair<FoundFsa, double> best_path(const SearchGraph& graph, PathsEnd end, int32_t epsilon) const;

  int64_t num_frames() const { return static_cast<int64_t>(slices_.size()) - 1; }
  size_t num_tokens() const { return tokens_.size(); }

 private:
  void collect(const SearchGraph& graph, const TransducerOptions& options, TransducerScratch& scratch) const;
  void choose(const TransducerOptions& options, TransducerScratch& scratch) const;
  void take(const SearchGraph& graph, TransducerScratch& scratch);
  std::vector<Link> pass(const SearchGraph& graph, TransducerScratch& scratch);
  void add_slice(std::vector<Link> silent);
  Ending ending(const SearchGraph& graph, int64_t num_frames, PathsEnd end) const;

  LatticeSlices slices_{/*keep_scores=*/true, /*ordered=*/true};
  std::vector<TransducerToken> tokens_;  // of the last slice: those of the beam, by context and state, then those passed
  std::vector<uint64_t> contexts_;
  std::vector<int64_t> carried_;
  int64_t forgotten_ = 0;  // frames when dead ends were forgotten
};

}  // namespace wfst_entropy

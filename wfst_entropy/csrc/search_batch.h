// What the searches of batches share: graphs that are ready, and what all sequences gave, as Python gets it.
#pragma once

#include <algorithm>
#include <memory>
#include <mutex>
#include <string>
#include <vector>

#include "pair_graph.h"
#include "parallel.h"
#include "search_best_path.h"
#include "search_lattice.h"
#include "surgery.h"

namespace wfst_entropy {

// Graphs that are ready, and working memory that searches leave for the next ones.
class SearchGraphs {
 public:
  SearchGraphs(const FsaVecView& fsas, Progress& progress, int topology, int32_t epsilon) {
    nb::gil_scoped_release released;
    check_arc_numbers(fsas, progress);
    for (int64_t i = 0; i < fsas.num_fsas; ++i) {
      graphs_.push_back(make_search_graph(fsas, i, static_cast<Topology>(topology), epsilon, progress));
      largest_ = std::max(largest_, graphs_.back().num_search_states());
    }
  }

  const SearchGraph& operator[](int64_t sequence) const { return graphs_[graphs_.size() == 1 ? 0 : sequence]; }

  int64_t num_graphs() const { return static_cast<int64_t>(graphs_.size()); }
  int32_t largest_label() const {
    int32_t largest = 0;
    for (const SearchGraph& graph : graphs_) largest = std::max(largest, graph.largest_label);
    return largest;
  }
  int64_t num_search_states() const {
    int64_t count = 0;
    for (const SearchGraph& graph : graphs_) count += graph.empty() ? 0 : graph.num_search_states();
    return count;
  }
  int64_t bytes() const {
    int64_t bytes = 0;
    for (const SearchGraph& graph : graphs_) bytes += graph.bytes();
    return bytes;
  }

  // Runs body(scratch) with working memory for states of any of the graphs. If it throws, the memory is gone.
  template <class Scratch, class Body>
  void with_scratch(std::vector<std::unique_ptr<Scratch>> SearchGraphs::*pool, const Body& body) {
    std::unique_ptr<Scratch> scratch;
    {
      std::lock_guard<std::mutex> lock(mutex_);
      auto& free = this->*pool;
      if (!free.empty()) {
        scratch = std::move(free.back());
        free.pop_back();
      }
    }
    if (!scratch) {
      scratch = std::make_unique<Scratch>();
      scratch->slot.resize(largest_);
    }
    body(*scratch);
    std::lock_guard<std::mutex> lock(mutex_);
    (this->*pool).push_back(std::move(scratch));
  }

  std::vector<std::unique_ptr<PathScratch>> for_paths;
  std::vector<std::unique_ptr<LatticeScratch>> for_lattices;

 private:
  std::vector<SearchGraph> graphs_;
  int32_t largest_ = 0;
  std::mutex mutex_;
};

struct BadScore {
  int64_t frame = -1, symbol = -1;
};

// What all sequences gave, in one vector of FSAs.
class Batch {
 public:
  explicit Batch(int64_t size) : found(size), bad(size) {}

  std::vector<FoundFsa> found;
  std::vector<BadScore> bad;

  // Nothing, or sequence, frame and symbol of the first score that is refused.
  std::vector<int64_t> bad_score() const {
    for (size_t s = 0; s < bad.size(); ++s)
      if (bad[s].frame >= 0) return {static_cast<int64_t>(s), bad[s].frame, bad[s].symbol};
    return {};
  }

  // Parts: fsa_splits, state_splits, arcs, arc map, frames, where each arc's score stands among all scores (or, of
  // streams, the score), which FSAs are partial, bad_score(), and the rows of scores, if frames have several.
  template <class T>
  nb::tuple to_python(const DenseVec<T>* dense, int32_t epsilon) {
    std::vector<int64_t> fsa_splits{0}, state_splits{0}, source, positions;
    std::vector<Arc> arcs;
    std::vector<int32_t> frames, rows;
    std::vector<float> read;
    std::vector<uint8_t> partial;
    {
      nb::gil_scoped_release released;
      state_splits.clear();
      for (size_t s = 0; s < found.size(); ++s) {
        FoundFsa& fsa = found[s];
        for (const int64_t split : fsa.splits) state_splits.push_back(split + static_cast<int64_t>(arcs.size()));
        fsa_splits.push_back(static_cast<int64_t>(state_splits.size()));
        if (dense != nullptr) add_positions(*dense, static_cast<int64_t>(s), fsa, epsilon, positions);
        append(arcs, fsa.arcs);
        append(source, fsa.source);
        append(frames, fsa.frames);
        append(read, fsa.read);
        append(rows, fsa.rows);
        partial.push_back(fsa.partial);
        fsa = {};
      }
      state_splits.push_back(static_cast<int64_t>(arcs.size()));
    }
    return nb::make_tuple(to_array(std::move(fsa_splits)), to_array(std::move(state_splits)), to_array(std::move(arcs)),
                          to_array(std::move(source)), to_array(std::move(frames)), to_array(std::move(positions)),
                          to_array(std::move(read)), to_array(std::move(partial)), to_array(bad_score()),
                          to_array(std::move(rows)));
  }

 private:
  template <class T>
  static void append(std::vector<T>& all, const std::vector<T>& part) {
    all.insert(all.end(), part.begin(), part.end());
  }

  template <class T>
  static void add_positions(const DenseVec<T>& dense, int64_t s, const FoundFsa& fsa, int32_t epsilon,
                            std::vector<int64_t>& positions) {
    const int64_t first_row = dense.utterances[s] * dense.num_frames + dense.start_frames[s];
    for (size_t a = 0; a < fsa.arcs.size(); ++a) {
      const int32_t label = fsa.arcs[a].label;
      const bool emits = label != kFinalLabel && label != epsilon;
      positions.push_back(emits ? (first_row + fsa.frames[a]) * dense.num_symbols + label : -1);
    }
  }
};

// Runs body(sequence, control) for all sequences on several threads.
template <class Body>
void for_each_sequence(int64_t n, int num_threads, Progress& progress, const char* advice, const Body& body) {
  nb::gil_scoped_release released;
  SearchControl control(progress, advice);
  parallel_for(
      n, num_threads, [&](int64_t s) { control.guard([&] { body(s, control); }); }, [&] { control.watch(); });
}

}  // namespace wfst_entropy

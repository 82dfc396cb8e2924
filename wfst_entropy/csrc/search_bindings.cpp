// Searches as Python sees them: graphs that are ready, searches of whole batches, and streams of chunks.
#include "search_bindings.h"

#include <nanobind/stl/string.h>
#include <nanobind/stl/vector.h>

#include <mutex>
#include <string>

#include "address.h"
#include "pair_graph.h"
#include "parallel.h"
#include "search_best_path.h"
#include "search_lattice.h"
#include "surgery.h"

namespace wfst_entropy {
namespace {

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

// Calls step() for each frame of a sequence, after reading it; stops at a score that may not be used.
template <class T, class Step>
BadScore for_each_frame(const DenseVec<T>& dense, int64_t s, SearchControl& control, FrameScores& frame,
                        const Step& step) {
  const T* scores =
      dense.scores + dense.utterances[s] * dense.utterance_stride + dense.start_frames[s] * dense.frame_stride;
  for (int64_t t = 0; t < dense.lengths[s]; ++t) {
    const int64_t bad = frame.read(scores + t * dense.frame_stride, dense.num_symbols);
    if (bad >= 0) return {t, bad};
    if (!control.go_on(step() + dense.num_symbols)) break;
  }
  return {};
}

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
  // streams, the score), which FSAs are partial, and bad_score().
  template <class T>
  nb::tuple to_python(const DenseVec<T>* dense, int32_t epsilon) {
    std::vector<int64_t> fsa_splits{0}, state_splits{0}, source, positions;
    std::vector<Arc> arcs;
    std::vector<int32_t> frames;
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
        partial.push_back(fsa.partial);
        fsa = {};
      }
      state_splits.push_back(static_cast<int64_t>(arcs.size()));
    }
    return nb::make_tuple(to_array(std::move(fsa_splits)), to_array(std::move(state_splits)), to_array(std::move(arcs)),
                          to_array(std::move(source)), to_array(std::move(frames)), to_array(std::move(positions)),
                          to_array(std::move(read)), to_array(std::move(partial)), to_array(bad_score()));
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
void for_each_sequence(int64_t n, int num_threads, Progress& progress, const Body& body) {
  nb::gil_scoped_release released;
  SearchControl control(progress);
  parallel_for(
      n, num_threads, [&](int64_t s) { control.guard([&] { body(s, control); }); }, [&] { control.watch(); });
}

template <class T>
nb::tuple search_lattices(SearchGraphs& graphs, const DenseVec<T>& dense, Progress& progress,
                          const SearchOptions& options, int32_t epsilon) {
  Batch batch(dense.num_sequences);
  for_each_sequence(dense.num_sequences, dense.num_threads, progress, [&](int64_t s, SearchControl& control) {
    graphs.with_scratch(&SearchGraphs::for_lattices, [&](LatticeScratch& scratch) {
      const SearchGraph& graph = graphs[s];
      LatticeSearch search(graph, options, /*keep_scores=*/false, scratch);
      search.hold(control);
      batch.bad[s] = for_each_frame(dense, s, control, scratch.frame, [&] {
        search.advance(graph, options, scratch, control);
        return search.num_tokens();
      });
      batch.found[s] = search.lattice(graph, options, epsilon);
    });
  });
  return batch.to_python(&dense, epsilon);
}

template <class T>
nb::tuple search_best_paths(SearchGraphs& graphs, const DenseVec<T>& dense, Progress& progress,
                            const SearchOptions& options, int32_t epsilon) {
  Batch batch(dense.num_sequences);
  for_each_sequence(dense.num_sequences, dense.num_threads, progress, [&](int64_t s, SearchControl& control) {
    graphs.with_scratch(&SearchGraphs::for_paths, [&](PathScratch& scratch) {
      const SearchGraph& graph = graphs[s];
      PathSearch search(graph, scratch);
      batch.bad[s] = for_each_frame(dense, s, control, scratch.frame, [&] {
        search.advance(graph, options, scratch);
        return search.num_tokens();
      });
      batch.found[s] = search.best_path(graph, options, epsilon);
    });
  });
  return batch.to_python(&dense, epsilon);
}

enum class Output { kLattice, kBestPath };

// Returns what the streams have found so far.
nb::tuple read_streams(SearchGraphs& graphs, const std::vector<const LatticeSearch*>& streams, Progress& progress,
                       const SearchOptions& options, int32_t epsilon, int output, int num_threads) {
  Batch batch(static_cast<int64_t>(streams.size()));
  for_each_sequence(static_cast<int64_t>(streams.size()), num_threads, progress, [&](int64_t s, SearchControl&) {
    const bool lattice = static_cast<Output>(output) == Output::kLattice;
    batch.found[s] = lattice ? streams[s]->lattice(graphs[s], options, epsilon)
                             : streams[s]->best_path(graphs[s], options, epsilon);
  });
  return batch.to_python<float>(nullptr, epsilon);
}

// Returns new streams, which have gone on along a chunk of frames each, and nothing or a score that is refused.
template <class T>
nb::tuple advance_streams(SearchGraphs& graphs, const DenseVec<T>& dense, Progress& progress,
                          const SearchOptions& options, const std::vector<const LatticeSearch*>& before) {
  std::vector<LatticeSearch> streams(before.size());
  Batch batch(dense.num_sequences);
  for_each_sequence(dense.num_sequences, dense.num_threads, progress, [&](int64_t s, SearchControl& control) {
    graphs.with_scratch(&SearchGraphs::for_lattices, [&](LatticeScratch& scratch) {
      streams[s] = *before[s];
      streams[s].hold(control);
      batch.bad[s] = for_each_frame(dense, s, control, scratch.frame, [&] {
        streams[s].advance(graphs[s], options, scratch, control);
        return streams[s].num_tokens();
      });
    });
  });
  nb::list result;
  for (LatticeSearch& stream : streams) result.append(nb::cast(std::move(stream), nb::rv_policy::move));
  return nb::make_tuple(result, to_array(batch.bad_score()));
}

template <class T>
void bind_searches(nb::module_& m) {
  m.def("advance_streams", &advance_streams<T>);
  m.def("search_lattices", &search_lattices<T>);
  m.def("search_best_paths", &search_best_paths<T>);
}

}  // namespace

void bind_search(nb::module_& m) {
  nb::class_<SearchGraphs>(m, "SearchGraphs")
      .def(nb::init<const FsaVecView&, Progress&, int, int32_t>())
      .def_prop_ro("num_graphs", &SearchGraphs::num_graphs)
      .def_prop_ro("num_search_states", &SearchGraphs::num_search_states)
      .def_prop_ro("largest_label", &SearchGraphs::largest_label)
      .def_prop_ro("bytes", &SearchGraphs::bytes);
  nb::class_<LatticeSearch>(m, "SearchStream").def_prop_ro("num_frames", &LatticeSearch::num_frames);
  m.def("start_stream", [](SearchGraphs& graphs, const SearchOptions& options) {
    LatticeSearch stream;
    graphs.with_scratch(&SearchGraphs::for_lattices, [&](LatticeScratch& scratch) {
      stream = LatticeSearch(graphs[0], options, /*keep_scores=*/true, scratch);
    });
    return stream;
  });
  m.def("read_streams", &read_streams);
  nb::class_<SearchOptions>(m, "SearchOptions")
      .def("__init__", [](SearchOptions* self, double search_beam, double output_beam, int64_t min_active,
                          int64_t max_active, bool allow_partial) {
        // finite, so that what leads nowhere, at infinite cost, lies outside
        const double output = std::min(output_beam, double{std::numeric_limits<float>::max()});
        new (self) SearchOptions{static_cast<float>(search_beam), static_cast<float>(output), min_active, max_active,
                                 allow_partial};
      });
  m.attr("NO_LABEL") = kNoLabel;
  bind_searches<float>(m);
  bind_searches<double>(m);
}

}  // namespace wfst_entropy

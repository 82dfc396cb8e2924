// Searches as Python sees them: graphs that are ready, searches of whole batches, and streams of chunks.
#include "search_bindings.h"

#include <nanobind/stl/string.h>
#include <nanobind/stl/vector.h>

#include "address.h"
#include "search_batch.h"

namespace wfst_entropy {
namespace {

constexpr const char* kAdvice = "narrow search_beam or output_beam, lower max_active_states";

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

template <class T>
nb::tuple search_lattices(SearchGraphs& graphs, const DenseVec<T>& dense, Progress& progress,
                          const SearchOptions& options, int32_t epsilon) {
  Batch batch(dense.num_sequences);
  for_each_sequence(dense.num_sequences, dense.num_threads, progress, kAdvice, [&](int64_t s, SearchControl& control) {
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
  for_each_sequence(dense.num_sequences, dense.num_threads, progress, kAdvice, [&](int64_t s, SearchControl& control) {
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
  for_each_sequence(static_cast<int64_t>(streams.size()), num_threads, progress, kAdvice, [&](int64_t s, SearchControl&) {
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
  for_each_sequence(dense.num_sequences, dense.num_threads, progress, kAdvice, [&](int64_t s, SearchControl& control) {
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

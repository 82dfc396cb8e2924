// Transducer searches for wfst_entropy/_native/transducer_search.py, which checks what arrives here as addresses.
#include "transducer_search_bindings.h"

#include <nanobind/stl/vector.h>

#include <algorithm>
#include <mutex>

#include "address.h"
#include "search_batch.h"
#include "transducer_search.h"

namespace wfst_entropy {
namespace {

constexpr const char* kAdvice = "narrow the beam, lower max_states or max_contexts";

// The settings of searches, and working memory that one leaves for the next.
class TransducerSearch {
 public:
  TransducerSearch(int64_t num_symbols, int64_t history, double beam, int64_t max_states, int64_t max_contexts)
      : options(num_symbols, history, beam, max_states, max_contexts) {}

  const TransducerOptions options;

  std::unique_ptr<TransducerScratch> borrow() {
    std::lock_guard<std::mutex> lock(mutex_);
    if (free_.empty()) return std::make_unique<TransducerScratch>();
    auto scratch = std::move(free_.back());
    free_.pop_back();
    return scratch;
  }
  void give_back(std::unique_ptr<TransducerScratch> scratch) {
    std::lock_guard<std::mutex> lock(mutex_);
    free_.push_back(std::move(scratch));
  }

 private:
  std::mutex mutex_;
  std::vector<std::unique_ptr<TransducerScratch>> free_;
};

using Graphs = std::vector<const SearchGraphs*>;
using Streams = std::vector<TransducerStream*>;

// Where the contexts of each stream begin among those of all.
std::vector<int64_t> context_splits(const Streams& streams) {
  std::vector<int64_t> splits{0};
  for (const TransducerStream* stream : streams)
    splits.push_back(splits.back() + static_cast<int64_t>(stream->contexts().size()));
  return splits;
}

nb::tuple contexts(const TransducerSearch& search, const Streams& streams) {
  std::vector<int64_t> splits = context_splits(streams);
  const int64_t history = search.options.history;
  std::vector<int64_t> labels(static_cast<size_t>(splits.back() * history)), carried;
  int64_t* row = labels.data();
  for (const TransducerStream* stream : streams) {
    for (uint64_t context : stream->contexts()) {
      for (int64_t i = history; i-- > 0; context /= search.options.num_symbols)
        row[i] = static_cast<int64_t>(context % search.options.num_symbols);
      row += history;
    }
    carried.insert(carried.end(), stream->carried().begin(), stream->carried().end());
  }
  return nb::make_tuple(to_array(std::move(splits)), to_array(std::move(labels)), to_array(std::move(carried)));
}

// The row and the symbol of the first score that is refused, or nothing.
template <class T>
std::vector<int64_t> bad_score(const T* scores, int64_t num_rows, int64_t stride, int64_t num_symbols) {
  const T most = T(kSearchScoreLimit);
  for (int64_t r = 0; r < num_rows; ++r) {
    const T* row = scores + r * stride;
    bool good = true;
    for (int64_t c = 0; c < num_symbols; ++c) good &= row[c] <= most;
    if (!good) return {r, std::find_if(row, row + num_symbols, [&](T x) { return !(x <= most); }) - row};
  }
  return {};
}

// One frame of each stream; nothing changes if a score is refused, which is returned then.
template <class T>
nb::object advance(TransducerSearch& search, const Graphs& graphs, const Streams& streams, Progress& progress,
                   uintptr_t scores, int64_t stride, int num_threads) {
  const T* const all = pointer<const T>(scores);
  const std::vector<int64_t> splits = context_splits(streams);
  const int64_t num_symbols = search.options.num_symbols;
  std::vector<int64_t> bad = bad_score(all, splits.back(), stride, num_symbols);
  if (bad.empty()) {
    const auto n = static_cast<int64_t>(streams.size());
    for_each_sequence(n, num_threads, progress, kAdvice, [&](int64_t s, SearchControl& control) {
      auto scratch = search.borrow();
      const int64_t count = splits[s + 1] - splits[s];
      if (static_cast<int64_t>(scratch->frames.size()) < count) scratch->frames.resize(count);
      for (int64_t r = 0; r < count; ++r) scratch->frames[r].read(all + (splits[s] + r) * stride, num_symbols);
      streams[s]->hold(control);
      streams[s]->advance((*graphs[s])[0], search.options, *scratch, control);
      control.go_on(static_cast<uint64_t>(count * num_symbols));
      search.give_back(std::move(scratch));
    });
  }
  return to_array(std::move(bad));
}

nb::tuple lattices(const Graphs& graphs, const Streams& streams, Progress& progress,
                   const std::vector<int64_t>& num_frames, int end, int32_t epsilon, int num_threads) {
  const auto n = static_cast<int64_t>(streams.size());
  Batch batch(n);
  for_each_sequence(n, num_threads, progress, kAdvice, [&](int64_t s, SearchControl&) {
    batch.found[s] = streams[s]->lattice((*graphs[s])[0], num_frames[s], static_cast<PathsEnd>(end), epsilon);
  });
  return batch.to_python<float>(nullptr, epsilon);
}

// The best paths, and the probability of each one's labels.
nb::tuple best_paths(const Graphs& graphs, const Streams& streams, Progress& progress, int end, int32_t epsilon,
                     int num_threads) {
  const auto n = static_cast<int64_t>(streams.size());
  Batch batch(n);
  std::vector<double> posteriors(n);
  for_each_sequence(n, num_threads, progress, kAdvice, [&](int64_t s, SearchControl&) {
    auto [path, posterior] = streams[s]->best_path((*graphs[s])[0], static_cast<PathsEnd>(end), epsilon);
    batch.found[s] = std::move(path);
    posteriors[s] = posterior;
  });
  return nb::make_tuple(batch.to_python<float>(nullptr, epsilon), to_array(std::move(posteriors)));
}

}  // namespace

void bind_transducer_search(nb::module_& m) {
  nb::class_<TransducerStream>(m, "TransducerStream")
      .def_prop_ro("num_frames", &TransducerStream::num_frames)
      .def("copy", [](const TransducerStream& stream) { return TransducerStream(stream); })
      .def("forget_dead_ends", &TransducerStream::forget_dead_ends);
  nb::class_<TransducerSearch>(m, "TransducerSearch")
      .def(nb::init<int64_t, int64_t, double, int64_t, int64_t>())
      .def("start",
           [](TransducerSearch& search, const SearchGraphs& graphs) {
             auto scratch = search.borrow();
             TransducerStream stream(graphs[0], *scratch);
             search.give_back(std::move(scratch));
             return stream;
           })
      .def("contexts", &contexts)
      .def("advance_float32", &advance<float>)
      .def("advance_float64", &advance<double>);
  m.def("transducer_lattices", &lattices);
  m.def("transducer_best_paths", &best_paths);
}

}  // namespace wfst_entropy

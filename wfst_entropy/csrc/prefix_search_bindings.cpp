// The prefix search for wfst_entropy/_native/prefix_search.py, which checks what arrives here as addresses.
#include "prefix_search_bindings.h"

#include <algorithm>
#include <memory>

#include "address.h"
#include "parallel.h"
#include "prefix_search.h"
#include "surgery.h"

namespace wfst_entropy {
namespace {

template <class T>
std::vector<T> copy(uintptr_t address, int64_t count) {
  const T* first = pointer<const T>(address);
  return {first, first + count};
}

void set_lm(PrefixSearch& search, int64_t num_states, int64_t num_arcs, uintptr_t splits, uintptr_t tokens,
            uintptr_t next, uintptr_t scores, uintptr_t backoff, uintptr_t backoff_scores, uintptr_t final_scores,
            double largest) {
  search.has_lm = true;
  search.lm = {copy<int64_t>(splits, num_states + 1), copy<int32_t>(tokens, num_arcs),
               copy<int32_t>(next, num_arcs),         copy<double>(scores, num_arcs),
               copy<int32_t>(backoff, num_states),    copy<double>(backoff_scores, num_states),
               copy<double>(final_scores, num_states), largest};
}

void set_boosts(PrefixSearch& search, int64_t num_states, int64_t num_arcs, uintptr_t splits, uintptr_t tokens,
                uintptr_t children, uintptr_t fail, uintptr_t credit, uintptr_t output, double largest) {
  search.has_boosts = true;
  search.boosts = {copy<int64_t>(splits, num_states + 1), copy<int32_t>(tokens, num_arcs),
                   copy<int32_t>(children, num_arcs),     copy<int32_t>(fail, num_states),
                   copy<double>(credit, num_states),      copy<double>(output, num_states), largest};
}

// Utterance i of the streams reads lengths[i] frames of row i of the scores.
template <class T>
void advance(const PrefixSearch& search, nb::list streams, uintptr_t scores, int64_t utterance_stride,
             int64_t frame_stride, uintptr_t lengths, int num_threads) {
  std::vector<PrefixStream*> pointers;
  for (nb::handle stream : streams) pointers.push_back(nb::cast<PrefixStream*>(stream));
  nb::gil_scoped_release released;
  parallel_for(static_cast<int64_t>(pointers.size()), num_threads, [&](int64_t i) {
    pointers[i]->advance(search, pointer<const T>(scores) + i * utterance_stride, pointer<const int64_t>(lengths)[i],
                         frame_stride);
  });
}

nb::tuple hypotheses(const PrefixSearch& search, const PrefixStream& stream, bool final) {
  bool ends = false;
  nb::list found;
  for (PrefixHypothesis& h : stream.hypotheses(search, final, ends)) {
    found.append(nb::make_tuple(to_array(std::move(h.tokens)), to_array(std::move(h.start_frames)),
                                to_array(std::move(h.end_frames)), to_array(std::move(h.log_probs)), h.score,
                                h.am_score, h.lm_score, h.context_score));
  }
  return nb::make_tuple(found, ends);
}

}  // namespace

void bind_prefix_search(nb::module_& m) {
  nb::class_<PrefixSearch>(m, "PrefixSearch")
      .def_static("make",
                  [](int64_t num_symbols, int64_t blank, int64_t beam_size, int64_t tokens_per_frame,
                     double search_beam, double lm_scale, double length_bonus) {
                    return PrefixSearch{num_symbols, blank,        beam_size, tokens_per_frame, search_beam,
                                        lm_scale,    length_bonus, false,     false,            {},
                                        {}};
                  })
      .def("set_lm", &set_lm)
      .def("set_boosts", &set_boosts);
  nb::class_<PrefixStream>(m, "PrefixStream")
      .def_static("make", [](const PrefixSearch& search) { return PrefixStream(search); })
      .def_prop_ro("num_frames", &PrefixStream::num_frames)
      .def_prop_ro("stopped", &PrefixStream::stopped);
  m.def("prefix_search_advance_float32", &advance<float>);
  m.def("prefix_search_advance_float64", &advance<double>);
  m.def("prefix_search_hypotheses", &hypotheses);
}

}  // namespace wfst_entropy

// The beams for wfst_entropy/_native/modified_beam.py, which checks what arrives here as addresses.
#include "modified_beam_bindings.h"

#include <stdexcept>

#include "address.h"
#include "modified_beam.h"
#include "surgery.h"

namespace wfst_entropy {
namespace {

template <class T>
std::vector<T> copy(uintptr_t address, int64_t count) {
  const T* first = pointer<const T>(address);
  return {first, first + count};
}

void add_ngram(ModifiedBeamSearch& search, int64_t num_states, int64_t num_arcs, uintptr_t splits, uintptr_t tokens,
               uintptr_t next, uintptr_t scores, uintptr_t backoff, uintptr_t backoff_scores, uintptr_t final_scores,
               double scale, double largest) {
  if (search.ngrams.size() == kMostNgrams) throw std::invalid_argument("too many n-grams");
  search.ngrams.push_back({{copy<int64_t>(splits, num_states + 1), copy<int32_t>(tokens, num_arcs),
                            copy<int32_t>(next, num_arcs), copy<double>(scores, num_arcs),
                            copy<int32_t>(backoff, num_states), copy<double>(backoff_scores, num_states),
                            copy<double>(final_scores, num_states), 0},
                           scale,
                           largest});
}

void set_boosts(ModifiedBeamSearch& search, int64_t num_states, int64_t num_arcs, uintptr_t splits, uintptr_t tokens,
                uintptr_t children, uintptr_t fail, uintptr_t credit, uintptr_t output, double largest) {
  search.has_boosts = true;
  search.boosts = {copy<int64_t>(splits, num_states + 1), copy<int32_t>(tokens, num_arcs),
                   copy<int32_t>(children, num_arcs),     copy<int32_t>(fail, num_states),
                   copy<double>(credit, num_states),      copy<double>(output, num_states), largest};
}

// The beams of the streams of one call, one after the other; those of a call are copies.
struct ModifiedBeams {
  const ModifiedBeamSearch& search;
  std::vector<ModifiedBeam> beams;
  ModifiedBeamStep scratch;

  // All of the first `count` streams go on by a frame. Their hypotheses come from these of before (rows), and those
  // that have got a token, which are numbered from the number of rows on, are made of `sources` with `tokens`.
  nb::tuple step(int64_t count, uintptr_t scores) {
    std::vector<int64_t> rows, sources, tokens;
    const int64_t old_rows = num_rows(static_cast<size_t>(count));
    int64_t bad = -1;
    {
      nb::gil_scoped_release released;
      bad = run(static_cast<size_t>(count), old_rows, pointer<const float>(scores), rows, sources, tokens);
    }
    bool changed = !tokens.empty() || static_cast<int64_t>(rows.size()) != old_rows;
    for (size_t i = 0; i < rows.size() && !changed; ++i) changed = rows[i] != static_cast<int64_t>(i);
    return nb::make_tuple(bad, changed, to_array(std::move(rows)), to_array(std::move(sources)),
                          to_array(std::move(tokens)));
  }

  // Returns the stream with a bad score, or -1.
  int64_t run(size_t count, int64_t old_rows, const float* scores, std::vector<int64_t>& rows,
              std::vector<int64_t>& sources, std::vector<int64_t>& tokens) {
    int64_t first = 0;
    for (size_t i = 0; i < count; ++i) {
      const auto size = static_cast<int64_t>(beams[i].size());
      if (!beams[i].step(search, scores + first * search.num_symbols, scratch)) return static_cast<int64_t>(i);
      for (size_t j = 0; j < scratch.from.size(); ++j) {
        if (scratch.tokens[j] < 0) {
          rows.push_back(first + scratch.from[j]);
          continue;
        }
        rows.push_back(old_rows + static_cast<int64_t>(tokens.size()));
        sources.push_back(first + scratch.from[j]);
        tokens.push_back(scratch.tokens[j]);
      }
      first += size;
    }
    return -1;
  }

  int64_t num_rows(size_t count) const {
    int64_t total = 0;
    for (size_t i = 0; i < count; ++i) total += static_cast<int64_t>(beams[i].size());
    return total;
  }
};

nb::tuple hypotheses(const ModifiedBeamSearch& search, const ModifiedBeam& beam, bool final) {
  bool ends = false;
  nb::list found;
  for (ModifiedBeamHypothesis& h : beam.hypotheses(search, final, ends)) {
    found.append(nb::make_tuple(to_array(std::move(h.tokens)), to_array(std::move(h.frames)),
                                to_array(std::move(h.log_probs)), h.score, h.lm_score, h.context_score));
  }
  return nb::make_tuple(found, ends);
}

}  // namespace

void bind_modified_beam(nb::module_& m) {
  nb::class_<ModifiedBeamSearch>(m, "ModifiedBeamSearch")
      .def_static("make",
                  [](int64_t num_symbols, int64_t beam_size, double search_beam, double length_bonus) {
                    return ModifiedBeamSearch{num_symbols, beam_size, search_beam, length_bonus, {}, false, {}};
                  })
      .def("add_ngram", &add_ngram)
      .def("set_boosts", &set_boosts);
  nb::class_<ModifiedBeam>(m, "ModifiedBeam")
      .def_static("make", [] { return ModifiedBeam(); })
      .def_prop_ro("size", &ModifiedBeam::size)
      .def_prop_ro("num_frames", &ModifiedBeam::num_frames)
      .def_prop_ro("stopped", &ModifiedBeam::stopped);
  nb::class_<ModifiedBeams>(m, "ModifiedBeams")
      .def_static(
          "make",
          [](const ModifiedBeamSearch& search, nb::list beams) {
            ModifiedBeams made{search, {}, {}};
            for (nb::handle beam : beams) made.beams.push_back(nb::cast<const ModifiedBeam&>(beam));
            return made;
          },
          nb::keep_alive<0, 1>())
      .def("num_rows", [](const ModifiedBeams& self, int64_t count) { return self.num_rows(count); })
      .def("beam", [](const ModifiedBeams& self, int64_t i) { return self.beams[i]; })
      .def("step", &ModifiedBeams::step);
  m.def("modified_beam_hypotheses", &hypotheses);
}

}  // namespace wfst_entropy

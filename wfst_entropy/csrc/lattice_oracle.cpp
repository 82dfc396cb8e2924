// The path of a lattice with the fewest edits from a reference; of several, the one that scores most.
#include <algorithm>
#include <cstdint>
#include <limits>
#include <vector>

#include "address.h"
#include "pair_graph.h"
#include "surgery.h"
#include "trimmed_fsa.h"

namespace wfst_entropy {
namespace {

// The best way to a state with so many words of the reference read.
struct Cell {
  int32_t errors = std::numeric_limits<int32_t>::max();
  int32_t arc = -1;  // the last one, an index into TrimmedFsa::arcs; -1 for a deletion
  double score = 0;
  bool reads = false;  // whether the last step took a word of the reference
};

bool better(int32_t errors, double score, const Cell& than) {
  return errors != than.errors ? errors < than.errors : score > than.score;
}

class Oracle {
 public:
  Oracle(const TrimmedFsa& fsa, const int32_t* words, const int32_t* ref, int64_t length, Progress& progress)
      : fsa_(fsa), words_(words), ref_(ref), length_(length), progress_(progress), held_(progress) {
    held_.add(static_cast<int64_t>(sizeof(Cell)) * (length_ + 1) * fsa.num_states());
    cells_.resize((length_ + 1) * fsa.num_states());
  }

  // The arcs of the best path, and its insertions, deletions and substitutions.
  std::vector<int64_t> run(int64_t counts[3]) {
    cell(0, 0).errors = 0;
    for (int32_t s = 0; s < fsa_.num_states(); ++s) {
      for (int64_t u = 0; u < length_; ++u) {
        const Cell at = cell(s, u);
        if (at.errors != kUnreached) offer(s, u + 1, {at.errors + 1, -1, at.score, true});
      }
      for (int64_t a = fsa_.splits[s]; a < fsa_.splits[s + 1]; ++a) step(static_cast<int32_t>(a));
    }
    return trace(counts);
  }

 private:
  static constexpr int32_t kUnreached = std::numeric_limits<int32_t>::max();

  Cell& cell(int32_t state, int64_t u) { return cells_[state * (length_ + 1) + u]; }

  void offer(int32_t state, int64_t u, const Cell& way) {
    Cell& old = cell(state, u);
    if (better(way.errors, way.score, old)) old = way;
  }

  void step(int32_t number) {
    const TrimmedArc& arc = fsa_.arcs[number];
    const int32_t word = words_[arc.number];
    for (int64_t u = 0; u <= length_; ++u) {
      progress_.step();
      const Cell at = cell(arc.src, u);
      if (at.errors == kUnreached) continue;
      const double score = at.score + arc.score;
      if (word <= 0) {
        offer(arc.dst, u, {at.errors, number, score, false});
        continue;
      }
      offer(arc.dst, u, {at.errors + 1, number, score, false});
      if (u < length_) offer(arc.dst, u + 1, {at.errors + (word != ref_[u]), number, score, true});
    }
  }

  std::vector<int64_t> trace(int64_t counts[3]) {
    std::vector<int64_t> path;
    int32_t state = fsa_.final_state();
    int64_t u = length_;
    while (state != 0 || u != 0) {
      const Cell& at = cell(state, u);
      if (at.arc < 0) {
        ++counts[1];
        --u;
        continue;
      }
      const TrimmedArc& arc = fsa_.arcs[at.arc];
      path.push_back(arc.number);
      if (at.reads) {
        --u;
        counts[2] += words_[arc.number] != ref_[u];
      } else {
        counts[0] += words_[arc.number] > 0;
      }
      state = arc.src;
    }
    std::reverse(path.begin(), path.end());
    return path;
  }

  const TrimmedFsa& fsa_;
  const int32_t* words_;
  const int32_t* ref_;
  const int64_t length_;
  Progress& progress_;
  Held held_;
  std::vector<Cell> cells_;
};

nb::tuple lattice_oracle(const FsaVecView& fsas, Progress& progress, uintptr_t ref_splits, uintptr_t ref_values) {
  FsaVecBuilder builder(progress, /*num_maps=*/0);
  const auto* splits = pointer<const int64_t>(ref_splits);
  const auto* values = pointer<const int32_t>(ref_values);
  std::vector<int64_t> path_splits{0}, arcs, counts(3 * fsas.num_fsas, 0);
  {
    nb::gil_scoped_release released;
    check_arc_numbers(fsas, progress);
    for (int64_t i = 0; i < fsas.num_fsas; ++i) {
      const TrimmedFsa fsa = trim(fsas, i, progress);
      const int64_t length = splits[i + 1] - splits[i];
      if (fsa.empty()) {
        counts[3 * i + 1] = length;
      } else {
        Oracle oracle(fsa, fsas.aux_labels, values + splits[i], length, progress);
        const std::vector<int64_t> path = oracle.run(counts.data() + 3 * i);
        arcs.insert(arcs.end(), path.begin(), path.end());
      }
      path_splits.push_back(static_cast<int64_t>(arcs.size()));
    }
  }
  return result(std::move(builder), std::move(path_splits), std::move(arcs), std::move(counts));
}

}  // namespace

void bind_lattice_oracle(nb::module_& m) { m.def("lattice_oracle", &lattice_oracle); }

}  // namespace wfst_entropy

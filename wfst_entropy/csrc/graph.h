// Graphs as the operations on them read and write them: a view of an Fsa vector, and a builder of a new one.
#pragma once

#include <cstdint>
#include <limits>
#include <utility>
#include <vector>

#include "progress.h"

namespace wfst_entropy {

// One row of the tensor `Fsa.arcs`. States are numbered within their own FSA.
struct Arc {
  int32_t src, dst, label;
};
static_assert(sizeof(Arc) == 3 * sizeof(int32_t), "arcs are read from rows of an int32 tensor");

// The label of the arcs into the final state, and of no others.
constexpr int32_t kFinalLabel = -1;
constexpr int32_t kEpsilon = 0;

// One FSA of a vector. Arcs are numbered over the whole vector: those leaving state s are
// arcs[splits[s]] ... arcs[splits[s + 1] - 1], and scores and aux_labels have the same numbers.
struct FsaView {
  int32_t num_states;
  const int64_t* splits;
  const Arc* arcs;
  const double* scores;       // null unless the operation asked for them
  const int32_t* aux_labels;  // likewise

  int64_t first_arc() const { return splits[0]; }
  int64_t end_arc() const { return splits[num_states]; }
  int64_t num_arcs() const { return end_arc() - first_arc(); }
  int32_t final_state() const { return num_states - 1; }
  bool empty() const { return num_states == 0; }
};

// A vector of FSAs that Python owns, and has checked (Fsa's invariants hold: every state number is in range).
struct FsaVecView {
  int64_t num_fsas;
  const int64_t* fsa_splits;    // num_fsas + 1, into states
  const int64_t* state_splits;  // number of states + 1, into arcs
  const Arc* arcs;
  const double* scores;
  const int32_t* aux_labels;

  FsaView operator[](int64_t i) const {
    return {static_cast<int32_t>(fsa_splits[i + 1] - fsa_splits[i]), state_splits + fsa_splits[i], arcs, scores,
            aux_labels};
  }
  int64_t num_states() const { return fsa_splits[num_fsas]; }
  int64_t num_arcs() const { return state_splits[num_states()]; }
};

// Writes a new vector: FSA by FSA, state by state, arc by arc.
//
//   builder.begin_state();                       // state 0
//   builder.add_arc(1, label, source_arc);
//   builder.begin_state();                       // state 1
//   builder.add_arc(kToFinal, kFinalLabel, -1);  // the final state's number is not known yet
//   builder.end_fsa();                           // adds the final state
//
// An FSA that gets no state at all, or is ended by end_empty_fsa(), is the empty one.
class FsaVecBuilder {
 public:
  static constexpr int32_t kToFinal = -1;

  // num_maps: how many arc maps (numbers of source arcs) every arc brings along.
  FsaVecBuilder(Progress& progress, int num_maps) : maps(num_maps), progress_(progress) {}

  // Makes room, where the size of the result is known beforehand.
  void reserve(int64_t states, int64_t num_arcs) {
    state_splits.reserve(states + 1);
    arcs.reserve(num_arcs);
    for (auto& map : maps) map.reserve(num_arcs);
  }

  // Returns the number of the new state within its FSA.
  int32_t begin_state() {
    progress_.grow(num_states() + 1, num_arcs());
    state_splits.push_back(num_arcs());
    return static_cast<int32_t>(num_states() - 1 - fsa_splits.back());
  }

  // Adds an arc that leaves the state begun last. `dst` may be kToFinal.
  void add_arc(int32_t dst, int32_t label, int64_t source = -1, int64_t other_source = -1) {
    progress_.grow(num_states(), num_arcs() + 1);
    arcs.push_back({static_cast<int32_t>(num_states() - 1 - fsa_splits.back()), dst, label});
    if (!maps.empty()) maps[0].push_back(source);
    if (maps.size() > 1) maps[1].push_back(other_source);
  }

  // Ends an FSA. With `add_final` a state without arcs is added as its final one; else the state begun last is final.
  void end_fsa(bool add_final = true) {
    if (add_final) begin_state();
    const auto final_state = static_cast<int32_t>(num_states() - 1 - fsa_splits.back());
    for (size_t a = first_arc_; a < arcs.size(); ++a) {
      if (arcs[a].dst == kToFinal) arcs[a].dst = final_state;
    }
    first_arc_ = arcs.size();
    fsa_splits.push_back(num_states());
  }

  // Forgets the FSA under construction and puts the empty one in its place.
  void end_empty_fsa() {
    state_splits.resize(fsa_splits.back());
    arcs.resize(first_arc_);
    for (auto& map : maps) map.resize(first_arc_);
    fsa_splits.push_back(num_states());
  }

  int64_t num_states() const { return static_cast<int64_t>(state_splits.size()); }
  int64_t num_arcs() const { return static_cast<int64_t>(arcs.size()); }

  std::vector<int64_t> fsa_splits{0};
  std::vector<int64_t> state_splits;  // where each state's arcs begin; the end is appended when it is handed over
  std::vector<Arc> arcs;
  std::vector<std::vector<int64_t>> maps;

 private:
  Progress& progress_;
  size_t first_arc_ = 0;
};

}  // namespace wfst_entropy

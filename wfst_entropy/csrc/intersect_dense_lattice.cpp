// The lattices of graphs against dense frame scores: all pairs (frame, state of the graph) on a successful path.
#include <algorithm>
#include <cmath>
#include <limits>
#include <string>
#include <vector>

#include "intersect_dense.h"
#include "surgery.h"

namespace wfst_entropy {
namespace {

constexpr double kNothing = -std::numeric_limits<double>::infinity();

double without_mask(double score) { return score < -kScoreLimit ? kNothing : score; }

// The pairs of one frame, in ascending order of states.
struct Frame {
  std::vector<int32_t> states;
  std::vector<double> forward;   // best score from the start
  std::vector<double> backward;  // best score to the end
  std::vector<uint8_t> used;     // whether an arc of the lattice touches the pair
  std::vector<int32_t> kept;     // the arcs of the lattice that leave its pairs, counted within the graph
};

struct BadScore {
  int64_t sequence, frame, symbol;
};

template <class T>
class Lattice {
 public:
  Lattice(const FsaView& graph, const DenseVec<T>& dense, int64_t s, Progress& progress)
      : graph_(graph),
        scores_(dense.scores + dense.utterances[s] * dense.utterance_stride +
                dense.start_frames[s] * dense.frame_stride),
        frame_stride_(dense.frame_stride),
        sequence_(s),
        num_sequences_(dense.num_sequences),
        num_frames_(dense.lengths[s]),
        progress_(progress),
        slot_(graph.num_states, -1) {}

  // Follows all arcs with mass from the start, frame by frame. The counts go on from the sequences before.
  void expand(int64_t* num_states, int64_t* num_arcs) {
    frames_.push_back({{0}, {0.0}, {}, {}, {}});
    for (int64_t t = 0; t <= num_frames_; ++t) {
      const Frame& frame = frames_[t];
      Frame found;  // in the order in which pairs are met
      for (size_t i = 0; i < frame.states.size(); ++i) {
        for_each_arc(t, frame.states[i], [&](int64_t a, double score) {
          check_score(t, a);
          if (score == kNothing) return;
          ++*num_arcs;
          int32_t& slot = slot_[graph_.arcs[a].dst];
          if (slot < 0) {
            slot = static_cast<int32_t>(found.states.size());
            found.states.push_back(graph_.arcs[a].dst);
            found.forward.push_back(kNothing);
          }
          found.forward[slot] = std::max(found.forward[slot], frame.forward[i] + score);
        });
      }
      *num_states += static_cast<int64_t>(frame.states.size());
      check_size(*num_states, progress_.max_states(), "states", t);
      check_size(*num_arcs, progress_.max_arcs(), "arcs", t);
      Frame next;
      next.states = found.states;
      std::sort(next.states.begin(), next.states.end());
      for (const int32_t state : next.states) next.forward.push_back(found.forward[slot_[state]]);
      leave(next);
      frames_.push_back(std::move(next));
    }
    *num_states += static_cast<int64_t>(frames_.back().states.size());
    check_size(*num_states, progress_.max_states(), "states", num_frames_);
  }

  // Finds the arcs on paths within the beam of the best one. A pair that no successful path passes has no best score
  // to the end.
  void prune(double output_beam) {
    for (Frame& frame : frames_) {
      frame.backward.assign(frame.states.size(), kNothing);
      frame.used.assign(frame.states.size(), 0);
    }
    Frame& end = frames_.back();  // only the final state follows the last frame
    if (end.states.empty()) return;
    end.backward[0] = 0.0;
    const double best = end.forward[0];
    // sums of the same path in another order differ by rounding, which must not cut the best path
    const double threshold = best - output_beam - 1e-9 * std::fabs(best);
    for (int64_t t = num_frames_; t >= 0; --t) {
      Frame& frame = frames_[t];
      Frame& next = frames_[t + 1];
      enter(next);
      for (size_t i = 0; i < frame.states.size(); ++i) {
        for_each_arc(t, frame.states[i], [&](int64_t a, double score) {
          if (score == kNothing) return;
          const int32_t slot = slot_[graph_.arcs[a].dst];
          const double onward = score + next.backward[slot];
          frame.backward[i] = std::max(frame.backward[i], onward);
          if (onward == kNothing || !(frame.forward[i] + onward >= threshold)) return;
          frame.used[i] = next.used[slot] = 1;
          frame.kept.push_back(static_cast<int32_t>(a - graph_.first_arc()));
        });
      }
      leave(next);
    }
  }

  // Writes these arcs, the frame of each, and where its score stands among all (N, T, C) scores (-1: nowhere).
  void write(int64_t first_score, int64_t num_symbols, FsaVecBuilder& builder, std::vector<int32_t>* arc_frames,
             std::vector<int64_t>* positions) {
    int32_t count = 0;  // states with a number
    for (const uint8_t used : frames_[0].used) count += used;
    if (count == 0) return builder.end_empty_fsa();
    for (int64_t t = 0; t <= num_frames_; ++t) {
      const Frame& frame = frames_[t];
      const Frame& next = frames_[t + 1];
      for (size_t i = 0; i < next.states.size(); ++i)
        if (next.used[i]) slot_[next.states[i]] = count++;
      size_t arc = 0;
      for (size_t i = 0; i < frame.states.size(); ++i) {
        if (!frame.used[i]) continue;
        builder.begin_state();
        for (; arc < frame.kept.size(); ++arc) {
          const int64_t a = graph_.first_arc() + frame.kept[arc];
          const auto [src, dst, label] = graph_.arcs[a];
          if (src != frame.states[i]) break;
          builder.add_arc(slot_[dst], label, a);
          arc_frames->push_back(static_cast<int32_t>(t));
          positions->push_back(label < 0 ? -1 : first_score + t * num_symbols + label);
        }
      }
      leave(next);
    }
    builder.end_fsa();
  }

 private:
  // Calls body(arc, score) for the arcs that leave a state in frame t; no mass has the score kNothing.
  template <class Body>
  void for_each_arc(int64_t t, int32_t state, const Body& body) {
    const T* row = scores_ + t * frame_stride_;
    for (int64_t a = graph_.splits[state]; a < graph_.splits[state + 1]; ++a) {
      const int32_t label = graph_.arcs[a].label;
      if ((label < 0) != (t == num_frames_)) continue;
      progress_.step();
      const double score = without_mask(graph_.scores[a]);
      body(a, label < 0 ? score : score + without_mask(row[label]));
    }
  }

  void enter(const Frame& frame) {
    for (size_t i = 0; i < frame.states.size(); ++i) slot_[frame.states[i]] = static_cast<int32_t>(i);
  }
  void leave(const Frame& frame) {
    for (const int32_t state : frame.states) slot_[state] = -1;
  }

  void check_score(int64_t t, int64_t a) const {
    const int32_t label = graph_.arcs[a].label;
    if (label >= 0 && !(scores_[t * frame_stride_ + label] <= T(kScoreLimit))) throw BadScore{sequence_, t, label};
  }

  void check_size(int64_t number, int64_t limit, const char* what, int64_t t) const {
    if (number <= limit) return;
    throw LimitError(std::string("max_") + what + ": the lattices of " + std::to_string(num_sequences_) +
                     " sequences have " + std::to_string(number) + " " + what + " up to sequence " +
                     std::to_string(sequence_) + ", frame " + std::to_string(t) + " of " +
                     std::to_string(num_frames_) + ", more than " + std::to_string(limit) +
                     "; pass fewer sequences at a time, raise max_" + what +
                     ", or use intersect_dense_tot_scores, which needs no lattice");
  }

  const FsaView graph_;
  const T* scores_;
  const int64_t frame_stride_, sequence_, num_sequences_, num_frames_;
  Progress& progress_;
  std::vector<Frame> frames_;
  std::vector<int32_t> slot_;  // of states of one frame: their position in it
};

// Parts of the result: the lattices, the arc map into the graphs, the frame of each arc, where its score stands among
// all scores, and either nothing or sequence, frame and symbol of a score that may not be used.
template <class T>
nb::tuple intersect_dense_lattice(const FsaVecView& graphs, Progress& progress, const DenseVec<T>& dense,
                                  double output_beam) {
  FsaVecBuilder builder(progress, /*num_maps=*/1);
  std::vector<int32_t> arc_frames;
  std::vector<int64_t> positions, bad;
  {
    nb::gil_scoped_release released;
    int64_t num_states = 0, num_arcs = 0;
    for (int64_t s = 0; s < dense.num_sequences; ++s) {
      const FsaView graph = graphs[graphs.num_fsas == 1 ? 0 : s];
      if (graph.empty()) {
        builder.end_empty_fsa();
        continue;
      }
      Lattice<T> lattice(graph, dense, s, progress);
      try {
        lattice.expand(&num_states, &num_arcs);
      } catch (const BadScore& score) {
        bad = {score.sequence, score.frame, score.symbol};
        break;
      }
      lattice.prune(output_beam);
      const int64_t first_row = dense.utterances[s] * dense.num_frames + dense.start_frames[s];
      lattice.write(first_row * dense.num_symbols, dense.num_symbols, builder, &arc_frames, &positions);
    }
  }
  return result(std::move(builder), std::move(arc_frames), std::move(positions), std::move(bad));
}

}  // namespace

void bind_intersect_dense_lattice(nb::module_& m) {
  m.def("intersect_dense_lattice", &intersect_dense_lattice<float>);
  m.def("intersect_dense_lattice", &intersect_dense_lattice<double>);
}

}  // namespace wfst_entropy

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
    frames_.push_back({{0}, {0.0}, {}, {}});
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

  // Fills the best scores to the end and returns that of the start; a pair that no successful path passes has none.
  double score_backward() {
    for (Frame& frame : frames_) {
      frame.backward.assign(frame.states.size(), kNothing);
      frame.used.assign(frame.states.size(), 0);
    }
    for (double& end : frames_.back().backward) end = 0.0;  // only the final state follows the last frame
    for (int64_t t = num_frames_; t >= 0; --t) {
      Frame& frame = frames_[t];
      const Frame& next = frames_[t + 1];
      enter(next);
      for (size_t i = 0; i < frame.states.size(); ++i) {
        for_each_arc(t, frame.states[i], [&](int64_t a, double score) {
          if (score != kNothing)
            frame.backward[i] = std::max(frame.backward[i], score + next.backward[slot_[graph_.arcs[a].dst]]);
        });
      }
      leave(next);
    }
    return frames_[0].backward[0];
  }

  // Writes the arcs on paths of at least the threshold, and the frame of each.
  void write(double threshold, FsaVecBuilder& builder, std::vector<int32_t>* arc_frames) {
    for (int64_t t = 0; t <= num_frames_; ++t) {
      Frame& next = frames_[t + 1];
      for_each_kept(t, threshold, [&](size_t i, int64_t a) {
        frames_[t].used[i] = 1;
        next.used[slot_[graph_.arcs[a].dst]] = 1;
      });
    }
    int32_t first = 0;  // number of the frame's first state
    for (int64_t t = 0; t <= num_frames_; ++t) {
      const Frame& frame = frames_[t];
      const Frame& next = frames_[t + 1];
      std::vector<int32_t> number(next.states.size(), -1);
      int32_t count = first;
      for (const uint8_t used : frame.used) count += used;
      first = count;
      for (size_t i = 0; i < next.states.size(); ++i)
        if (next.used[i]) number[i] = count++;
      size_t begun = 0;  // states before this one have been written
      const auto begin_up_to = [&](size_t end) {
        for (; begun < end; ++begun)
          if (frame.used[begun]) builder.begin_state();
      };
      for_each_kept(t, threshold, [&](size_t i, int64_t a) {
        begin_up_to(i + 1);
        builder.add_arc(number[slot_[graph_.arcs[a].dst]], graph_.arcs[a].label, a);
        arc_frames->push_back(static_cast<int32_t>(t));
      });
      begin_up_to(frame.states.size());
    }
    if (first == 0)
      builder.end_empty_fsa();
    else
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

  // Calls body(position of the source in its frame, arc).
  template <class Body>
  void for_each_kept(int64_t t, double threshold, const Body& body) {
    const Frame& frame = frames_[t];
    const Frame& next = frames_[t + 1];
    enter(next);
    for (size_t i = 0; i < frame.states.size(); ++i) {
      if (frame.backward[i] == kNothing) continue;
      for_each_arc(t, frame.states[i], [&](int64_t a, double score) {
        if (score == kNothing) return;
        const double total = frame.forward[i] + score + next.backward[slot_[graph_.arcs[a].dst]];
        if (total != kNothing && total >= threshold) body(i, a);
      });
    }
    leave(next);
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

// Parts of the result: the lattices, the arc map into the graphs, the frame of each arc, and either nothing or sequence,
// frame and symbol of a score that may not be used.
template <class T>
nb::tuple intersect_dense_lattice(const FsaVecView& graphs, Progress& progress, const DenseVec<T>& dense,
                                  double output_beam) {
  FsaVecBuilder builder(progress, /*num_maps=*/1);
  std::vector<int32_t> arc_frames;
  std::vector<int64_t> bad;
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
      const double best = lattice.score_backward();
      // sums of the same path in another order differ by rounding, which must not cut the best path
      const double threshold = best == kNothing ? best : best - output_beam - 1e-9 * std::fabs(best);
      lattice.write(threshold, builder, &arc_frames);
    }
  }
  return result(std::move(builder), std::move(arc_frames), std::move(bad));
}

}  // namespace

void bind_intersect_dense_lattice(nb::module_& m) {
  m.def("intersect_dense_lattice", &intersect_dense_lattice<float>);
  m.def("intersect_dense_lattice", &intersect_dense_lattice<double>);
}

}  // namespace wfst_entropy

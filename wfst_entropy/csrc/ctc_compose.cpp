// Composition with a CTC topology that is never built: its states are known by the token that they remember.
//
// A state of the result is a state of the graph, the last token (0: blank was last), and whether the graph has moved
// over epsilon since the last frame. In that case only a token or the end may follow, as in `compose` with its
// epsilon-sequencing filter: so a path of the graph has one path for each frame labelling, wherever blanks stand.
#include "pair_graph.h"
#include "reachability.h"
#include "surgery.h"

namespace wfst_entropy {
namespace {

// Numbered as in Python.
enum Topology : int {
  kStandard = 0,  // one state per token; between two equal tokens a blank
  kModified = 1,  // the state of a token only repeats it, and its last repetition leads back to the blank's state
  kCompact = 2,   // the state of a token only repeats it, and an epsilon leads back to the blank's state
};

constexpr int32_t kBlank = 0;

struct Place {
  int32_t state, last;
  bool moved;

  uint64_t key() const { return static_cast<uint64_t>(state) << 32 | static_cast<uint64_t>(last) << 1 | moved; }
  static Place of(uint64_t key) {
    return {static_cast<int32_t>(key >> 32), static_cast<int32_t>(static_cast<uint32_t>(key) >> 1), (key & 1) != 0};
  }
};

class Composition {
 public:
  Composition(const FsaView& graph, Topology topology, int32_t epsilon, FsaVecBuilder& builder, Progress& progress)
      : graph_(graph), topology_(topology), epsilon_(epsilon), builder_(builder), progress_(progress),
        states_before_(builder.num_states()) {}

  void run() {
    if (graph_.empty()) return builder_.end_empty_fsa();
    useful_ = coaccessible(graph_, progress_);
    if (!useful_[0]) return builder_.end_empty_fsa();
    found_in_.resize(graph_.num_states, 0);
    places_.number(Place{0, kBlank, false}.key());
    for (int64_t s = 0; s < places_.size(); ++s) {
      builder_.begin_state();
      expand(Place::of(places_.key(s)));
    }
    builder_.end_fsa();
  }

 private:
  // Arcs in the order of their labels, if the graph's are: blank, tokens, epsilons, the end.
  void expand(const Place& at) {
    // Where a token's state only repeats it, nothing of the graph can be read before it is left.
    const bool reads = topology_ == kStandard || at.last == kBlank;
    if (!at.moved && (at.last == kBlank || topology_ == kStandard)) add(kBlank, {at.state, kBlank, false});
    bool repeated = at.moved || at.last == kBlank;
    for (int64_t a = graph_.splits[at.state]; reads && a < graph_.splits[at.state + 1]; ++a) {
      const Arc& arc = graph_.arcs[a];
      if (arc.label <= 0 || !useful_[arc.dst]) continue;
      if (!repeated && arc.label >= at.last) {
        add_repetition(at);
        repeated = true;
      }
      add_token(at, arc, a);
    }
    if (!repeated) add_repetition(at);
    if (topology_ == kCompact && !at.moved && at.last != kBlank) add(epsilon_, {at.state, kBlank, false});
    if (reads) add_others(at);
  }

  // The frames after the first one of a token.
  void add_repetition(const Place& at) {
    if (topology_ == kModified) add(at.last, {at.state, kBlank, false});
    add(at.last, at);
  }

  void add_token(const Place& at, const Arc& arc, int64_t number) {
    if (arc.label == at.last) return;  // in the standard topology a blank must come first
    if (topology_ == kModified) add(arc.label, {arc.dst, kBlank, false}, number);
    add(arc.label, {arc.dst, arc.label, false}, number);
  }

  // Epsilons of the graph, and the end.
  void add_others(const Place& at) {
    for (int64_t a = graph_.splits[at.state]; a < graph_.splits[at.state + 1]; ++a) {
      const Arc& arc = graph_.arcs[a];
      if (arc.label == kEpsilon && useful_[arc.dst] && can_go_on({arc.dst, at.last, true})) {
        add(epsilon_, {arc.dst, at.last, true}, a);
      }
    }
    for (int64_t a = graph_.splits[at.state]; a < graph_.splits[at.state + 1]; ++a) {
      if (graph_.arcs[a].label == kFinalLabel) builder_.add_arc(FsaVecBuilder::kToFinal, kFinalLabel, a);
    }
  }

  // Whether a token other than the last one, or the end, can be reached over epsilons.
  bool can_go_on(const Place& at) {
    if (at.last == kBlank) return true;  // the graph's state is useful, and any token may follow
    std::vector<int32_t> found{at.state};
    ++search_;
    for (size_t i = 0; i < found.size(); ++i) {
      progress_.step();
      for (int64_t a = graph_.splits[found[i]]; a < graph_.splits[found[i] + 1]; ++a) {
        const Arc& arc = graph_.arcs[a];
        if (!useful_[arc.dst]) continue;
        if (arc.label != kEpsilon && arc.label != at.last) return true;
        if (arc.label == kEpsilon && found_in_[arc.dst] != search_) {
          found_in_[arc.dst] = search_;
          found.push_back(arc.dst);
        }
      }
    }
    return false;
  }

  void add(int32_t label, const Place& to, int64_t number = -1) {
    const int32_t dst = places_.number(to.key());
    progress_.grow(states_before_ + places_.size(), builder_.num_arcs());
    builder_.add_arc(dst, label, number);
  }

  const FsaView& graph_;
  Topology topology_;
  int32_t epsilon_;
  FsaVecBuilder& builder_;
  Progress& progress_;
  const int64_t states_before_;  // of the result, before this graph
  std::vector<uint8_t> useful_;
  std::vector<int64_t> found_in_;  // in which search of can_go_on a state was met last
  int64_t search_ = 0;
  KeyTable places_;
};

nb::tuple ctc_compose(const FsaVecView& graphs, Progress& progress, int topology, int32_t epsilon) {
  FsaVecBuilder builder(progress, /*num_maps=*/1);
  {
    nb::gil_scoped_release released;
    for (int64_t i = 0; i < graphs.num_fsas; ++i) {
      Composition(graphs[i], static_cast<Topology>(topology), epsilon, builder, progress).run();
    }
  }
  return result(std::move(builder));
}

}  // namespace

void bind_ctc_compose(nb::module_& m) { m.def("ctc_compose", &ctc_compose); }

}  // namespace wfst_entropy

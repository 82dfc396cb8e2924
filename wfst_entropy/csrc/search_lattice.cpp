// The search for lattices: all paths within the output beam of the best one.
#include "search_lattice.h"

#include <algorithm>

namespace wfst_entropy {
namespace {

constexpr int64_t kFramesBetweenPruning = 25;

// Notes all arcs that the search follows.
class Recorder {
 public:
  Recorder(const TokenList<LatticeToken>& current, float output_beam, LatticeScratch& scratch)
      : output_beam_(output_beam),
        emitting_(scratch.emitting),
        silent_(scratch.silent),
        current_(current),
        next_(scratch.next) {
    emitting_.clear();
    silent_.clear();
    next_.tokens.clear();
  }

  const Buffer<LatticeToken>& current() const { return current_.tokens; }
  TokenList<LatticeToken>& next() { return next_; }
  void make_room(size_t more) {
    next_.tokens.make_room(more);
    emitting_.make_room(more);
  }
  void make_room_silent(size_t more) {
    next_.tokens.make_room(more);
    silent_.make_room(more);
  }
  int32_t open(size_t i) const { return static_cast<int32_t>(i); }
  int32_t open_next(int32_t i) const { return i; }
  void arrive(int32_t origin, int32_t move, int32_t slot, float score) { note(emitting_, origin, slot, move, score); }
  void arrive_silent(int32_t origin, int32_t move, int32_t slot, float score) {
    note(silent_, origin, slot, move, score);
  }

  // Turns the scores that links have so far into slacks, and forgets those beyond the beam.
  void finish() {
    for (Buffer<Link>* links : {&emitting_, &silent_}) {
      Link* kept = links->begin();
      for (const Link& link : *links) {
        const float slack = next_.tokens[link.dst].score - link.slack;
        *kept = {link.src, link.dst, link.move, slack};
        kept += slack <= output_beam_;
      }
      links->resize(static_cast<size_t>(kept - links->begin()));
    }
  }

 private:
  void note(Buffer<Link>& links, int32_t src, int32_t dst, int32_t move, float score) {
    float& best = next_.tokens[dst].score;
    if (best - score > output_beam_) return;  // and it can only rise
    links.push({src, dst, move, score});
    best = std::max(best, score);
  }

  const float output_beam_;
  Buffer<Link>&emitting_, &silent_;
  const TokenList<LatticeToken>& current_;
  TokenList<LatticeToken>& next_;
};

}  // namespace

LatticeSearch::LatticeSearch(const SearchGraph& graph, const SearchOptions& options, bool keep_scores,
                             LatticeScratch& scratch)
    : slices_(keep_scores, /*ordered=*/false) {
  if (graph.empty()) {
    slices_.add({});
    return;
  }
  Recorder recorder(tokens_, options.output_beam, scratch);
  recorder.make_room(1);
  scratch.next.find_or_add(graph.start, scratch.slot);
  scratch.next.tokens[0].score = 0.0f;
  with_view(graph, [&](const auto& view) { pass_silent(graph, view, kLeastScore, scratch, recorder); });
  recorder.finish();
  add_slice(scratch);
}

// The tokens that a step led to become the current ones.
void LatticeSearch::add_slice(LatticeScratch& scratch) {
  Slice slice;
  slice.states.reserve(scratch.next.tokens.size());
  for (const LatticeToken& token : scratch.next.tokens) slice.states.push_back(token.state);
  slice.silent.assign(scratch.silent.begin(), scratch.silent.end());
  slices_.add(std::move(slice));
  std::swap(tokens_, scratch.next);
}

void LatticeSearch::advance(const SearchGraph& graph, const SearchOptions& options, LatticeScratch& scratch,
                            SearchControl& control) {
  const int64_t states_before = slices_.num_states(), links_before = slices_.num_links();
  Recorder recorder(tokens_, options.output_beam, scratch);
  with_view(graph, [&](const auto& view) { pass_frame(graph, view, options, scratch, recorder); });
  recorder.finish();
  std::vector<float> read;
  if (slices_.keep_scores()) {
    read.reserve(scratch.emitting.size());
    for (const Link& link : scratch.emitting) read.push_back(scratch.frame.scores[label_of_move(graph, link.move)]);
  }
  slices_.emit({scratch.emitting.begin(), scratch.emitting.end()}, std::move(read));
  add_slice(scratch);
  if (num_frames() % kFramesBetweenPruning == 0) slices_.prune(options.output_beam);
  control.hold(slices_.num_states() - states_before, slices_.num_links() - links_before);
}

FoundFsa LatticeSearch::lattice(const SearchGraph& graph, const SearchOptions& options, int32_t epsilon) const {
  if (graph.empty()) return {};
  const Ending ending = find_ending(graph, options.allow_partial, tokens_.tokens);
  return slices_.lattice(graph, slices_.size(), ending, options.output_beam, epsilon);
}

FoundFsa LatticeSearch::best_path(const SearchGraph& graph, const SearchOptions& options, int32_t epsilon) const {
  if (graph.empty()) return {};
  return slices_.best_path(graph, find_ending(graph, options.allow_partial, tokens_.tokens), epsilon);
}

}  // namespace wfst_entropy

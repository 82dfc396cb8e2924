// Frame-synchronous token passing (Young, Russell and Thornton 1989): what the search for the best path and the search
// for lattices share. Scores of tokens are relative to a frame's best one, so that float32 is precise for any length.
#pragma once

#include <algorithm>
#include <atomic>
#include <cstdint>
#include <limits>
#include <memory>
#include <mutex>
#include <vector>

#include "buffer.h"
#include "intersect_dense.h"
#include "parallel.h"
#include "progress.h"
#include "search_graph.h"

namespace wfst_entropy {

struct SearchOptions {
  float search_beam = 0;
  float output_beam = 0;  // of lattices
  int64_t min_active = 0, max_active = 0;
  bool allow_partial = true;
};

constexpr float kLeastScore = std::numeric_limits<float>::lowest();  // of any mass

// A move of the search: an arc of the graph, or with a topology ~token for a repeated token, ~0 for a blank.
inline int32_t implied_move(int32_t token) { return ~token; }

inline int32_t label_of_move(const SearchGraph& graph, int32_t move) {
  return move < 0 ? ~move : graph.arcs[move].label;
}

// The scores of one frame as the search reads them.
struct FrameScores {
  std::vector<float> scores;  // -inf where there is no mass
  float best_token = 0;       // the best of labels 1, 2, ...

  // Returns the first label whose score is NaN or above kSearchScoreLimit, or -1.
  template <class T>
  int64_t read(const T* row, int64_t num_symbols) {
    constexpr float nothing = -std::numeric_limits<float>::infinity();
    scores.resize(num_symbols);
    bool good = true;
    float best = nothing;
    for (int64_t c = 0; c < num_symbols; ++c) {
      const T score = row[c];
      good &= score <= T(kSearchScoreLimit);
      scores[c] = score < T(-kSearchScoreLimit) ? nothing : static_cast<float>(score);
    }
    for (int64_t c = 1; c < num_symbols; ++c) best = scores[c] > best ? scores[c] : best;
    best_token = best;
    if (good) return -1;
    return std::find_if(row, row + num_symbols, [](T x) { return !(x <= T(kSearchScoreLimit)); }) - row;
  }
};

inline void prefetch_read([[maybe_unused]] const void* address) {
#if defined(__GNUC__)
  __builtin_prefetch(address);
#endif
}

// A graph whose labels are what frames emit.
class PlainGraph {
 public:
  explicit PlainGraph(const SearchGraph& graph) : graph_(graph) {}

  int32_t state_of(int32_t state) const { return state; }
  size_t most_silent(int32_t state) const { return graph_.states[state].final - graph_.states[state].silent; }

  // The most moves that `emit` can visit.
  size_t most_moves(int32_t state) const { return graph_.states[state].silent - graph_.states[state].emitting; }

  // Asks for what `emit` will read of a state: first where it has its arcs, later the arcs.
  void prefetch(int32_t state) const { prefetch_read(&graph_.states[state]); }
  void prefetch_arcs(int32_t state) const { prefetch_read(graph_.arcs.data() + graph_.states[state].emitting); }

  // Calls visit(move, destination, score) for the moves that emit a label, but for some that do not reach `cutoff`.
  template <class Visit>
  void emit(int32_t state, float score, const FrameScores& frame, float cutoff, const Visit& visit) const {
    const float* scores = frame.scores.data();
    const float best_token = frame.best_token;
    const SearchArc* arcs = graph_.arcs.data();
    int32_t a = graph_.states[state].emitting;
    const int32_t end = graph_.states[state].silent;
    for (; a < end && arcs[a].label == 0; ++a) visit(a, arcs[a].dst, score + arcs[a].score + scores[0]);
    for (; a < end; ++a) {
      const float base = score + arcs[a].score;
      if (base + best_token < cutoff) return;  // and so are all that follow
      visit(a, arcs[a].dst, base + scores[arcs[a].label]);
    }
  }

  // Likewise for the arcs that consume no frame; only if graph.has_silent.
  template <class Visit>
  void pass(int32_t state, float score, const Visit& visit) const {
    for (int32_t a = graph_.states[state].silent; a < graph_.states[state].final; ++a)
      visit(a, graph_.arcs[a].dst, score + graph_.arcs[a].score);
  }

  // Calls visit(arc, score) for the final arcs.
  template <class Visit>
  void finish(int32_t state, const Visit& visit) const {
    for (int32_t a = graph_.states[state].final; a < graph_.states[state + 1].emitting; ++a)
      visit(a, graph_.arcs[a].score);
  }

 private:
  const SearchGraph& graph_;
};

// A graph of tokens behind the CTC topology; its states are the nodes. In the modified topology the node of a token is
// that of one which goes on in the next frame, and a token that ends with its first frame leads to the blank's node.
template <bool kModified>
class CtcGraph {
 public:
  explicit CtcGraph(const SearchGraph& graph) : graph_(graph) {}

  int32_t state_of(int32_t node) const { return graph_.nodes[node].state; }
  size_t most_silent(int32_t id) const {
    const SearchGraph::State& state = graph_.states[graph_.nodes[id].state];
    return state.final - state.silent;
  }

  size_t most_moves(int32_t id) const {
    const SearchGraph::State& state = graph_.states[graph_.nodes[id].state];
    return 2 + (kModified ? 2 : 1) * static_cast<size_t>(state.silent - state.emitting);
  }
  void prefetch(int32_t id) const { prefetch_read(&graph_.nodes[id]); }
  void prefetch_arcs(int32_t id) const { prefetch_read(&graph_.states[graph_.nodes[id].state]); }

  template <class Visit>
  void emit(int32_t id, float score, const FrameScores& frame, float cutoff, const Visit& visit) const {
    const SearchGraph::Node& node = graph_.nodes[id];
    const float* scores = frame.scores.data();
    if (node.token != 0) visit(implied_move(node.token), node.stay, score + scores[node.token]);
    if (kModified && node.token != 0) {
      visit(implied_move(node.token), node.blank, score + scores[node.token]);
      return;
    }
    visit(implied_move(0), node.blank, score + scores[0]);
    const SearchGraph::State& state = graph_.states[node.state];
    const float best_token = frame.best_token;
    for (int32_t a = state.emitting, end = state.silent; a < end; ++a) {
      const SearchArc arc = graph_.arcs[a];
      const float base = score + arc.score;
      if (base + best_token < cutoff) return;
      if (kModified) {
        visit(a, arc.dst, base + scores[arc.label]);
        const SearchGraph::Node& dst = graph_.nodes[arc.dst];
        visit(a, arc.dst - (dst.stay - dst.blank), base + scores[arc.label]);
      } else if (arc.label != node.token) {
        visit(a, arc.dst, base + scores[arc.label]);
      }
    }
  }

  template <class Visit>
  void pass(int32_t id, float score, const Visit& visit) const {
    const int32_t s = graph_.nodes[id].state;
    const SearchGraph::State& state = graph_.states[s];
    const SearchGraph::Node& node = graph_.nodes[id];
    const int32_t rank = node.stay - node.blank;
    const int32_t* dst = graph_.silent_dst.data() + graph_.first_silent[s] +
                         static_cast<int64_t>(rank) * (state.final - state.silent);
    for (int32_t a = state.silent; a < state.final; ++a) visit(a, *dst++, score + graph_.arcs[a].score);
  }

  template <class Visit>
  void finish(int32_t id, const Visit& visit) const {
    const SearchGraph::Node& node = graph_.nodes[id];
    if (kModified && node.token != 0) return;
    for (int32_t a = graph_.states[node.state].final; a < graph_.states[node.state + 1].emitting; ++a)
      visit(a, graph_.arcs[a].score);
  }

 private:
  const SearchGraph& graph_;
};

// Calls body with the view of the graph that its topology asks for.
template <class Body>
void with_view(const SearchGraph& graph, const Body& body) {
  if (graph.topology == Topology::kNone) body(PlainGraph(graph));
  if (graph.topology == Topology::kStandard) body(CtcGraph<false>(graph));
  if (graph.topology == Topology::kModified) body(CtcGraph<true>(graph));
}

// Where a move that emits leads; the origin is what a recorder calls the token it comes from.
struct Arrival {
  int32_t origin, dst, move;
  float score;
};

// What a search needs beside its tokens, whatever the utterance; one for each thread.
struct SearchScratch {
  std::vector<int32_t> slot;  // of states: a guess where in a list of tokens each one is, see TokenList
  std::vector<float> scores;
  std::vector<std::vector<int32_t>> pending;  // tokens with silent arcs, by level
  FrameScores frame;
  std::vector<Arrival> moves;  // the first `num_moves` are in use
  size_t num_moves = 0;
};

// Tokens of different states, found by state. An entry of `slot` may be left over from another list: it holds only if
// the token there has that state (Briggs and Torczon 1993, "An efficient representation for sparse sets").
template <class Token>
class TokenList {
 public:
  // The number of the state's token and whether it is new; then its score is kLeastScore. There must be room for it.
  std::pair<int32_t, bool> find_or_add(int32_t state, std::vector<int32_t>& slot) {
    const auto i = static_cast<uint32_t>(slot[state]);
    if (i < tokens.size() && tokens[i].state == state) return {slot[state], false};
    const auto added = static_cast<int32_t>(tokens.size());
    slot[state] = added;
    Token token{};
    token.score = kLeastScore;
    token.state = state;
    tokens.push(token);
    return {added, true};
  }

  Buffer<Token> tokens;
};

// Which tokens of a frame go on, and how much worse than the best their successors may be.
struct Beam {
  float best, cutoff, width;
  size_t best_token;
};

template <class Token>
Beam choose_beam(const Buffer<Token>& tokens, const SearchOptions& options, std::vector<float>& scratch) {
  constexpr float kDelta = 0.5f;  // so that a beam narrowed to one token's score still has some width
  size_t best_token = 0;
  for (size_t i = 1; i < tokens.size(); ++i)
    if (tokens[i].score > tokens[best_token].score) best_token = i;
  const float best = tokens[best_token].score;
  Beam beam{best, std::max(best - options.search_beam, kLeastScore), options.search_beam, best_token};
  int64_t inside = 0;
  for (const Token& token : tokens) inside += token.score >= beam.cutoff;
  const int64_t wanted = std::clamp(inside, options.min_active, options.max_active);
  if (wanted == inside) return beam;
  if (wanted >= static_cast<int64_t>(tokens.size())) {
    return {best, kLeastScore, std::numeric_limits<float>::infinity(), best_token};
  }
  scratch.clear();
  for (const Token& token : tokens) scratch.push_back(token.score);
  std::nth_element(scratch.begin(), scratch.begin() + (wanted - 1), scratch.end(), std::greater<float>());
  beam.cutoff = scratch[wanted - 1];
  beam.width = best - beam.cutoff + kDelta;
  return beam;
}

// Follows the arcs that consume no frame from tokens whose scores are final but for those arcs. Tokens are taken by
// level, so each is opened once.
template <class View, class Recorder>
void pass_silent(const SearchGraph& graph, const View& view, float cutoff, SearchScratch& scratch, Recorder& recorder) {
  if (graph.num_levels == 0) return;
  auto& next = recorder.next();
  auto& pending = scratch.pending;
  pending.resize(graph.num_levels);
  const auto queue = [&](int32_t i) {
    const int32_t state = next.tokens[i].state;
    if (graph.has_silent[state]) pending[graph.level[view.state_of(state)]].push_back(i);
  };
  for (size_t i = 0; i < next.tokens.size(); ++i) queue(static_cast<int32_t>(i));
  for (auto& tokens : pending) {
    for (const int32_t i : tokens) {
      const float score = next.tokens[i].score;
      if (score < cutoff) continue;
      const int32_t origin = recorder.open_next(i);
      recorder.make_room_silent(view.most_silent(next.tokens[i].state));
      view.pass(next.tokens[i].state, score, [&](int32_t move, int32_t dst, float reached) {
        if (reached < cutoff) return;
        const auto [slot, added] = next.find_or_add(dst, scratch.slot);
        recorder.arrive_silent(origin, move, slot, reached);
        if (added) queue(slot);
      });
    }
    tokens.clear();
  }
}

// Collects the moves that emit from the tokens that go on, at least those that reach the cutoff, which is returned: it
// lies as far below the best score reached as the beam is wide. It rises with the scores that are found, as in Kaldi's
// decoders; the best token's arcs come first, so that it is high from the beginning.
template <class View, class Recorder>
float collect_moves(const View& view, const Beam& beam, SearchScratch& scratch, Recorder& recorder) {
  const auto& tokens = recorder.current();
  float cutoff = kLeastScore;
  const auto follow = [&](int32_t state, float score, const auto& note) {
    float best = kLeastScore;
    view.emit(state, score, scratch.frame, cutoff, [&](int32_t move, int32_t dst, float reached) {
      note(move, dst, reached);
      best = std::max(best, reached);
    });
    cutoff = std::max(cutoff, best - beam.width);
  };
  follow(tokens[beam.best_token].state, 0.0f, [](int32_t, int32_t, float) {});
  auto& moves = scratch.moves;
  size_t count = 0;
  constexpr size_t kFar = 8, kNear = 4;
  for (size_t i = 0; i < tokens.size(); ++i) {
    if (i + kFar < tokens.size()) view.prefetch(tokens[i + kFar].state);
    if (i + kNear < tokens.size()) view.prefetch_arcs(tokens[i + kNear].state);
    if (tokens[i].score < beam.cutoff) continue;
    const int32_t state = tokens[i].state, origin = recorder.open(i);
    const size_t most = count + view.most_moves(state);
    if (most > moves.size()) moves.resize(2 * most);
    Arrival* out = moves.data() + count;
    const float least = cutoff;
    follow(state, tokens[i].score - beam.best, [&](int32_t move, int32_t dst, float reached) {
      // without a branch, which could not be foreseen
      out->origin = origin;
      out->dst = dst;
      out->move = move;
      out->score = reached;
      out += reached >= least;
    });
    count = static_cast<size_t>(out - moves.data());
  }
  scratch.num_moves = count;
  return cutoff;
}

// One frame: the moves that emit, and then the arcs that consume no frame.
template <class View, class Recorder>
void pass_frame(const SearchGraph& graph, const View& view, const SearchOptions& options, SearchScratch& scratch,
                Recorder& recorder) {
  if (recorder.current().empty()) return;
  const Beam beam = choose_beam(recorder.current(), options, scratch.scores);
  const float cutoff = collect_moves(view, beam, scratch, recorder);
  const Arrival* moves = scratch.moves.data();
  recorder.make_room(scratch.num_moves);
  constexpr size_t kAhead = 16;
  for (size_t i = 0; i < scratch.num_moves; ++i) {
    if (i + kAhead < scratch.num_moves) prefetch_read(&scratch.slot[moves[i + kAhead].dst]);
    if (moves[i].score < cutoff) continue;
    const int32_t slot = recorder.next().find_or_add(moves[i].dst, scratch.slot).first;
    recorder.arrive(moves[i].origin, moves[i].move, slot, moves[i].score);
  }
  pass_silent(graph, view, cutoff, scratch, recorder);
}

// What the threads of a search share: limits, Ctrl-C, and whether one of them has failed.
class SearchControl {
 public:
  // advice: how to make a search hold less.
  SearchControl(Progress& progress, const char* advice) : progress_(progress), advice_(advice) {}

  // Tells of work done; false if the search shall end because another thread failed. Throws what Ctrl-C raises.
  bool go_on(uint64_t steps) {
    if (stopped_.load(std::memory_order_relaxed)) return false;
    if (is_calling_thread()) progress_.steps(steps);
    return true;
  }

  // Tells how many more states and arcs are held (or fewer). Throws LimitError.
  void hold(int64_t states, int64_t arcs);

  // Runs body(); other threads end soon if it throws.
  template <class Body>
  void guard(const Body& body) {
    try {
      body();
    } catch (...) {
      stopped_ = true;
      throw;
    }
  }

  // Lets Ctrl-C through while the calling thread has nothing to do.
  void watch() {
    guard([&] { progress_.check_interrupt(); });
  }

 private:
  Progress& progress_;
  const char* const advice_;
  std::atomic<bool> stopped_{false};
  std::atomic<int64_t> num_states_{0}, num_arcs_{0};
};

}  // namespace wfst_entropy

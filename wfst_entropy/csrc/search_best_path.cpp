// The search for one best path.
#include "search_best_path.h"

#include <algorithm>

namespace wfst_entropy {

namespace {
constexpr int32_t kEntered = std::numeric_limits<int32_t>::min();
constexpr int32_t kLargestTrace = 1 << 29;  // a frame cannot add so many entries that int32 could not count them
}

// Keeps the best way to each token. One gets its entry in the trace only when it is followed further.
class PathRecorder {
 public:
  PathRecorder(PathSearch& search, TokenList<PathToken>& next)
      : tokens_(search.tokens_.tokens), trace_(search.trace_), next_(next) {
    next_.tokens.clear();
  }

  const Buffer<PathToken>& current() const { return tokens_; }
  TokenList<PathToken>& next() { return next_; }
  void make_room(size_t more) { next_.tokens.make_room(more); }
  void make_room_silent(size_t more) { make_room(more); }
  int32_t open(size_t i) { return enter(tokens_[i]); }
  int32_t open_next(int32_t i) { return enter(next_.tokens[i]); }

  void arrive(int32_t origin, int32_t move, int32_t slot, float score) {
    PathToken& token = next_.tokens[slot];
    if (!(score > token.score)) return;
    token.score = score;
    token.from = origin;
    token.move = move;
  }
  void arrive_silent(int32_t origin, int32_t move, int32_t slot, float score) { arrive(origin, move, slot, score); }

 private:
  int32_t enter(PathToken& token) {
    if (token.move == kEntered) return token.from;
    trace_.push_back({token.from, token.move});
    token.from = static_cast<int32_t>(trace_.size()) - 1;
    token.move = kEntered;
    return token.from;
  }

  Buffer<PathToken>& tokens_;
  std::vector<PathSearch::Entry>& trace_;
  TokenList<PathToken>& next_;
};

PathSearch::PathSearch(const SearchGraph& graph, PathScratch& scratch) {
  if (graph.empty()) return;
  PathRecorder recorder(*this, scratch.next);
  recorder.make_room(1);
  scratch.next.find_or_add(graph.start, scratch.slot);
  scratch.next.tokens[0] = {0.0f, graph.start, -1, kEntered};
  with_view(graph, [&](const auto& view) { pass_silent(graph, view, kLeastScore, scratch, recorder); });
  std::swap(tokens_, scratch.next);
}

void PathSearch::advance(const SearchGraph& graph, const SearchOptions& options, PathScratch& scratch) {
  if (trace_.size() > trace_limit_) forget_traces();
  PathRecorder recorder(*this, scratch.next);
  with_view(graph, [&](const auto& view) { pass_frame(graph, view, options, scratch, recorder); });
  std::swap(tokens_, scratch.next);
}

// Keeps only the entries that a token came from. They are in order of time, so an entry's number only falls.
void PathSearch::forget_traces() {
  std::vector<int32_t> number(trace_.size(), -1);
  for (const PathToken& token : tokens_.tokens)
    for (int32_t e = token.from; e >= 0 && number[e] < 0; e = trace_[e].from) number[e] = 0;
  int32_t count = 0;
  for (size_t e = 0; e < trace_.size(); ++e) {
    if (number[e] < 0) continue;
    const Entry entry = trace_[e];
    number[e] = count;
    trace_[count++] = {entry.from < 0 ? -1 : number[entry.from], entry.move};
  }
  trace_.resize(count);
  if (count > kLargestTrace) {
    throw LimitError("beam_search_best_path: too many frames for one search; pass parts of them.");
  }
  for (PathToken& token : tokens_.tokens)
    if (token.from >= 0) token.from = number[token.from];
  trace_limit_ = std::max(kLeastTraceLimit, 2 * trace_.size());
}

FoundFsa PathSearch::best_path(const SearchGraph& graph, const SearchOptions& options, int32_t epsilon) const {
  const PathToken* best = nullptr;
  PathEnd end{-1, false};
  float best_score = 0;
  const auto offer = [&](const PathToken& token, int32_t arc, float score) {
    if (best != nullptr && token.score + score <= best_score) return;
    best = &token;
    end.arc = arc;
    best_score = token.score + score;
  };
  with_view(graph, [&](const auto& view) {
    for (const PathToken& token : tokens_.tokens)
      view.finish(token.state, [&](int32_t arc, float score) { offer(token, arc, score); });
  });
  if (best == nullptr && options.allow_partial) {
    end.partial = true;
    for (const PathToken& token : tokens_.tokens) offer(token, -1, 0.0f);
  }
  if (best == nullptr) return {};
  std::vector<int32_t> moves;
  if (best->move != kEntered) moves.push_back(best->move);
  for (int32_t e = best->from; e >= 0; e = trace_[e].from) moves.push_back(trace_[e].move);
  std::reverse(moves.begin(), moves.end());
  return path_fsa(graph, moves, nullptr, end, epsilon);
}

FoundFsa path_fsa(const SearchGraph& graph, const std::vector<int32_t>& moves, const std::vector<float>* read,
                  PathEnd end, int32_t epsilon) {
  FoundFsa found;
  found.partial = end.partial;
  int32_t frame = 0;
  const auto add = [&](int32_t label, int64_t source, float score) {
    const auto src = static_cast<int32_t>(found.splits.size());
    found.splits.push_back(src);
    found.arcs.push_back({src, src + 1, label});
    found.source.push_back(source);
    found.frames.push_back(frame);
    if (read != nullptr) found.read.push_back(score);
  };
  for (const int32_t move : moves) {
    const int32_t label = label_of_move(graph, move);
    const bool silent = label == kNoFrame;
    add(silent ? epsilon : label, move < 0 ? -1 : graph.source[move], silent || read == nullptr ? 0 : (*read)[frame]);
    frame += !silent;
  }
  add(kFinalLabel, end.arc < 0 ? -1 : graph.source[end.arc], 0);
  found.splits.push_back(static_cast<int64_t>(found.arcs.size()));
  return found;
}

}  // namespace wfst_entropy

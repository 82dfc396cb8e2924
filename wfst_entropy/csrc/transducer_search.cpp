// The search of a graph by a transducer.
#include "transducer_search.h"

#include <algorithm>
#include <cmath>
#include <numeric>
#include <string>

namespace wfst_entropy {
namespace {

constexpr float kUnpruned = std::numeric_limits<float>::max();  // a finite beam, so that dead ends lie outside

uint64_t power_or_throw(int64_t num_symbols, int64_t history) {
  const auto largest = static_cast<uint64_t>(std::numeric_limits<int64_t>::max());
  const auto base = static_cast<uint64_t>(num_symbols);
  uint64_t power = 1;
  for (int64_t i = 0; i < history; ++i) {
    if (power > largest / base)
      throw InputError("contexts of " + std::to_string(history) + " labels out of " + std::to_string(num_symbols) +
                       " are too many to be numbered: their number must be below 2**63.");
    power *= base;
  }
  return power / base;
}

}  // namespace

TransducerOptions::TransducerOptions(int64_t num_symbols, int64_t history, double beam, int64_t max_states,
                                     int64_t max_contexts)
    : num_symbols(num_symbols),
      history(history),
      beam(static_cast<float>(std::min(beam, double{kUnpruned}))),
      max_states(max_states),
      max_contexts(max_contexts),
      top(power_or_throw(num_symbols, history)) {}

uint64_t PairNumbers::hash(const Pair& pair) {
  const uint64_t x = (pair.context * 0x9E3779B97F4A7C15u + static_cast<uint32_t>(pair.state)) * 0xBF58476D1CE4E5B9u;
  return x ^ (x >> 32);
}

void PairNumbers::clear() {
  constexpr size_t kLeast = 256;
  size_t size = kLeast;
  while (size < 2 * pairs_.size()) size *= 2;  // as many as last time
  pairs_.clear();
  resize(size);
}

void PairNumbers::resize(size_t size) {
  table_.assign(size, -1);
  for (size_t n = 0; n < pairs_.size(); ++n) {
    size_t i = hash(pairs_[n]) & (size - 1);
    while (table_[i] >= 0) i = (i + 1) & (size - 1);
    table_[i] = static_cast<int32_t>(n);
  }
}

int32_t PairNumbers::find_or_add(uint64_t context, int32_t state) {
  const size_t mask = table_.size() - 1;
  size_t i = hash({context, state}) & mask;
  for (; table_[i] >= 0; i = (i + 1) & mask) {
    const Pair& pair = pairs_[table_[i]];
    if (pair.context == context && pair.state == state) return table_[i];
  }
  const auto number = static_cast<int32_t>(pairs_.size());
  table_[i] = number;
  pairs_.push_back({context, state});
  if (2 * pairs_.size() >= table_.size()) resize(2 * table_.size());
  return number;
}

TransducerStream::TransducerStream(const SearchGraph& graph, TransducerScratch& scratch) {
  if (!graph.empty()) {
    tokens_.push_back({0.0f, graph.start, 0, false});
    contexts_.push_back(0);
    carried_.push_back(-1);
  }
  add_slice(pass(graph, scratch));
}

void TransducerStream::advance(const SearchGraph& graph, const TransducerOptions& options, TransducerScratch& scratch,
                               SearchControl& control) {
  const int64_t states_before = slices_.num_states(), links_before = slices_.num_links();
  collect(graph, options, scratch);
  choose(options, scratch);
  take(graph, scratch);
  add_slice(pass(graph, scratch));
  control.hold(slices_.num_states() - states_before, slices_.num_links() - links_before);
}

// Every move that ends within the beam of the best one. The cutoff rises with the scores that are found; blanks and the
// best token's labels come first, so that it is high from the beginning.
void TransducerStream::collect(const SearchGraph& graph, const TransducerOptions& options,
                               TransducerScratch& scratch) const {
  const PlainGraph view(graph);
  auto& arrivals = scratch.arrivals;
  arrivals.clear();
  if (tokens_.empty()) return;
  const auto better = [](const auto& a, const auto& b) { return a.score < b.score; };
  const auto best = std::max_element(tokens_.begin(), tokens_.end(), better);
  const float zero = best->score;
  float cutoff = kLeastScore;
  const auto raise = [&](float score) { cutoff = std::max(cutoff, score - options.beam); };
  for (const TransducerToken& token : tokens_)
    if (!token.passed) raise(token.score - zero + scratch.frames[token.row].scores[0]);
  view.emit(best->state, 0.0f, scratch.frames[best->row], cutoff, [&](int32_t, int32_t, float s) { raise(s); });
  for (size_t i = 0; i < tokens_.size(); ++i) {
    const TransducerToken& token = tokens_[i];
    const uint64_t context = contexts_[token.row];
    const FrameScores& frame = scratch.frames[token.row];
    const auto arrive = [&](int32_t move, int32_t dst, float score) {
      if (score < cutoff) return;
      raise(score);
      const int32_t label = label_of_move(graph, move);
      arrivals.push_back({static_cast<int32_t>(i), dst, move, label == 0 ? context : options.append(context, label),
                          score});
    };
    const float score = token.score - zero;
    if (!token.passed) arrive(implied_move(0), token.state, score + frame.scores[0]);
    view.emit(token.state, score, frame, cutoff, arrive);
  }
  arrivals.erase(std::remove_if(arrivals.begin(), arrivals.end(), [&](const auto& a) { return a.score < cutoff; }),
                 arrivals.end());
}

// Numbers the pairs that were reached, and keeps the best of them, at most max_states and of max_contexts contexts: in
// `kept`, by context and state. Of equals the smaller context or state wins.
void TransducerStream::choose(const TransducerOptions& options, TransducerScratch& scratch) const {
  auto& best = scratch.best;
  auto& kept = scratch.kept;
  scratch.numbers.clear();
  best.clear();
  for (auto& arrival : scratch.arrivals) {
    arrival.dst = scratch.numbers.find_or_add(arrival.context, arrival.dst);
    if (arrival.dst == static_cast<int32_t>(best.size())) best.push_back(kLeastScore);
    best[arrival.dst] = std::max(best[arrival.dst], arrival.score);
  }
  const auto& pairs = scratch.numbers.pairs();
  const auto before = [&](int32_t a, int32_t b) {
    return pairs[a].context != pairs[b].context ? pairs[a].context < pairs[b].context : pairs[a].state < pairs[b].state;
  };
  const auto better = [&](int32_t a, int32_t b) { return best[a] != best[b] ? best[a] > best[b] : before(a, b); };
  kept.resize(pairs.size());
  std::iota(kept.begin(), kept.end(), 0);
  const auto most = static_cast<size_t>(options.max_states);
  if (kept.size() > most) {
    std::nth_element(kept.begin(), kept.begin() + static_cast<std::ptrdiff_t>(most) - 1, kept.end(), better);
    kept.resize(most);
  }
  std::sort(kept.begin(), kept.end(), before);
  // the best of each context
  std::vector<int32_t> leaders;
  for (const int32_t i : kept) {
    if (leaders.empty() || pairs[leaders.back()].context != pairs[i].context)
      leaders.push_back(i);
    else if (better(i, leaders.back()))
      leaders.back() = i;
  }
  const auto contexts = static_cast<size_t>(options.max_contexts);
  if (leaders.size() <= contexts) return;
  std::nth_element(leaders.begin(), leaders.begin() + static_cast<std::ptrdiff_t>(contexts) - 1, leaders.end(), better);
  leaders.resize(contexts);
  std::vector<uint64_t> left;
  for (const int32_t i : leaders) left.push_back(pairs[i].context);
  std::sort(left.begin(), left.end());
  const auto lost = [&](int32_t i) { return !std::binary_search(left.begin(), left.end(), pairs[i].context); };
  kept.erase(std::remove_if(kept.begin(), kept.end(), lost), kept.end());
}

// What was kept becomes the beam, and the moves there leave the last slice.
void TransducerStream::take(const SearchGraph& graph, TransducerScratch& scratch) {
  auto& place = scratch.place;
  place.assign(scratch.numbers.pairs().size(), -1);
  for (size_t i = 0; i < scratch.kept.size(); ++i) place[scratch.kept[i]] = static_cast<int32_t>(i);
  std::vector<Link> links;
  std::vector<float> read;
  for (const auto& arrival : scratch.arrivals) {
    if (place[arrival.dst] < 0) continue;
    const float slack = scratch.best[arrival.dst] - arrival.score;
    links.push_back({arrival.src, place[arrival.dst], arrival.move, slack});
    read.push_back(scratch.frames[tokens_[arrival.src].row].scores[label_of_move(graph, arrival.move)]);
  }
  slices_.emit(std::move(links), std::move(read));
  tokens_.clear();
  const std::vector<uint64_t> before = std::move(contexts_);
  contexts_.clear();
  carried_.clear();
  for (const int32_t i : scratch.kept) {
    const PairNumbers::Pair& pair = scratch.numbers.pairs()[i];
    if (contexts_.empty() || contexts_.back() != pair.context) {
      contexts_.push_back(pair.context);
      const auto place = std::lower_bound(before.begin(), before.end(), pair.context);
      carried_.push_back(place != before.end() && *place == pair.context ? place - before.begin() : -1);
    }
    tokens_.push_back({scratch.best[i], pair.state, static_cast<int32_t>(contexts_.size()) - 1, false});
  }
}

// Follows the arcs that consume no frame from all tokens, level by level, so that each token's score is final before it
// is opened. Returns the links; tokens are in the order in which they are opened.
std::vector<Link> TransducerStream::pass(const SearchGraph& graph, TransducerScratch& scratch) {
  std::vector<Link> links;
  if (graph.num_levels == 0) return links;
  const PlainGraph view(graph);
  auto& pending = scratch.pending;
  pending.resize(graph.num_levels);
  const auto num_beam = static_cast<int32_t>(tokens_.size());
  for (int32_t i = 0; i < num_beam; ++i) pending[graph.level[tokens_[i].state]].push_back(i);
  // Tokens that were passed are numbered from num_beam on as they are found, and get their places when they are opened.
  scratch.numbers.clear();
  std::vector<TransducerToken> passed;
  auto& place = scratch.place;
  place.clear();
  for (size_t level = 0; level < pending.size(); ++level) {
    for (size_t k = 0; k < pending[level].size(); ++k) {
      const int32_t number = pending[level][k];
      if (number >= num_beam) {
        place[number - num_beam] = static_cast<int32_t>(tokens_.size());
        tokens_.push_back(passed[number - num_beam]);
      }
      const int32_t src = number < num_beam ? number : place[number - num_beam];
      const TransducerToken token = tokens_[src];
      view.pass(token.state, token.score, [&](int32_t move, int32_t dst, float score) {
        const int32_t found = scratch.numbers.find_or_add(static_cast<uint64_t>(token.row), dst);
        if (found == static_cast<int32_t>(passed.size())) {
          passed.push_back({kLeastScore, dst, token.row, true});
          place.push_back(-1);
          pending[graph.level[dst]].push_back(num_beam + found);
        }
        passed[found].score = std::max(passed[found].score, score);
        links.push_back({src, found, move, score});
      });
    }
    pending[level].clear();
  }
  for (Link& link : links) {
    link.slack = passed[link.dst].score - link.slack;
    link.dst = place[link.dst];
  }
  return links;
}

void TransducerStream::add_slice(std::vector<Link> silent) {
  Slice slice;
  for (const TransducerToken& token : tokens_) {
    slice.states.push_back(token.state);
    slice.rows.push_back(token.row);
    slice.scores.push_back(token.score);
  }
  slice.silent = std::move(silent);
  slices_.add(std::move(slice));
}

void TransducerStream::forget_dead_ends() {
  slices_.prune(kUnpruned);
  forgotten_ = num_frames();
}

// A partial path ends at a token of the beam: to go on from there without a frame would only give it a second score.
Ending TransducerStream::ending(const SearchGraph& graph, int64_t num_frames, PathsEnd end) const {
  const Slice& last = slices_[static_cast<size_t>(num_frames)];
  std::vector<LatticeToken> tokens;
  for (size_t i = 0; i < last.states.size(); ++i) tokens.push_back({last.scores[i], last.states[i]});
  if (end != PathsEnd::kAnywhere) {
    Ending found = find_ending(graph, false, tokens);
    if (end == PathsEnd::kFinal || !found.arcs.empty()) return found;
  }
  auto num_beam = static_cast<int32_t>(tokens.size());
  for (const Link& link : last.silent) num_beam = std::min(num_beam, link.dst);
  tokens.resize(num_beam);
  return end_anywhere(tokens);
}

FoundFsa TransducerStream::lattice(const SearchGraph& graph, int64_t num_frames, PathsEnd end, int32_t epsilon) const {
  if (num_frames < forgotten_)
    throw InputError("the first " + std::to_string(num_frames) + " frames have no lattice any more: what led nowhere "
                     "in " + std::to_string(forgotten_) + " frames was forgotten.");
  if (graph.empty()) return {};
  return slices_.lattice(graph, static_cast<size_t>(num_frames) + 1, ending(graph, num_frames, end), kUnpruned,
                         epsilon);
}

std::pair<FoundFsa, double> TransducerStream::best_path(const SearchGraph& graph, PathsEnd end,
                                                        int32_t epsilon) const {
  if (graph.empty()) return {FoundFsa{}, 0.0};
  const Ending ends = ending(graph, num_frames(), end);
  FoundFsa path = slices_.best_path(graph, ends, epsilon);
  std::vector<int32_t> labels;
  for (const Arc& arc : path.arcs)
    if (arc.label > 0 && arc.label != epsilon) labels.push_back(arc.label);
  const double posterior = slices_.posterior(graph, ends, labels);
  return {std::move(path), posterior};
}

}  // namespace wfst_entropy

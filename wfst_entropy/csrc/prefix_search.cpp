// Hannun et al. 2014, "First-pass large vocabulary continuous speech recognition using bi-directional recurrent DNNs",
// Algorithm 1. A prefix of the beam is fed by itself and by its parent, and by nothing else; so a prefix with one token
// more that is not in the beam has exactly one source, and needs no sum.
#include "prefix_search.h"

#include <algorithm>
#include <cmath>

#include "progress.h"

namespace wfst_entropy {
namespace {

double log_add(double a, double b) {
  if (a < b) std::swap(a, b);
  return b == kNoMass ? a : a + std::log1p(std::exp(b - a));
}

// The arc of a state with a token, or -1.
int64_t find(const std::vector<int64_t>& splits, const std::vector<int32_t>& tokens, int32_t state, int32_t token) {
  const auto begin = tokens.begin() + splits[state], end = tokens.begin() + splits[state + 1];
  const auto found = std::lower_bound(begin, end, token);
  return found != end && *found == token ? found - tokens.begin() : -1;
}

uint64_t key(int32_t node, int32_t token) {
  return static_cast<uint64_t>(static_cast<uint32_t>(node)) << 32 | static_cast<uint32_t>(token);
}

constexpr size_t kLeastKept = 1 << 16;  // nodes or spans, before looking for dead ones

}  // namespace

double TokenNgram::score(int32_t state, int32_t token, int32_t& after) const {
  double score = 0;
  for (; state >= 0; state = backoff[state]) {
    const int64_t arc = find(splits, tokens, state, token);
    if (arc >= 0) {
      after = next[arc];
      return score + scores[arc];
    }
    score += backoff_scores[state];
  }
  return kNoMass;
}

double TokenNgram::final_score(int32_t state) const {
  double score = 0;
  for (; state >= 0; state = backoff[state]) {
    if (final_scores[state] != kNoMass) return score + final_scores[state];
    score += backoff_scores[state];
  }
  return kNoMass;
}

double PhraseBoosts::gain(int32_t state, int32_t token, int32_t& after) const {
  const double before = credit[state];
  int64_t arc;
  while ((arc = find(splits, tokens, state, token)) < 0 && state != 0) state = fail[state];
  after = arc < 0 ? 0 : children[arc];
  return credit[after] + output[after] - before;
}

PrefixStream::PrefixStream(const PrefixSearch& search)
    : nodes_allowed_(kLeastKept), spans_allowed_(kLeastKept), marked_(search.num_symbols, 0) {
  nodes_.push_back({-1, -1, 0, 0, 0, 0, 0, 0});
  Alive empty{0, 0, kNoMass, {}, {}, 0, 0};
  empty.best_blank.score = 0;
  beam_.push_back(empty);
}

template <class T>
void PrefixStream::advance(const PrefixSearch& search, const T* scores, int64_t num_frames, int64_t stride) {
  for (int64_t t = 0; t < num_frames && !stopped_; ++t) {
    if (nodes_.size() > nodes_allowed_ || spans_.size() > spans_allowed_) drop_dead();
    check_sizes();
    if (step(search, scores + t * stride)) {
      ++num_frames_;
    } else {
      stopped_ = true;
    }
  }
}

template void PrefixStream::advance(const PrefixSearch&, const float*, int64_t, int64_t);
template void PrefixStream::advance(const PrefixSearch&, const double*, int64_t, int64_t);

template <class T>
bool PrefixStream::step(const PrefixSearch& search, const T* row) {
  closed_.assign(beam_.size(), -1);
  stay(search, row);
  extend(search, row);
  if (candidates_.empty()) return false;
  take(search, row);
  return true;
}

// The best alignment of a prefix without the token that ends here, as a list.
int32_t PrefixStream::close(size_t i) {
  if (closed_[i] < 0) {
    const Best& best = beam_[i].best_token;
    const auto frame = static_cast<int32_t>(num_frames_);
    closed_[i] = static_cast<int32_t>(spans_.size());
    spans_.push_back({best.spans, best.start, frame, static_cast<float>(best.log_prob / (frame - best.start))});
  }
  return closed_[i];
}

template <class T>
void PrefixStream::stay(const PrefixSearch& search, const T* row) {
  const double blank = row[search.blank];
  stayed_ = beam_;
  for (size_t i = 0; i < beam_.size(); ++i) {
    const Alive& old = beam_[i];
    Alive& now = stayed_[i];
    now.blank = old.total + blank;
    now.best_blank = old.best_blank;
    if (old.best_token.score > old.best_blank.score) now.best_blank = {old.best_token.score, close(i), 0, 0};
    now.best_blank.score += blank;
    const Node& node = nodes_[old.node];
    if (node.parent >= 0) {
      const double score = row[node.token];
      now.token += score;
      now.best_token.score += score;
      now.best_token.log_prob += score;
      if (nodes_[node.parent].alive >= 0) {
        const size_t j = nodes_[node.parent].alive;
        const Alive& parent = beam_[j];
        const bool again = nodes_[node.parent].token == node.token;  // only a blank parts equal tokens
        now.token = log_add(now.token, (again ? parent.blank : parent.total) + score);
        Best from{parent.best_blank.score + score, parent.best_blank.spans, static_cast<int32_t>(num_frames_), score};
        const bool at_once = !again && parent.best_token.score > parent.best_blank.score;
        if (at_once) from.score = parent.best_token.score + score;
        if (from.score > now.best_token.score) {
          if (at_once) from.spans = close(j);
          now.best_token = from;
        }
      }
    }
    now.total = log_add(now.blank, now.token);
  }
}

template <class T>
void PrefixStream::rank_tokens(const PrefixSearch& search, const T* row, double threshold) {
  ranked_.clear();
  for (int64_t c = 0; c < search.num_symbols; ++c) {
    const double score = row[c];
    const bool counts = score >= threshold && score > kNoMass && c != search.blank;
    if (counts) ranked_.emplace_back(score, static_cast<int32_t>(c));
  }
  const auto better = [](const auto& a, const auto& b) {
    return a.first != b.first ? a.first > b.first : a.second < b.second;
  };
  const auto most = static_cast<size_t>(search.tokens_per_frame);
  if (most > 0 && ranked_.size() > most) {
    std::nth_element(ranked_.begin(), ranked_.begin() + most, ranked_.end(), better);
    ranked_.resize(most);
  }
  std::sort(ranked_.begin(), ranked_.end(), better);
}

void PrefixStream::mark_children(size_t i) {
  ++mark_;
  for (int32_t j = first_child_[i]; j >= 0; j = next_child_[j]) marked_[nodes_[beam_[j].node].token] = mark_;
}

void PrefixStream::keep_best(size_t count) {
  if (candidates_.size() <= count) return;
  std::nth_element(candidates_.begin(), candidates_.begin() + count - 1, candidates_.end(), ByScore());
  candidates_.resize(count);
}

template <class T>
void PrefixStream::extend(const PrefixSearch& search, const T* row) {
  const auto beam_size = static_cast<size_t>(search.beam_size);
  candidates_.clear();
  first_child_.assign(beam_.size(), -1);
  next_child_.assign(beam_.size(), -1);
  double best = kNoMass, largest_base = kNoMass;
  for (size_t i = 0; i < beam_.size(); ++i) {
    const auto place = static_cast<int32_t>(i);
    const int32_t parent = nodes_[beam_[i].node].parent;
    if (parent >= 0 && nodes_[parent].alive >= 0) {
      next_child_[i] = first_child_[nodes_[parent].alive];
      first_child_[nodes_[parent].alive] = place;
    }
    largest_base = std::max(largest_base, beam_[i].total + beam_[i].extra);
    const double score = stayed_[i].total + stayed_[i].extra;
    if (score == kNoMass) continue;
    best = std::max(best, score);
    candidates_.push_back({score, 0, 0, place, place, -1, 0, 0});
  }
  // Once the beam is full, what is worse than all in it need not be looked at.
  double worst_kept = kNoMass;
  if (candidates_.size() == beam_size) {
    worst_kept = std::max_element(candidates_.begin(), candidates_.end(), ByScore())->score;
  }
  const double largest_gain = (search.has_lm ? search.lm_scale * search.lm.largest : 0) +
                              (search.has_boosts ? search.boosts.largest : 0) + search.length_bonus;
  const auto needed = [&] { return std::max(worst_kept, best - search.search_beam); };
  rank_tokens(search, row, needed() - largest_base - largest_gain);
  int64_t order = search.beam_size;
  for (size_t i = 0; i < beam_.size(); ++i) {
    const Alive& from = beam_[i];
    const Node& node = nodes_[from.node];
    mark_children(i);
    for (const auto& [log_prob, token] : ranked_) {
      if (from.total + from.extra + log_prob + largest_gain < needed()) break;
      const double mass = token == node.token ? from.blank : from.total;
      if (mass == kNoMass || marked_[token] == mark_) continue;
      Candidate candidate{0, node.lm, node.context, order++, static_cast<int32_t>(i), token, 0, 0};
      if (search.has_lm) candidate.lm += search.lm.score(node.lm_state, token, candidate.lm_state);
      if (search.has_boosts) {
        candidate.context += search.boosts.gain(node.context_state, token, candidate.context_state);
      }
      // 0 times -infinity would be NaN
      const double by_lm = candidate.lm == kNoMass ? kNoMass : search.lm_scale * candidate.lm;
      candidate.score = mass + log_prob + by_lm + candidate.context + search.length_bonus * (node.length + 1);
      if (candidate.score == kNoMass || candidate.score < needed()) continue;
      best = std::max(best, candidate.score);
      candidates_.push_back(candidate);
      if (candidates_.size() >= 4 * beam_size + 64) {
        keep_best(beam_size);
        worst_kept = candidates_[beam_size - 1].score;
      }
    }
  }
  keep_best(beam_size);
  std::sort(candidates_.begin(), candidates_.end(), ByScore());
  while (!candidates_.empty() && candidates_.back().score < best - search.search_beam) candidates_.pop_back();
}

// The node of a prefix with one token more: an old one if it was in the beam before, for it may have children there.
int32_t PrefixStream::node_of(const Candidate& candidate) {
  const int32_t parent = beam_[candidate.from].node;
  const auto [found, is_new] = children_.try_emplace(key(parent, candidate.token), static_cast<int32_t>(nodes_.size()));
  if (is_new) {
    nodes_.push_back({parent, candidate.token, candidate.lm_state, candidate.context_state, -1,
                      nodes_[parent].length + 1, candidate.lm, candidate.context});
  }
  return found->second;
}

template <class T>
void PrefixStream::take(const PrefixSearch& search, const T* row) {
  taken_.clear();
  for (const Candidate& candidate : candidates_) {
    if (candidate.token < 0) {
      taken_.push_back(stayed_[candidate.from]);
      continue;
    }
    const Alive& from = beam_[candidate.from];
    const double log_prob = row[candidate.token];
    const bool again = nodes_[from.node].token == candidate.token;
    const double mass = (again ? from.blank : from.total) + log_prob;
    Best best{from.best_blank.score, from.best_blank.spans, static_cast<int32_t>(num_frames_), log_prob};
    if (!again && from.best_token.score > from.best_blank.score) {
      best.score = from.best_token.score;
      best.spans = close(candidate.from);
    }
    best.score += log_prob;
    const int32_t node = node_of(candidate);
    const double extra = (search.has_lm ? search.lm_scale * candidate.lm : 0) + candidate.context +
                         search.length_bonus * nodes_[node].length;
    taken_.push_back({node, kNoMass, mass, {}, best, extra, mass});
  }
  for (const Alive& old : beam_) nodes_[old.node].alive = -1;
  beam_.swap(taken_);
  for (size_t i = 0; i < beam_.size(); ++i) nodes_[beam_[i].node].alive = static_cast<int32_t>(i);
}

void PrefixStream::check_sizes() {
  constexpr int64_t most = std::numeric_limits<int32_t>::max();
  const auto added = static_cast<int64_t>(2 * beam_.size() + 1);
  if (num_frames_ >= most || static_cast<int64_t>(std::max(nodes_.size(), spans_.size())) > most - added) {
    throw LimitError("ctc_prefix_beam_search: more prefixes or frames than 32-bit numbers can count; lower beam_size, "
                     "or cut the utterance.");
  }
}

// Forgets prefixes and spans that nothing in the beam goes back to, in place. Parents come before their children.
void PrefixStream::drop_dead() {
  std::vector<int32_t> number(nodes_.size(), -1);
  for (const Alive& alive : beam_) {
    for (int32_t n = alive.node; n >= 0 && number[n] < 0; n = nodes_[n].parent) number[n] = 0;
  }
  size_t kept = 0;
  children_.clear();
  for (size_t n = 0; n < nodes_.size(); ++n) {
    if (number[n] < 0) continue;
    number[n] = static_cast<int32_t>(kept);
    Node node = nodes_[n];
    if (node.parent >= 0) {
      node.parent = number[node.parent];
      children_.emplace(key(node.parent, node.token), number[n]);
    }
    nodes_[kept++] = node;
  }
  nodes_.resize(kept);
  for (Alive& alive : beam_) alive.node = number[alive.node];

  number.assign(spans_.size(), -1);
  for (const Alive& alive : beam_) {
    for (int32_t first : {alive.best_blank.spans, alive.best_token.spans}) {
      for (int32_t s = first; s >= 0 && number[s] < 0; s = spans_[s].before) number[s] = 0;
    }
  }
  kept = 0;
  for (size_t s = 0; s < spans_.size(); ++s) {
    if (number[s] < 0) continue;
    number[s] = static_cast<int32_t>(kept);
    Span span = spans_[s];
    if (span.before >= 0) span.before = number[span.before];
    spans_[kept++] = span;
  }
  spans_.resize(kept);
  for (Alive& alive : beam_) {
    for (Best* best : {&alive.best_blank, &alive.best_token}) {
      if (best->spans >= 0) best->spans = number[best->spans];
    }
  }
  nodes_allowed_ = std::max(kLeastKept, 2 * nodes_.size());
  spans_allowed_ = std::max(kLeastKept, 2 * spans_.size());
}

std::vector<PrefixHypothesis> PrefixStream::hypotheses(const PrefixSearch& search, bool final, bool& ends) const {
  const auto end_of = [&](const Alive& alive) {
    return final && search.has_lm ? search.lm.final_score(nodes_[alive.node].lm_state) : 0.0;
  };
  ends = std::any_of(beam_.begin(), beam_.end(), [&](const Alive& alive) { return end_of(alive) > kNoMass; });
  std::vector<PrefixHypothesis> found;
  for (const Alive& alive : beam_) {
    const Node& node = nodes_[alive.node];
    PrefixHypothesis hypothesis;
    hypothesis.am_score = alive.total;
    hypothesis.lm_score = node.lm + (ends ? end_of(alive) : 0);
    if (hypothesis.lm_score == kNoMass) continue;
    hypothesis.context_score = node.context;
    if (final && search.has_boosts) hypothesis.context_score -= search.boosts.credit[node.context_state];
    hypothesis.score = alive.total + search.lm_scale * hypothesis.lm_score + hypothesis.context_score +
                       search.length_bonus * node.length;
    for (int32_t n = alive.node; nodes_[n].parent >= 0; n = nodes_[n].parent) {
      hypothesis.tokens.push_back(nodes_[n].token);
    }
    int32_t spans = alive.best_blank.spans;
    if (alive.best_token.score > alive.best_blank.score) {
      const Best& best = alive.best_token;
      hypothesis.start_frames.push_back(best.start);
      hypothesis.end_frames.push_back(num_frames_);
      hypothesis.log_probs.push_back(best.log_prob / static_cast<double>(num_frames_ - best.start));
      spans = best.spans;
    }
    for (int32_t s = spans; s >= 0; s = spans_[s].before) {
      hypothesis.start_frames.push_back(spans_[s].start);
      hypothesis.end_frames.push_back(spans_[s].end);
      hypothesis.log_probs.push_back(spans_[s].log_prob);
    }
    std::reverse(hypothesis.tokens.begin(), hypothesis.tokens.end());
    std::reverse(hypothesis.start_frames.begin(), hypothesis.start_frames.end());
    std::reverse(hypothesis.end_frames.begin(), hypothesis.end_frames.end());
    std::reverse(hypothesis.log_probs.begin(), hypothesis.log_probs.end());
    found.push_back(std::move(hypothesis));
  }
  std::stable_sort(found.begin(), found.end(), [](const auto& a, const auto& b) { return a.score > b.score; });
  return found;
}

}  // namespace wfst_entropy

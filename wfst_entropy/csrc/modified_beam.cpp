// At most one label a frame: a hypothesis is fed by itself, with blank, and by the one without its last label, and by
// nothing else. So a label sequence that is not in the beam has one source only, and needs no sum.
#include "modified_beam.h"

#include <algorithm>
#include <cmath>

namespace wfst_entropy {
namespace {

using Candidate = ModifiedBeamStep::Candidate;

constexpr float kLargest = 1 << 26;  // beyond it sums lose their digits

double log_add(double a, double b) {
  if (a < b) std::swap(a, b);
  return b == kNoMass ? a : a + std::log1p(std::exp(b - a));
}

uint64_t extended(uint64_t hash, int32_t token) {
  hash = (hash ^ static_cast<uint32_t>(token)) * 0x9E3779B97F4A7C15u;
  return hash ^ (hash >> 29);
}

bool is_better(const Candidate& a, const Candidate& b) {
  return a.score != b.score ? a.score > b.score : a.order < b.order;
}

void keep_best(std::vector<Candidate>& candidates, size_t count) {
  if (candidates.size() <= count) return;
  std::nth_element(candidates.begin(), candidates.begin() + (count - 1), candidates.end(), is_better);
  candidates.resize(count);
}

bool all_can_be_used(const float* scores, size_t count) {
  size_t wrong = 0;
  for (size_t i = 0; i < count; ++i) wrong += !(scores[i] <= kLargest);
  return wrong == 0;
}

}  // namespace

double ModifiedBeamSearch::largest_gain() const {
  double gain = length_bonus + (has_boosts ? boosts.largest : 0);
  for (const ScaledNgram& each : ngrams) gain += each.largest;
  return gain;
}

ModifiedBeam::ModifiedBeam() : beam_{{{}, {}, 0, 0, 0, 0, {}, 0, 0}} {}

bool ModifiedBeam::step(const ModifiedBeamSearch& search, const float* rows, ModifiedBeamStep& step) {
  step.from.clear();
  step.tokens.clear();
  if (!stopped_) {
    if (!all_can_be_used(rows, beam_.size() * search.num_symbols)) return false;
    find_parents(step);
    stay(rows, search.num_symbols, step);
    extend(search, rows, step);
    stopped_ = step.candidates.empty();
  }
  if (stopped_) {
    for (size_t i = 0; i < beam_.size(); ++i) step.from.push_back(static_cast<int32_t>(i));
    step.tokens.assign(beam_.size(), -1);
  } else {
    take(search, rows, step);
    ++num_frames_;
  }
  stayed_.clear();
  return true;
}

// Which hypothesis of the beam each one continues.
void ModifiedBeam::find_parents(ModifiedBeamStep& step) const {
  const size_t n = beam_.size();
  step.by_hash.clear();
  for (size_t i = 0; i < n; ++i) {
    const auto& labels = beam_[i].labels;
    step.by_hash.emplace_back(labels.empty() ? 0 : labels.last().hash, static_cast<int32_t>(i));
  }
  std::sort(step.by_hash.begin(), step.by_hash.end());
  step.parent.assign(n, -1);
  step.first_child.assign(n, -1);
  step.next_child.assign(n, -1);
  const auto same = [](const Label& a, const Label& b) { return a.token == b.token; };
  for (size_t j = 0; j < n; ++j) {
    const auto& labels = beam_[j].labels;
    if (labels.empty()) continue;
    uint64_t before = 0;
    int distance = 0;
    labels.backwards([&](const Label& label) {
      before = distance == 1 ? label.hash : 0;
      return distance++ == 0;
    });
    auto found = std::lower_bound(step.by_hash.begin(), step.by_hash.end(), std::make_pair(before, int32_t{-1}));
    for (; found != step.by_hash.end() && found->first == before; ++found) {
      if (!beam_[found->second].labels.is_begun_by(labels, same)) continue;
      step.parent[j] = found->second;
      step.next_child[j] = step.first_child[found->second];
      step.first_child[found->second] = static_cast<int32_t>(j);
      break;
    }
  }
}

// What each hypothesis becomes if it does not grow.
void ModifiedBeam::stay(const float* rows, int64_t num_symbols, const ModifiedBeamStep& step) {
  stayed_ = beam_;
  for (size_t i = 0; i < beam_.size(); ++i) {
    Hypothesis& now = stayed_[i];
    const double blank = rows[i * num_symbols];
    now.am += blank;
    now.best_am += blank;
    if (step.parent[i] < 0) continue;
    const Hypothesis& parent = beam_[step.parent[i]];
    const float log_prob = rows[step.parent[i] * num_symbols + now.labels.last().token];
    now.am = log_add(now.am, parent.am + log_prob);
    if (parent.best_am + log_prob > now.best_am) {
      now.best_am = parent.best_am + log_prob;
      now.emissions = parent.emissions.with({num_frames_, log_prob});
    }
  }
}

// Fills in all but what tells who grows; false if the token cannot be.
bool ModifiedBeam::extend_by(const ModifiedBeamSearch& search, const Hypothesis& from, float log_prob,
                             Candidate& candidate) const {
  candidate.lm = from.lm;
  candidate.context = from.context;
  for (size_t k = 0; k < search.ngrams.size(); ++k) {
    const ScaledNgram& each = search.ngrams[k];
    const double score = each.ngram.score(from.lm_states[k], candidate.token, candidate.lm_states[k]);
    if (score == kNoMass) return false;
    candidate.lm += each.scale * score;
  }
  if (search.has_boosts) {
    candidate.context += search.boosts.gain(from.context_state, candidate.token, candidate.context_state);
  }
  const double bonus = search.length_bonus * static_cast<double>(from.length + 1);
  candidate.score = from.am + log_prob + (candidate.lm + candidate.context + bonus);
  return candidate.score > kNoMass;
}

// The candidates: those that stay, and those with one label more that are not in the beam.
void ModifiedBeam::extend(const ModifiedBeamSearch& search, const float* rows, ModifiedBeamStep& step) const {
  const auto beam_size = static_cast<size_t>(search.beam_size);
  auto& candidates = step.candidates;
  candidates.clear();
  step.marked.resize(search.num_symbols, 0);
  double best = kNoMass;
  for (size_t i = 0; i < beam_.size(); ++i) {
    const double score = stayed_[i].score(search);
    if (score == kNoMass) continue;
    best = std::max(best, score);
    const auto place = static_cast<int32_t>(i);
    candidates.push_back({score, 0, 0, place, place, -1, {}, 0});
  }
  // Once the beam is full, what is worse than all in it need not be looked at.
  double worst_kept = kNoMass;
  if (candidates.size() == beam_size) {
    worst_kept = std::max_element(candidates.begin(), candidates.end(), is_better)->score;
  }
  const auto needed = [&] { return std::max(worst_kept, best - search.search_beam); };
  const double gain = search.largest_gain();
  for (size_t i = 0; i < beam_.size(); ++i) {
    const Hypothesis& from = beam_[i];
    const double base = from.score(search) + gain;
    const float* row = rows + i * search.num_symbols;
    ++step.mark;
    for (int32_t j = step.first_child[i]; j >= 0; j = step.next_child[j]) {
      step.marked[beam_[j].labels.last().token] = step.mark;
    }
    step.ranked.clear();
    const double threshold = needed() - base;
    for (int32_t c = 1; c < search.num_symbols; ++c) {
      if (row[c] >= threshold && step.marked[c] != step.mark) step.ranked.emplace_back(row[c], c);
    }
    std::sort(step.ranked.begin(), step.ranked.end(), [](const auto& a, const auto& b) { return a.first > b.first; });
    for (const auto& [log_prob, token] : step.ranked) {
      if (base + log_prob < needed()) break;
      Candidate candidate{0, 0, 0, search.beam_size + static_cast<int64_t>(i) * search.num_symbols + token,
                          static_cast<int32_t>(i), token, {}, 0};
      if (!extend_by(search, from, log_prob, candidate) || candidate.score < needed()) continue;
      best = std::max(best, candidate.score);
      candidates.push_back(candidate);
      if (candidates.size() >= 4 * beam_size + 64) {
        keep_best(candidates, beam_size);
        worst_kept = candidates[beam_size - 1].score;
      }
    }
  }
  keep_best(candidates, beam_size);
  std::sort(candidates.begin(), candidates.end(), is_better);
  while (!candidates.empty() && candidates.back().score < best - search.search_beam) candidates.pop_back();
}

// The candidates become the beam.
void ModifiedBeam::take(const ModifiedBeamSearch& search, const float* rows, ModifiedBeamStep& step) {
  std::vector<Hypothesis> taken;
  taken.reserve(step.candidates.size());
  for (const Candidate& candidate : step.candidates) {
    step.from.push_back(candidate.from);
    step.tokens.push_back(candidate.token);
    if (candidate.token < 0) {
      taken.push_back(std::move(stayed_[candidate.from]));
      continue;
    }
    const Hypothesis& from = beam_[candidate.from];
    const float log_prob = rows[candidate.from * search.num_symbols + candidate.token];
    const uint64_t hash = extended(from.labels.empty() ? 0 : from.labels.last().hash, candidate.token);
    taken.push_back({from.labels.with({hash, candidate.token}), from.emissions.with({num_frames_, log_prob}),
                     from.am + log_prob, from.best_am + log_prob, candidate.lm, candidate.context,
                     candidate.lm_states, candidate.context_state, from.length + 1});
  }
  beam_ = std::move(taken);
}

std::vector<ModifiedBeamHypothesis> ModifiedBeam::hypotheses(const ModifiedBeamSearch& search, bool final,
                                                             bool& ends) const {
  const auto end_of = [&](const Hypothesis& hypothesis) {
    double score = 0;
    for (size_t k = 0; final && k < search.ngrams.size(); ++k) {
      const double end = search.ngrams[k].ngram.final_score(hypothesis.lm_states[k]);
      if (end == kNoMass) return kNoMass;
      score += search.ngrams[k].scale * end;
    }
    return score;
  };
  ends = std::any_of(beam_.begin(), beam_.end(), [&](const Hypothesis& each) { return end_of(each) > kNoMass; });
  std::vector<ModifiedBeamHypothesis> found;
  for (const Hypothesis& each : beam_) {
    const double end = ends ? end_of(each) : 0;
    if (end == kNoMass) continue;
    ModifiedBeamHypothesis out;
    const double taken_back = final && search.has_boosts ? search.boosts.credit[each.context_state] : 0;
    out.lm_score = each.lm + end;
    out.context_score = each.context - taken_back;
    out.score = each.score(search) + end - taken_back;
    each.labels.backwards([&](const Label& label) {
      out.tokens.push_back(label.token);
      return true;
    });
    each.emissions.backwards([&](const Emission& emission) {
      out.frames.push_back(emission.frame);
      out.log_probs.push_back(emission.log_prob);
      return true;
    });
    std::reverse(out.tokens.begin(), out.tokens.end());
    std::reverse(out.frames.begin(), out.frames.end());
    std::reverse(out.log_probs.begin(), out.log_probs.end());
    found.push_back(std::move(out));
  }
  std::stable_sort(found.begin(), found.end(), [](const auto& a, const auto& b) { return a.score > b.score; });
  return found;
}

}  // namespace wfst_entropy

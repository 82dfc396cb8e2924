// Modified beam search of a transducer: what a search knows, and the beam of one stream.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <utility>
#include <vector>

#include "prefix_search.h"
#include "shared_list.h"

namespace wfst_entropy {

constexpr size_t kMostNgrams = 2;

struct ScaledNgram {
  TokenNgram ngram;
  double scale;
  double largest;  // no token scores more, scaled
};

struct ModifiedBeamSearch {
  int64_t num_symbols, beam_size;
  double search_beam, length_bonus;
  std::vector<ScaledNgram> ngrams;
  bool has_boosts;
  PhraseBoosts boosts;

  double largest_gain() const;  // no token gains more besides what the model gives it
};

struct ModifiedBeamHypothesis {
  std::vector<int64_t> tokens, frames;
  std::vector<double> log_probs;
  double score, lm_score, context_score;
};

// Scratch of one step, and what came out: for each hypothesis of the new beam the one it comes from, and the token it
// got or -1.
struct ModifiedBeamStep {
  struct Candidate {
    double score, lm, context;
    int64_t order;  // among equals the first wins
    int32_t from, token;
    std::array<int32_t, kMostNgrams> lm_states;
    int32_t context_state;
  };
  std::vector<int32_t> from, tokens;
  std::vector<Candidate> candidates;
  std::vector<std::pair<uint64_t, int32_t>> by_hash;
  std::vector<int32_t> parent, first_child, next_child;  // in the beam, or -1
  std::vector<std::pair<float, int32_t>> ranked;
  std::vector<int64_t> marked;  // for each token the last mark
  int64_t mark = 0;
};

class ModifiedBeam {
 public:
  ModifiedBeam();

  // Reads a frame: rows has num_symbols log-probabilities for each hypothesis. False if one of them is NaN or too
  // large, and then nothing has changed.
  bool step(const ModifiedBeamSearch& search, const float* rows, ModifiedBeamStep& step);

  // All that are in the beam, the best first; `final` and `ends` as in PrefixStream.
  std::vector<ModifiedBeamHypothesis> hypotheses(const ModifiedBeamSearch& search, bool final, bool& ends) const;

  size_t size() const { return beam_.size(); }
  int64_t num_frames() const { return num_frames_; }
  bool stopped() const { return stopped_; }

 private:
  struct Label {
    uint64_t hash;  // of it and those before
    int32_t token;
  };
  struct Emission {
    int64_t frame;
    float log_prob;
  };
  struct Hypothesis {
    SharedList<Label> labels;
    SharedList<Emission> emissions;  // of the best alignment
    double am, best_am;  // log-mass of all alignments, and of the best one
    double lm, context;
    std::array<int32_t, kMostNgrams> lm_states;
    int32_t context_state;
    int64_t length;

    double score(const ModifiedBeamSearch& search) const {
      return am + (lm + context + search.length_bonus * static_cast<double>(length));
    }
  };

  void find_parents(ModifiedBeamStep& step) const;
  void stay(const float* rows, int64_t num_symbols, const ModifiedBeamStep& step);
  void extend(const ModifiedBeamSearch& search, const float* rows, ModifiedBeamStep& step) const;
  bool extend_by(const ModifiedBeamSearch& search, const Hypothesis& from, float log_prob,
                 ModifiedBeamStep::Candidate& candidate) const;
  void take(const ModifiedBeamSearch& search, const float* rows, ModifiedBeamStep& step);

  std::vector<Hypothesis> beam_;
  std::vector<Hypothesis> stayed_;  // empty between steps
  int64_t num_frames_ = 0;
  bool stopped_ = false;
};

}  // namespace wfst_entropy

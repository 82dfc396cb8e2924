// CTC prefix beam search: what a search knows, and the state of one utterance.
#pragma once

#include <cstddef>
#include <cstdint>
#include <limits>
#include <unordered_map>
#include <utility>
#include <vector>

namespace wfst_entropy {

constexpr double kNoMass = -std::numeric_limits<double>::infinity();

// A deterministic n-gram over tokens whose back-off arcs are failure arcs: arcs of each state ordered by token.
struct TokenNgram {
  std::vector<int64_t> splits;
  std::vector<int32_t> tokens, next;
  std::vector<double> scores;
  std::vector<int32_t> backoff;  // -1: none
  std::vector<double> backoff_scores, final_scores;
  double largest = 0;  // no token scores more

  // The score of a token, and the state after it; -infinity if no state on the way back knows it.
  double score(int32_t state, int32_t token, int32_t& after) const;
  double final_score(int32_t state) const;
};

// An Aho-Corasick automaton; see ContextGraph.
struct PhraseBoosts {
  std::vector<int64_t> splits;
  std::vector<int32_t> tokens, children, fail;
  std::vector<double> credit, output;
  double largest = 0;  // no token gains more

  double gain(int32_t state, int32_t token, int32_t& after) const;
};

struct PrefixSearch {
  int64_t num_symbols, blank, beam_size;
  int64_t tokens_per_frame;  // 0: all
  double search_beam, lm_scale, length_bonus;
  bool has_lm, has_boosts;
  TokenNgram lm;
  PhraseBoosts boosts;
};

struct PrefixHypothesis {
  std::vector<int64_t> tokens, start_frames, end_frames;
  std::vector<double> log_probs;  // mean of each token over its frames
  double score, am_score, lm_score, context_score;
};

class PrefixStream {
 public:
  explicit PrefixStream(const PrefixSearch& search);

  // Reads frames, of stride numbers each.
  template <class T>
  void advance(const PrefixSearch& search, const T* scores, int64_t num_frames, int64_t stride);

  // The prefixes that are alive, the best first. With `final`, the ends of the n-gram and of phrases count too; if no
  // prefix may end there, the n-gram's ends count for none, and `ends` is false.
  std::vector<PrefixHypothesis> hypotheses(const PrefixSearch& search, bool final, bool& ends) const;

  int64_t num_frames() const { return num_frames_; }
  bool stopped() const { return stopped_; }

 private:
  // A prefix: its parent with one token more. Prefixes form a tree in which each stands once.
  struct Node {
    int32_t parent, token, lm_state, context_state;
    int32_t alive;  // its place in the beam, or -1
    int32_t length;
    double lm, context;
  };
  // The tokens of one best alignment, but the last: a list that others continue.
  struct Span {
    int32_t before, start, end;
    float log_prob;
  };
  // The best alignment that ends in one way.
  struct Best {
    double score = kNoMass;
    int32_t spans = -1;
    int32_t start = 0;    // of the token that is going on
    double log_prob = 0;  // its sum so far
  };
  struct Alive {
    int32_t node;
    double blank, token;  // log-mass of the alignments that end with blank, and with the prefix's last token
    Best best_blank, best_token;
    double extra;  // what is not the model's: n-gram, phrases, length
    double total;  // log(exp(blank) + exp(token))
  };
  struct Candidate {
    double score, lm, context;
    int64_t order;        // among equals the first wins
    int32_t from, token;  // token -1: the prefix stays as it is
    int32_t lm_state, context_state;
  };
  struct ByScore {
    bool operator()(const Candidate& a, const Candidate& b) const {
      return a.score != b.score ? a.score > b.score : a.order < b.order;
    }
  };

  // One frame; false if no prefix has any mass there, and then nothing has changed.
  template <class T>
  bool step(const PrefixSearch& search, const T* row);
  // What each prefix of the beam becomes if it gets no further token.
  template <class T>
  void stay(const PrefixSearch& search, const T* row);
  // The candidates: prefixes that stay, and those with one token more that are not in the beam.
  template <class T>
  void extend(const PrefixSearch& search, const T* row);
  template <class T>
  void rank_tokens(const PrefixSearch& search, const T* row, double threshold);
  void mark_children(size_t i);
  void keep_best(size_t count);
  // The candidates become the beam.
  template <class T>
  void take(const PrefixSearch& search, const T* row);
  int32_t node_of(const Candidate& candidate);
  int32_t close(size_t i);
  void check_sizes();
  void drop_dead();

  std::vector<Node> nodes_;
  std::vector<Span> spans_;
  std::unordered_map<uint64_t, int32_t> children_;
  std::vector<Alive> beam_, stayed_, taken_;
  int64_t num_frames_ = 0;
  bool stopped_ = false;
  size_t nodes_allowed_, spans_allowed_;
  // Scratch of one step.
  std::vector<Candidate> candidates_;
  std::vector<std::pair<double, int32_t>> ranked_;
  std::vector<int32_t> closed_;
  std::vector<int32_t> first_child_, next_child_;  // of each prefix of the beam, those in the beam too
  std::vector<int64_t> marked_;                    // for each token the last mark
  int64_t mark_ = 0;
};

}  // namespace wfst_entropy

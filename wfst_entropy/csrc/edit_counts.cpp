// The edit counts of every path of a lattice against a reference: states are split by what the edit distance still
// depends on, so that each path of the lattice is one path of the result, with its own counts along its arcs.
//
// Costs are integers, so that one minimum finds the fewest errors and among these the fewest insertions (that is, the
// most substitutions): with U the length of the reference and scale = 2 U + 2, a substitution or deletion costs `scale`
// and an insertion `scale + 1`. A path's cost is errors * scale + insertions. What is kept is relative to inserting all
// tokens read, (errors - tokens) * scale + (insertions - tokens), whose second part lies in -U..0.
#include <limits>
#include <numeric>
#include <string>
#include <unordered_map>

#include "pair_graph.h"
#include "surgery.h"

namespace wfst_entropy {
namespace {

// Lists of tokens: those of n are values[splits[n]] ... values[splits[n + 1] - 1].
struct TokenLists {
  const int64_t* splits;
  const int32_t* values;
};

struct Reference {
  const int32_t* tokens;
  int64_t length;
  int64_t scale() const { return 2 * length + 2; }
  // What it costs to put `token` in the place of token j.
  int64_t substitution(int64_t j, int32_t token) const { return tokens[j] == token ? 0 : scale(); }
};

// Bounds on how much more it can cost to be at place i of the reference than at place j, whatever tokens follow in the
// lattice: the value of a game in which an opponent at j chooses the tokens and its edits, and we at i answer each of
// its edits. From i = j on we copy it, for nothing. Kept for |i - j| <= kBand; beyond, deleting the tokens between or
// inserting as many is an answer.
class Lead {
 public:
  static constexpr int64_t kBand = 8;

  explicit Lead(const Reference& reference) : reference_(reference), values_((reference.length + 1) * kWidth, 0) {}

  static int64_t bytes(const Reference& reference) { return (reference.length + 1) * kWidth * sizeof(int32_t); }

  int64_t get(int64_t i, int64_t j) const {
    return std::abs(i - j) > kBand ? detour(i, j) : values_[i * kWidth + j - i + kBand];
  }

  // After the last token only deletions are left.
  void set_final() {
    for_each([this](int64_t i, int64_t j) { set(i, j, (j - i) * reference_.scale()); });
  }

  // Makes the bounds after one token those before it.
  void step_back(int32_t token) {
    const int64_t scale = reference_.scale(), end = reference_.length;
    // We have the token to read, the opponent has read it.
    Lead answer(reference_);
    const auto answered = [&](int64_t i, int64_t j) {
      return std::abs(i - j) > kBand ? scale + 1 + detour(i, j) : answer.get(i, j);
    };
    for_each([&](int64_t i, int64_t j) {
      int64_t best = scale + 1 + get(i, j);
      if (i < end) {
        best = std::min({best, reference_.substitution(i, token) + get(i + 1, j), scale + answered(i + 1, j)});
      }
      answer.set(i, j, best);
    });
    Lead before(reference_);
    for_each([&](int64_t i, int64_t j) {
      if (i == j) return before.set(i, j, 0);
      int64_t worst = answered(i, j) - scale - 1;
      if (j < end) {
        worst = std::max({worst, answered(i, j + 1) - reference_.substitution(j, token), before.get(i, j + 1) - scale});
      }
      if (i < end) worst = std::min(worst, scale + before.get(i + 1, j));
      before.set(i, j, std::min(worst, detour(i, j)));
    });
    values_.swap(before.values_);
  }

  void raise_to(const Lead& other) {
    for (size_t n = 0; n < values_.size(); ++n) values_[n] = std::max(values_[n], other.values_[n]);
  }

 private:
  static constexpr int64_t kWidth = 2 * kBand + 1;

  int64_t detour(int64_t i, int64_t j) const {
    return i < j ? (j - i) * reference_.scale() : (i - j) * (reference_.scale() + 1);
  }

  void set(int64_t i, int64_t j, int64_t value) { values_[i * kWidth + j - i + kBand] = static_cast<int32_t>(value); }

  // All pairs in the band, those further on in the reference first.
  template <class Visit>
  void for_each(Visit&& visit) const {
    for (int64_t i = reference_.length; i >= 0; --i) {
      for (int64_t j = std::min(reference_.length, i + kBand); j >= std::max<int64_t>(0, i - kBand); --j) visit(i, j);
    }
  }

  Reference reference_;
  std::vector<int32_t> values_;
};

// States in an order in which arcs go forward.
std::vector<int32_t> topological_order(const FsaView& lattice) {
  std::vector<int32_t> waiting(lattice.num_states, 0), order;
  for (int64_t a = lattice.first_arc(); a < lattice.end_arc(); ++a) ++waiting[lattice.arcs[a].dst];
  for (int32_t s = 0; s < lattice.num_states; ++s) {
    if (waiting[s] == 0) order.push_back(s);
  }
  for (size_t n = 0; n < order.size(); ++n) {
    for (int64_t a = lattice.splits[order[n]]; a < lattice.splits[order[n] + 1]; ++a) {
      if (--waiting[lattice.arcs[a].dst] == 0) order.push_back(lattice.arcs[a].dst);
    }
  }
  return order;
}

// The bounds for every state from which the final one can be reached; none for the others.
std::vector<std::vector<Lead>> leads_of(const FsaView& lattice, const TokenLists& tokens, const Reference& reference,
                                        Progress& progress) {
  std::vector<std::vector<Lead>> leads(lattice.num_states);
  leads[lattice.final_state()].emplace_back(reference).set_final();
  const std::vector<int32_t> order = topological_order(lattice);
  for (auto state = order.rbegin(); state != order.rend(); ++state) {
    for (int64_t a = lattice.splits[*state]; a < lattice.splits[*state + 1]; ++a) {
      const std::vector<Lead>& after = leads[lattice.arcs[a].dst];
      if (after.empty()) continue;
      Lead before = after.front();
      for (int64_t t = tokens.splits[a + 1]; t-- > tokens.splits[a];) {
        before.step_back(tokens.values[t]);
        for (int64_t j = 0; j <= reference.length; ++j) progress.step();
      }
      if (leads[*state].empty()) {
        leads[*state].push_back(std::move(before));
      } else {
        leads[*state].front().raise_to(before);
      }
    }
  }
  return leads;
}

// A row of the edit distance table: the relative cost of every place of the reference, kNever where another place is at
// least as good whatever follows. Its least entry is 0: what was taken off it stands on the arcs.
using Row = std::vector<int32_t>;
constexpr int32_t kNever = std::numeric_limits<int32_t>::max();

Row read(const Row& row, int32_t token, const Reference& reference) {
  Row next(row.size(), kNever);
  const int64_t scale = reference.scale();
  int64_t before = kNever;  // at place j - 1, over deletions too
  for (int64_t j = 0; j <= reference.length; ++j) {
    const int64_t here = before == kNever ? row[j] : std::min<int64_t>(row[j], before + scale);
    int64_t best = here;
    if (before != kNever) best = std::min(best, before + reference.substitution(j - 1, token) - scale - 1);
    next[j] = static_cast<int32_t>(best);
    before = here;
  }
  return next;
}

// What the row says of the end of the reference.
int32_t cost_at_end(const Row& row, const Reference& reference) {
  int64_t best = kNever;
  for (int64_t j = 0; j <= reference.length; ++j) {
    if (row[j] != kNever) best = std::min(best, row[j] + (reference.length - j) * reference.scale());
  }
  return static_cast<int32_t>(best);
}

// Forgets places that need not be remembered, and takes the least entry off the others.
int32_t normalise(Row& row, const Lead& lead) {
  const auto end = static_cast<int64_t>(row.size());
  for (int64_t j = 0; j < end; ++j) {
    if (row[j] == kNever) continue;
    for (int64_t i = std::max<int64_t>(0, j - Lead::kBand); i < std::min(end, j + Lead::kBand + 1); ++i) {
      if (i == j || row[i] == kNever || row[i] + lead.get(i, j) > row[j]) continue;
      row[j] = kNever;
      break;
    }
  }
  const int32_t least = *std::min_element(row.begin(), row.end());
  for (int32_t& entry : row) {
    if (entry != kNever) entry -= least;
  }
  return least;
}

// Numbers rows in the order in which they come.
class Rows {
 public:
  explicit Rows(Progress& progress) : held_(progress) {}

  int32_t number(Row row) {
    const auto [place, is_new] = numbers_.try_emplace(std::move(row), static_cast<int32_t>(rows_.size()));
    if (is_new) {
      constexpr int64_t kKnown = 64;
      held_.add(kKnown + static_cast<int64_t>(place->first.size() * sizeof(int32_t)));
      rows_.push_back(&place->first);
    }
    return place->second;
  }

  const Row& operator[](int32_t number) const { return *rows_[number]; }

 private:
  struct Hash {
    size_t operator()(const Row& row) const {
      return std::accumulate(row.begin(), row.end(), size_t{0}, [](size_t hash, int32_t entry) {
        return (hash ^ static_cast<uint32_t>(entry)) * 0x9E3779B97F4A7C15u;
      });
    }
  };

  Held held_;
  std::unordered_map<Row, int32_t, Hash> numbers_;
  std::vector<const Row*> rows_;  // the keys of numbers_, which stay where they are
};

uint64_t pair_key(int32_t state, int32_t row) {
  return static_cast<uint64_t>(state) << 32 | static_cast<uint32_t>(row);
}

// The arc map's second entry is what was taken off the row on the arc.
void split_states(const FsaView& lattice, const TokenLists& tokens, const Reference& reference, FsaVecBuilder& builder,
                  Progress& progress) {
  Held held(progress);
  held.add(lattice.num_states * Lead::bytes(reference));
  const std::vector<std::vector<Lead>> leads = leads_of(lattice, tokens, reference, progress);
  Rows rows(progress);
  Row start(reference.length + 1, kNever);
  start[0] = 0;
  const uint64_t final_key = pair_key(lattice.final_state(), 0);
  PairGraph graph(progress, builder);
  graph.number(pair_key(0, rows.number(std::move(start))));
  for (int64_t s = 0; s < graph.num_states(); ++s) {
    graph.begin_state();
    const auto state = static_cast<int32_t>(graph.key(s) >> 32), row = static_cast<int32_t>(graph.key(s));
    for (int64_t a = lattice.splits[state]; a < lattice.splits[state + 1]; ++a) {
      const Arc& arc = lattice.arcs[a];
      if (leads[arc.dst].empty()) continue;
      Row next = rows[row];
      for (int64_t t = tokens.splits[a]; t < tokens.splits[a + 1]; ++t) next = read(next, tokens.values[t], reference);
      for (int64_t j = 0; j <= reference.length; ++j) progress.step();
      if (arc.label == kFinalLabel) {
        graph.add_move(final_key, static_cast<int32_t>(a), cost_at_end(next, reference));
      } else {
        const int32_t least = normalise(next, leads[arc.dst].front());
        graph.add_move(pair_key(arc.dst, rows.number(std::move(next))), static_cast<int32_t>(a), least);
      }
    }
  }
  graph.write(builder, graph.find(final_key), /*connect=*/true,
              [&lattice](const Move& move) { return lattice.arcs[move.source].label; });
}

constexpr int64_t kLongestReference = 30000;  // length * scale fits an int32

nb::tuple edit_counts(const FsaVecView& lattices, Progress& progress, uintptr_t token_splits, uintptr_t token_values,
                      uintptr_t reference_splits, uintptr_t reference_values) {
  FsaVecBuilder builder(progress, /*num_maps=*/2);
  const TokenLists tokens{reinterpret_cast<const int64_t*>(token_splits),
                          reinterpret_cast<const int32_t*>(token_values)};
  const TokenLists references{reinterpret_cast<const int64_t*>(reference_splits),
                              reinterpret_cast<const int32_t*>(reference_values)};
  {
    nb::gil_scoped_release released;
    check_arc_numbers(lattices, progress);
    for (int64_t n = 0; n < lattices.num_fsas; ++n) {
      const int64_t begin = references.splits[n], length = references.splits[n + 1] - begin;
      if (length > kLongestReference) {
        throw InputError(progress.operation() + ": reference " + std::to_string(n) + " has " + std::to_string(length) +
                         " tokens, more than " + std::to_string(kLongestReference) + "; cut the utterance.");
      }
      if (lattices[n].empty()) {
        builder.end_empty_fsa();
      } else {
        try {
          split_states(lattices[n], tokens, {references.values + begin, length}, builder, progress);
        } catch (const LimitError& error) {
          throw LimitError(error.what() + (" In lattice " + std::to_string(n) + " tokens may follow each other in so "
                           "many ways that the edit distances of its prefixes do not repeat; prune it, or use its n "
                           "best paths."));
        }
      }
    }
  }
  return result(std::move(builder));
}

}  // namespace

void bind_edit_counts(nb::module_& m) { m.def("expected_edit_counts", &edit_counts); }

}  // namespace wfst_entropy

// The edit counts of every path of a lattice against a reference: states are split by what the edit distance still
// depends on, so that each path of the lattice is one path of the result, with its own counts.
#include <numeric>
#include <string>
#include <unordered_map>

#include "pair_graph.h"
#include "surgery.h"

namespace wfst_entropy {
namespace {

// Rows of the edit distance table. Entry j of the row after a hypothesis of h tokens stands for the best way to edit it
// into the first j tokens of the reference: fewest errors e and among these fewest insertions i (that is, most
// substitutions). It holds (e - h) * scale + (i - h), where -j <= i - h <= 0, so that with scale = U + 1 the order of
// numbers is that of the pairs, entry 0 is 0, and hypotheses that need the same edits from here on have one row.
class EditRows {
 public:
  EditRows(const int32_t* reference, int64_t length, Progress& progress)
      : reference_(reference), length_(length), scale_(length + 1), progress_(progress) {
    if (length > kLongest) {
      throw InputError(progress.operation() + ": a reference has " + std::to_string(length) + " tokens, more than " +
                       std::to_string(kLongest) + "; cut the utterance.");
    }
    std::vector<int32_t> row(length + 1);
    for (int64_t j = 0; j <= length; ++j) row[j] = static_cast<int32_t>(j * scale_);
    intern(std::move(row));
    for (int64_t j = 0; j < length; ++j) classes_.try_emplace(reference[j], static_cast<uint32_t>(classes_.size() + 1));
  }

  static constexpr int32_t kStart = 0;

  // The row after one more token.
  int32_t follow(int32_t row, int32_t token) {
    // Tokens that the reference does not have are all alike.
    const auto found = classes_.find(token);
    const uint32_t token_class = found == classes_.end() ? 0 : found->second;
    const int64_t known = transitions_.size();
    const int32_t n = transitions_.number(static_cast<uint64_t>(row) << 32 | token_class);
    if (n < known) return targets_[n];
    const std::vector<int32_t>& old = *rows_[row];
    std::vector<int32_t> next(old.size());
    for (int64_t j = 1; j <= length_; ++j) {
      const int64_t substitution = reference_[j - 1] == token ? 0 : scale_;
      const int64_t best = std::min({static_cast<int64_t>(old[j]), old[j - 1] + substitution - scale_ - 1,
                                     next[j - 1] + scale_});
      next[j] = static_cast<int32_t>(best);
    }
    for (int64_t j = 0; j <= length_; ++j) progress_.step();
    targets_.push_back(intern(std::move(next)));
    return targets_.back();
  }

  // Entry U of a row: (e - h) * scale + (i - h) of the whole hypothesis.
  int32_t total(int32_t row) const { return rows_[row]->back(); }

 private:
  static constexpr int64_t kLongest = 30000;  // its square fits an int32

  struct Hash {
    size_t operator()(const std::vector<int32_t>& row) const {
      return std::accumulate(row.begin(), row.end(), size_t{0}, [](size_t hash, int32_t entry) {
        return (hash ^ static_cast<uint32_t>(entry)) * 0x9E3779B97F4A7C15u;
      });
    }
  };

  int32_t intern(std::vector<int32_t> row) {
    const auto [place, is_new] = numbers_.try_emplace(std::move(row), static_cast<int32_t>(rows_.size()));
    if (is_new) rows_.push_back(&place->first);
    if (static_cast<int64_t>(rows_.size()) * (length_ + 1) > progress_.max_arcs()) {
      throw LimitError(progress_.operation() + ": " + std::to_string(rows_.size()) +
                       " different edit distance rows of " + std::to_string(length_ + 1) +
                       " numbers outgrow max_arcs=" + std::to_string(progress_.max_arcs()) +
                       "; prune the lattices, or use their n best paths.");
    }
    return place->second;
  }

  const int32_t* reference_;
  const int64_t length_, scale_;
  Progress& progress_;
  std::unordered_map<int32_t, uint32_t> classes_;
  std::unordered_map<std::vector<int32_t>, int32_t, Hash> numbers_;
  std::vector<const std::vector<int32_t>*> rows_;  // the keys of numbers_, which stay where they are
  KeyTable transitions_;
  std::vector<int32_t> targets_;
};

uint64_t pair_key(int32_t state, int32_t row) {
  return static_cast<uint64_t>(state) << 32 | static_cast<uint32_t>(row);
}

// Lists of tokens: those of n are values[splits[n]] ... values[splits[n + 1] - 1].
struct TokenLists {
  const int64_t* splits;
  const int32_t* values;
};

// The arc map's second entry is total() on arcs into the final state, 0 elsewhere.
void split_states(const FsaView& lattice, const TokenLists& tokens, EditRows& rows, FsaVecBuilder& builder,
                  Progress& progress) {
  const uint64_t final_key = pair_key(lattice.final_state(), EditRows::kStart);
  PairGraph graph(progress, builder);
  graph.number(pair_key(0, EditRows::kStart));
  for (int64_t s = 0; s < graph.num_states(); ++s) {
    graph.begin_state();
    const auto state = static_cast<int32_t>(graph.key(s) >> 32), row = static_cast<int32_t>(graph.key(s));
    for (int64_t a = lattice.splits[state]; a < lattice.splits[state + 1]; ++a) {
      int32_t next = row;
      for (int64_t t = tokens.splits[a]; t < tokens.splits[a + 1]; ++t) next = rows.follow(next, tokens.values[t]);
      const Arc& arc = lattice.arcs[a];
      if (arc.label == kFinalLabel) {
        graph.add_move(final_key, static_cast<int32_t>(a), rows.total(next));
      } else {
        graph.add_move(pair_key(arc.dst, next), static_cast<int32_t>(a), 0);
      }
      progress.step();
    }
  }
  graph.write(builder, graph.find(final_key), /*connect=*/true,
              [&lattice](const Move& move) { return lattice.arcs[move.source].label; });
}

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
      if (lattices[n].empty()) {
        builder.end_empty_fsa();
        continue;
      }
      const int64_t begin = references.splits[n], length = references.splits[n + 1] - begin;
      EditRows rows(references.values + begin, length, progress);
      split_states(lattices[n], tokens, rows, builder, progress);
    }
  }
  return result(std::move(builder));
}

}  // namespace

void bind_edit_counts(nb::module_& m) { m.def("expected_edit_counts", &edit_counts); }

}  // namespace wfst_entropy

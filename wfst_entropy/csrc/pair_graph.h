// Graphs whose states are pairs, found one by one from a start: what intersection, difference and the like share.
#pragma once

#include <algorithm>
#include <cstdint>
#include <limits>
#include <string>
#include <vector>

#include "graph.h"

namespace wfst_entropy {

// Numbers 64-bit keys in the order in which they come (a hash table with open addressing).
class KeyTable {
 public:
  KeyTable() : slots_(64, kEmpty), shift_(64 - 6) {}

  // The key's number; it is new if that equals what size() was.
  int32_t number(uint64_t key) {
    size_t i = home(key);
    while (slots_[i] != kEmpty) {
      if (keys_[slots_[i]] == key) return slots_[i];
      i = (i + 1) & (slots_.size() - 1);
    }
    const auto number = static_cast<int32_t>(keys_.size());
    slots_[i] = number;
    keys_.push_back(key);
    if (keys_.size() * 3 > slots_.size() * 2) enlarge();
    return number;
  }

  // The key's number, or -1.
  int32_t find(uint64_t key) const {
    for (size_t i = home(key); slots_[i] != kEmpty; i = (i + 1) & (slots_.size() - 1)) {
      if (keys_[slots_[i]] == key) return slots_[i];
    }
    return -1;
  }

  uint64_t key(int64_t number) const { return keys_[number]; }
  int64_t size() const { return static_cast<int64_t>(keys_.size()); }

 private:
  static constexpr int32_t kEmpty = -1;

  // Multiplication by 2^64 / golden ratio spreads consecutive keys; the top bits are the best mixed.
  size_t home(uint64_t key) const { return (key * 0x9E3779B97F4A7C15u) >> shift_; }

  void enlarge() {
    slots_.assign(2 * slots_.size(), kEmpty);
    --shift_;
    for (size_t n = 0; n < keys_.size(); ++n) {
      size_t i = home(keys_[n]);
      while (slots_[i] != kEmpty) i = (i + 1) & (slots_.size() - 1);
      slots_[i] = static_cast<int32_t>(n);
    }
  }

  std::vector<uint64_t> keys_;
  std::vector<int32_t> slots_;
  int shift_;
};

// Moves remember arcs by 32-bit numbers.
inline void check_arc_numbers(const FsaVecView& fsas, const Progress& progress) {
  if (fsas.num_arcs() <= std::numeric_limits<int32_t>::max()) return;
  throw LimitError(progress.operation() + ": an operand has " + std::to_string(fsas.num_arcs()) +
                   " arcs, more than 2**31 - 1; pass fewer FSAs at a time.");
}

// An arc between pairs, grouped by its source: where it goes, and what it was made of.
struct Move {
  int32_t dst, source, other;
};

// Pairs and moves in the order found (breadth first, so pairs are expanded in the order of their numbers).
class PairGraph {
 public:
  // The limits of `progress` hold for what `builder` has already and this graph together.
  PairGraph(Progress& progress, const FsaVecBuilder& builder)
      : progress_(progress), states_before_(builder.num_states()), arcs_before_(builder.num_arcs()) {}

  int32_t number(uint64_t key) { return table_.number(key); }
  int32_t find(uint64_t key) const { return table_.find(key); }
  uint64_t key(int64_t state) const { return table_.key(state); }
  int64_t num_states() const { return table_.size(); }

  // To be called for every state, in ascending order, before its moves are added.
  void begin_state() { splits_.push_back(static_cast<int64_t>(moves_.size())); }

  void add_move(uint64_t key, int32_t source, int32_t other) {
    const int32_t dst = table_.number(key);
    moves_.push_back({dst, source, other});
    progress_.grow(states_before_ + table_.size(), arcs_before_ + static_cast<int64_t>(moves_.size()));
  }

  // Writes the graph as one FSA: states in their order, the final one moved to the end.
  //   final_state: its number, or -1 if it was not found;
  //   connect: whether to leave out what does not reach it (everything has been reached from the start);
  //   label: called with a Move.
  // A graph without a successful path becomes the empty FSA with `connect`, else it gets a final state.
  template <class Label>
  void write(FsaVecBuilder& builder, int32_t final_state, bool connect, Label&& label) {
    splits_.push_back(static_cast<int64_t>(moves_.size()));
    if (connect && final_state < 0) return builder.end_empty_fsa();
    std::vector<int32_t> number = connect ? coaccessible(final_state) : std::vector<int32_t>(num_states(), 0);
    if (number[0] < 0) return builder.end_empty_fsa();
    int32_t count = 0;
    for (int64_t s = 0; s < num_states(); ++s) {
      if (number[s] >= 0 && s != final_state) number[s] = count++;
    }
    if (final_state >= 0) number[final_state] = FsaVecBuilder::kToFinal;
    reserve(builder, number, final_state, count);
    for (int64_t s = 0; s < num_states(); ++s) {
      if (number[s] < 0) continue;
      builder.begin_state();
      for (int64_t m = splits_[s]; m < splits_[s + 1]; ++m) {
        const Move& move = moves_[m];
        if (number[move.dst] < 0 && move.dst != final_state) continue;
        builder.add_arc(number[move.dst], label(move), move.source, move.other);
      }
    }
    builder.end_fsa();
  }

 private:
  // 0 for every state that reaches the final one, -1 for the others.
  std::vector<int32_t> coaccessible(int32_t final_state) {
    // Moves grouped by destination: origins[begin[s]] ... are the states with a move to s.
    std::vector<int32_t> begin(num_states() + 2, 0), origins(moves_.size());
    for (const Move& move : moves_) ++begin[move.dst + 2];
    for (int64_t s = 0; s < num_states(); ++s) begin[s + 2] += begin[s + 1];
    for (int64_t s = 0; s < num_states(); ++s) {
      for (int64_t m = splits_[s]; m < splits_[s + 1]; ++m) {
        origins[begin[moves_[m].dst + 1]++] = static_cast<int32_t>(s);
        progress_.step();
      }
    }
    std::vector<int32_t> mark(num_states(), -1), stack{final_state};
    mark[final_state] = 0;
    while (!stack.empty()) {
      const int32_t state = stack.back();
      stack.pop_back();
      for (int64_t i = begin[state]; i < begin[state + 1]; ++i) {
        progress_.step();
        if (mark[origins[i]] == 0) continue;
        mark[origins[i]] = 0;
        stack.push_back(origins[i]);
      }
    }
    return mark;
  }

  // Makes room once, where growing in steps would need up to three times the memory.
  void reserve(FsaVecBuilder& builder, const std::vector<int32_t>& number, int32_t final_state, int32_t count) {
    size_t arcs = builder.arcs.size();
    for (int64_t s = 0; s < num_states(); ++s) {
      if (number[s] < 0) continue;
      for (int64_t m = splits_[s]; m < splits_[s + 1]; ++m) {
        arcs += number[moves_[m].dst] >= 0 || moves_[m].dst == final_state;
      }
    }
    make_room(builder.arcs, arcs);
    for (auto& map : builder.maps) make_room(map, arcs);
    make_room(builder.state_splits, builder.state_splits.size() + count + 2);
  }

  // At least doubles what there is, so that many small FSAs do not copy each other again and again.
  template <class T>
  static void make_room(std::vector<T>& values, size_t size) {
    if (size > values.capacity()) values.reserve(std::max(size, 2 * values.capacity()));
  }

  Progress& progress_;
  int64_t states_before_, arcs_before_;
  KeyTable table_;
  std::vector<Move> moves_;
  std::vector<int64_t> splits_;
};

}  // namespace wfst_entropy

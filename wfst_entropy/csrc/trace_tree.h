// The tree of the paths that a subset construction follows: each node is a path from the start, and knows its last arc.
#pragma once

#include <cstdint>
#include <utility>
#include <vector>

namespace wfst_entropy {

class TraceTree {
  struct Entry {
    int64_t parent, jump;
    int64_t depth, arc;
    double weight;
    uint64_t hash;
    int64_t written;
  };

 public:
  using Node = int64_t;
  static constexpr int64_t kNodeBytes = sizeof(Entry);

  TraceTree() { nodes_.push_back({0, 0, 0, -1, 0, 0, 0}); }

  Node root() const { return 0; }

  // `symbol` is what the arc writes, 0 for nothing.
  Node add(Node parent, int64_t arc, double score, int64_t symbol) {
    const Entry& up = nodes_[parent];
    // The jump goes as far back as the parent's two jumps together if these are equally long: so every node is
    // O(log depth) jumps and steps away from any of its ancestors (Myers 1983, "An applicative random-access stack").
    const bool equal = up.depth - nodes_[up.jump].depth == nodes_[up.jump].depth - nodes_[nodes_[up.jump].jump].depth;
    Entry entry{parent, equal ? nodes_[up.jump].jump : parent, up.depth + 1, arc, up.weight + score, up.hash, up.written};
    if (symbol != 0) {
      entry.hash = up.hash * kBase + mixed(symbol);
      entry.written = up.written + 1;
    }
    nodes_.push_back(entry);
    return static_cast<Node>(nodes_.size()) - 1;
  }

  // The most recent path that both continue.
  Node common_ancestor(Node a, Node b) const {
    if (nodes_[a].depth < nodes_[b].depth) std::swap(a, b);
    while (nodes_[a].depth > nodes_[b].depth) {
      a = nodes_[nodes_[a].jump].depth >= nodes_[b].depth ? nodes_[a].jump : nodes_[a].parent;
    }
    while (a != b) {  // at equal depths jumps are equally long
      const bool far = nodes_[a].jump != nodes_[b].jump;
      a = far ? nodes_[a].jump : nodes_[a].parent;
      b = far ? nodes_[b].jump : nodes_[b].parent;
    }
    return a;
  }

  // The arcs from an ancestor to a node, in order.
  std::vector<int64_t> arcs(Node ancestor, Node node) const {
    std::vector<int64_t> path;
    for (; node != ancestor; node = nodes_[node].parent) path.push_back(nodes_[node].arc);
    return {path.rbegin(), path.rend()};
  }

  double weight(Node ancestor, Node node) const { return nodes_[node].weight - nodes_[ancestor].weight; }

  // What was written from an ancestor to a node: how much, and a hash of it.
  int64_t num_written(Node ancestor, Node node) const { return nodes_[node].written - nodes_[ancestor].written; }
  uint64_t hash_written(Node ancestor, Node node) const {
    return nodes_[node].hash - nodes_[ancestor].hash * power(num_written(ancestor, node));
  }

  // Forgets all nodes added after there were `size`.
  size_t size() const { return nodes_.size(); }
  void shrink(size_t size) { nodes_.resize(size); }

 private:
  static constexpr uint64_t kBase = 0x9E3779B97F4A7C15u;

  static uint64_t mixed(int64_t symbol) {
    auto x = static_cast<uint64_t>(symbol) * 0xBF58476D1CE4E5B9u;
    return x ^ (x >> 29);
  }

  static uint64_t power(int64_t exponent) {
    uint64_t result = 1;
    for (uint64_t factor = kBase; exponent > 0; exponent >>= 1, factor *= factor) {
      if (exponent & 1) result *= factor;
    }
    return result;
  }

  std::vector<Entry> nodes_;
};

}  // namespace wfst_entropy

#include "intersect_dense.h"

#include <algorithm>
#include <cmath>
#include <numeric>
#include <vector>

#include "loops.h"
#include "parallel.h"
#include "path_count.h"

namespace wfst_entropy {
namespace {

#define WFST_TARGET
#define WFST_VECTOR_BYTES 0
#include "cell.inl"
#undef WFST_TARGET
#undef WFST_VECTOR_BYTES

constexpr int64_t kCellSize = 3;  // values of T that one saved cell takes

template <class T>
struct Arc {
  int32_t src, dst;
  int32_t symbol;  // index into Graph::symbols; unused for a final arc
  int64_t number;  // within the graph
  Weight<T> weight;
};

// One graph, with arcs that have no mass left out.
template <class T>
struct Graph {
  Graph(const GraphVec<T>& graphs, int64_t g)
      : num_states(graphs.state_splits[g + 1] - graphs.state_splits[g]),
        first_arc(graphs.arc_splits[g]),
        num_arcs(graphs.arc_splits[g + 1] - first_arc) {
    const int32_t* table = graphs.arcs + 3 * first_arc;
    for (int64_t a = 0; a < num_arcs; ++a)
      if (table[3 * a + 2] >= 0) symbols.push_back(table[3 * a + 2]);
    std::sort(symbols.begin(), symbols.end());
    symbols.erase(std::unique(symbols.begin(), symbols.end()), symbols.end());
    for (int64_t a = 0; a < num_arcs; ++a) {
      const T score = graphs.scores[first_arc + a];
      if (!(score >= T(-kScoreLimit))) continue;
      const int32_t label = table[3 * a + 2];
      const auto symbol = std::lower_bound(symbols.begin(), symbols.end(), label) - symbols.begin();
      const Arc<T> arc{table[3 * a], table[3 * a + 1], static_cast<int32_t>(symbol), a, split_weight(score, T(0))};
      (label >= 0 ? emitting : final).push_back(arc);
    }
    by_dst = emitting;
    std::stable_sort(by_dst.begin(), by_dst.end(), [](const Arc<T>& a, const Arc<T>& b) { return a.dst < b.dst; });
  }

  int64_t num_states, first_arc, num_arcs;
  std::vector<int32_t> symbols;
  std::vector<Arc<T>> emitting;  // ordered by source
  std::vector<Arc<T>> by_dst;    // the same, ordered by destination
  std::vector<Arc<T>> final;     // ordered by source
};

// The emissions of one frame, one per symbol of the graph.
template <class T>
class Emissions {
 public:
  Emissions(const DenseVec<T>& dense, int64_t s, const std::vector<int32_t>& symbols)
      : scores_(dense.scores + dense.utterances[s] * dense.utterance_stride +
                dense.start_frames[s] * dense.frame_stride),
        frame_stride_(dense.frame_stride),
        symbols_(symbols),
        width_(std::max<int64_t>(kLanes, padded(static_cast<int64_t>(symbols.size())))),
        x_(width_, T(-2 * kScoreLimit)),
        m_(width_),
        ln_(width_),
        e_(width_) {}

  const T* row(int64_t t) const { return scores_ + t * frame_stride_; }
  bool read(int64_t t) { return loops<T>().gather(row(t), symbols_.data(), count(), x_.data()); }
  T split() { return loops<T>().split(width_, x_.data(), {m_.data(), e_.data(), ln_.data()}); }
  Weight<T> operator[](int32_t symbol) const { return {m_[symbol], e_[symbol], ln_[symbol]}; }

 private:
  int64_t count() const { return static_cast<int64_t>(symbols_.size()); }

  const T* scores_;
  const int64_t frame_stride_;
  const std::vector<int32_t>& symbols_;
  const int64_t width_;
  std::vector<T> x_, m_, ln_;
  std::vector<Int<T>> e_;
};

// A cell times the weights of an arc and of its emission, less the reference; M is not normalised.
template <class T>
Cell<T> extend(const Cell<T>& cell, const Weight<T>& arc, const Weight<T>& emission, const Reference<T>& reference) {
  const T m = arc.m * emission.m;
  return {cell.m * m, cell.e + arc.e + emission.e - reference.base,
          m * (cell.r - cell.m * (arc.ln + emission.ln + reference.offset))};
}

template <class T>
constexpr Weight<T> no_weight() {
  return {T(1), 0, T(0)};
}

template <class T>
Cell<T> merge(const std::vector<Cell<T>>& cells) {
  if (cells.empty()) return cell_zero<T>();
  Int<T> top = cells[0].e;
  for (const Cell<T>& c : cells) top = std::max(top, c.e);
  T m = 0, r = 0;
  for (const Cell<T>& c : cells) accumulate<true>(c.m, c.e, c.r, top, &m, &r);
  return normalise<T>(m, top, r);
}

template <class T>
Reference<T> heaviest(const Cell<T>* cells, int64_t n) {
  const Cell<T>* best = nullptr;
  for (const Cell<T>* c = cells; c != cells + n; ++c)
    if (c->m > T(0) && (best == nullptr || c->e > best->e)) best = c;
  return best == nullptr ? Reference<T>{0, T(0)} : Reference<T>{best->e, best->r / best->m};
}

// Paths of non-zero mass, counted up to two.
template <class T>
PathCount count_paths(const Graph<T>& graph, const Emissions<T>& emissions, int64_t num_frames) {
  std::vector<uint8_t> now(graph.num_states, 0), next(graph.num_states);
  if (graph.num_states > 0) now[0] = 1;
  for (int64_t t = 0; t < num_frames; ++t) {
    const T* row = emissions.row(t);
    std::fill(next.begin(), next.end(), 0);
    for (const Arc<T>& arc : graph.emitting)
      if (row[graph.symbols[arc.symbol]] >= T(-kScoreLimit)) next[arc.dst] = add_counts(next[arc.dst], now[arc.src]);
    now.swap(next);
  }
  int count = 0;
  for (const Arc<T>& arc : graph.final) count = add_counts(count, now[arc.src]);
  return static_cast<PathCount>(count);
}

// alpha(t + 1) from alpha(t).
template <class T>
void step_forward(const Graph<T>& graph, const Emissions<T>& emissions, const Reference<T>& reference,
                  const Cell<T>* from, Cell<T>* to, std::vector<Cell<T>>& incoming) {
  auto arc = graph.by_dst.begin();
  for (int64_t s = 0; s < graph.num_states; ++s) {
    incoming.clear();
    for (; arc != graph.by_dst.end() && arc->dst == s; ++arc) {
      if (from[arc->src].m == T(0)) continue;
      const Cell<T> c = extend(from[arc->src], arc->weight, emissions[arc->symbol], reference);
      if (c.m > T(0)) incoming.push_back(c);
    }
    to[s] = merge(incoming);
  }
}

struct Total {
  double nll = INFINITY;
  double entropy = 0;
  PathCount count = kNoPath;
};

template <class T>
Total forward_sequence(const Graph<T>& graph, Emissions<T>& emissions, int64_t num_frames, Cell<T>* cells, bool saved,
                       int64_t* bad_frame, int64_t* bad_symbol) {
  const int64_t S = graph.num_states;
  if (S == 0) return {};
  std::vector<Cell<T>> incoming;
  Cell<T>* last = cells;
  std::fill(last, last + S, cell_zero<T>());
  last[0] = cell_one<T>();
  double log_scale = 0, offset = 0;
  for (int64_t t = 0; t < num_frames; ++t) {
    if (!emissions.read(t)) {
      const T* row = emissions.row(t);
      *bad_frame = t;
      *bad_symbol = *std::find_if(graph.symbols.begin(), graph.symbols.end(),
                                  [row](int32_t symbol) { return !(row[symbol] <= T(kScoreLimit)); });
      return {};
    }
    const Reference<T> reference = heaviest(last, S);
    log_scale += emissions.split() + reference.base * kLn2;
    offset += reference.offset;
    Cell<T>* next = cells + (saved ? t + 1 : (t + 1) % 2) * S;
    step_forward(graph, emissions, reference, last, next, incoming);
    last = next;
  }
  incoming.clear();
  for (const Arc<T>& arc : graph.final)
    if (last[arc.src].m > T(0)) incoming.push_back(extend(last[arc.src], arc.weight, no_weight<T>(), Reference<T>{0, T(0)}));
  const Cell<T> end = merge(incoming);
  if (end.m == T(0)) return {};
  const double log_m = std::log(static_cast<double>(end.m));
  Total result;
  result.nll = -(log_scale + static_cast<double>(end.e) * kLn2 + log_m);
  result.entropy = std::max(0.0, static_cast<double>(end.r) / static_cast<double>(end.m) + log_m + offset);
  result.count = kManyPaths;
  if (result.entropy < small_entropy(num_frames)) {
    result.count = count_paths(graph, emissions, num_frames);
    if (result.count == kOnePath) result.entropy = 0;
  }
  return result;
}

// The products of forward and backward cells over the arcs that one path can take only one of (those of one frame, or
// the final ones), turned into gradients. Their posteriors are made to sum to one, and the surprisals are centred.
template <class T>
class Slice {
 public:
  void clear() {
    arcs_.clear();
    products_.clear();
  }

  void add(const Arc<T>& arc, const Cell<T>& forward, const Cell<T>& onward) {
    arcs_.push_back(&arc);
    products_.push_back({forward.m * onward.m, forward.e + onward.e, forward.r * onward.m + forward.m * onward.r});
  }

  template <class Write>
  void finish(double grad_nll, double grad_entropy, const Write& write) {
    if (products_.empty()) return;
    Int<T> top = products_[0].e;
    for (const Cell<T>& c : products_) top = std::max(top, c.e);
    double mass = 0, moment = 0;
    for (Cell<T>& c : products_) {
      const T f = pow2<T>(c.e - top);
      c.r = f * (c.r + c.m * (T(top - c.e) * T(kLn2)));
      c.m *= f;
      mass += c.m;
      moment += c.r;
    }
    if (!(mass > 0)) return;
    const T by_r = T(grad_entropy / mass);
    const T by_m = T(-(grad_nll + grad_entropy * moment / mass) / mass);
    for (size_t i = 0; i < products_.size(); ++i) write(*arcs_[i], by_r * products_[i].r + by_m * products_[i].m);
  }

 private:
  std::vector<const Arc<T>*> arcs_;
  std::vector<Cell<T>> products_;
};

template <class T>
void backward_sequence(const Graph<T>& graph, Emissions<T>& emissions, int64_t num_frames, const Cell<T>* cells,
                       double grad_nll, double grad_entropy, int64_t num_symbols, T* grad_dense, double* grad_arcs) {
  const int64_t S = graph.num_states;
  std::vector<Cell<T>> now(S, cell_zero<T>()), next(S), outgoing;
  Slice<T> slice;
  const Cell<T>* forward = cells + num_frames * S;
  for (size_t i = 0; i < graph.final.size();) {
    const int32_t src = graph.final[i].src;
    outgoing.clear();
    for (; i < graph.final.size() && graph.final[i].src == src; ++i) {
      outgoing.push_back(extend(cell_one<T>(), graph.final[i].weight, no_weight<T>(), Reference<T>{0, T(0)}));
      if (forward[src].m > T(0)) slice.add(graph.final[i], forward[src], outgoing.back());
    }
    now[src] = merge(outgoing);
  }
  const auto to_graph = [grad_arcs](const Arc<T>& arc, T value) { grad_arcs[arc.number] += value; };
  slice.finish(grad_nll, grad_entropy, to_graph);
  for (int64_t t = num_frames - 1; t >= 0; --t) {
    emissions.read(t);
    emissions.split();
    const Reference<T> reference = heaviest(now.data(), S);
    forward = cells + t * S;
    slice.clear();
    std::fill(next.begin(), next.end(), cell_zero<T>());
    for (size_t i = 0; i < graph.emitting.size();) {
      const int32_t src = graph.emitting[i].src;
      outgoing.clear();
      for (; i < graph.emitting.size() && graph.emitting[i].src == src; ++i) {
        const Arc<T>& arc = graph.emitting[i];
        if (forward[src].m == T(0) || now[arc.dst].m == T(0)) continue;
        const Cell<T> c = extend(now[arc.dst], arc.weight, emissions[arc.symbol], reference);
        if (c.m == T(0)) continue;
        outgoing.push_back(c);
        slice.add(arc, forward[src], c);
      }
      next[src] = merge(outgoing);
    }
    T* row = grad_dense + t * num_symbols;
    slice.finish(grad_nll, grad_entropy, [&](const Arc<T>& arc, T value) {
      row[graph.symbols[arc.symbol]] += value;
      grad_arcs[arc.number] += value;
    });
    now.swap(next);
  }
}

// Calls body(sequence, graph); a graph shared by all sequences is prepared once. Sequences of one utterance, whose
// frames may overlap, are handled by one thread.
template <class T, class Body>
void for_each_sequence(const GraphVec<T>& graphs, const DenseVec<T>& dense, const Body& body) {
  std::vector<int64_t> order(dense.num_sequences), begins;
  std::iota(order.begin(), order.end(), int64_t{0});
  std::stable_sort(order.begin(), order.end(),
                   [&](int64_t a, int64_t b) { return dense.utterances[a] < dense.utterances[b]; });
  for (int64_t i = 0; i < dense.num_sequences; ++i)
    if (i == 0 || dense.utterances[order[i]] != dense.utterances[order[i - 1]]) begins.push_back(i);
  const int64_t num_groups = static_cast<int64_t>(begins.size());
  begins.push_back(dense.num_sequences);
  std::vector<Graph<T>> shared;
  if (graphs.num_graphs == 1) shared.emplace_back(graphs, 0);
  parallel_for(num_groups, dense.num_threads, [&](int64_t group) {
    for (int64_t i = begins[group]; i < begins[group + 1]; ++i) {
      if (!shared.empty())
        body(order[i], shared[0]);
      else
        body(order[i], Graph<T>(graphs, order[i]));
    }
  });
}

}  // namespace

int64_t intersect_dense_workspace(int64_t num_sequences, int64_t num_graphs, const int64_t* state_splits,
                                  const int64_t* lengths, int64_t* cell_offsets) {
  int64_t total = 0;
  for (int64_t s = 0; s < num_sequences; ++s) {
    const int64_t g = num_graphs == 1 ? 0 : s;
    cell_offsets[s] = total;
    total += (lengths[s] + 1) * (state_splits[g + 1] - state_splits[g]) * kCellSize;
  }
  return total;
}

template <class T>
void intersect_dense_forward(const GraphVec<T>& graphs, const DenseVec<T>& dense, T* cells,
                             const int64_t* cell_offsets, double* nll, double* entropy, uint8_t* path_count,
                             int64_t* bad_frame, int64_t* bad_symbol) {
  static_assert(sizeof(Cell<T>) == kCellSize * sizeof(T), "saved cells are counted in values");
  for_each_sequence(graphs, dense, [&](int64_t s, const Graph<T>& graph) {
    bad_frame[s] = bad_symbol[s] = -1;
    Emissions<T> emissions(dense, s, graph.symbols);
    std::vector<Cell<T>> pair;
    if (cells == nullptr) pair.resize(2 * graph.num_states);
    Cell<T>* memory = cells == nullptr ? pair.data() : reinterpret_cast<Cell<T>*>(cells + cell_offsets[s]);
    const Total result =
        forward_sequence(graph, emissions, dense.lengths[s], memory, cells != nullptr, &bad_frame[s], &bad_symbol[s]);
    nll[s] = result.nll;
    entropy[s] = result.entropy;
    path_count[s] = result.count;
  });
}

template <class T>
void intersect_dense_backward(const GraphVec<T>& graphs, const DenseVec<T>& dense, const T* cells,
                              const int64_t* cell_offsets, const uint8_t* path_count, const double* grad_nll,
                              const double* grad_entropy, int64_t num_frames, int64_t num_symbols, T* grad_dense,
                              T* grad_graph) {
  for_each_sequence(graphs, dense, [&](int64_t s, const Graph<T>& graph) {
    std::vector<double> grad_arcs(graph.num_arcs, 0.0);
    if (path_count[s] != kNoPath) {
      Emissions<T> emissions(dense, s, graph.symbols);
      const int64_t first_row = dense.utterances[s] * num_frames + dense.start_frames[s];
      backward_sequence(graph, emissions, dense.lengths[s], reinterpret_cast<const Cell<T>*>(cells + cell_offsets[s]),
                        grad_nll[s], path_count[s] == kManyPaths ? grad_entropy[s] : 0.0, num_symbols,
                        grad_dense + first_row * num_symbols, grad_arcs.data());
    }
    if (grad_graph == nullptr) return;
    T* to = grad_graph + (graphs.num_graphs == 1 ? s * graph.num_arcs : graph.first_arc);
    std::copy(grad_arcs.begin(), grad_arcs.end(), to);
  });
}

template void intersect_dense_forward(const GraphVec<float>&, const DenseVec<float>&, float*, const int64_t*, double*,
                                      double*, uint8_t*, int64_t*, int64_t*);
template void intersect_dense_forward(const GraphVec<double>&, const DenseVec<double>&, double*, const int64_t*,
                                      double*, double*, uint8_t*, int64_t*, int64_t*);
template void intersect_dense_backward(const GraphVec<float>&, const DenseVec<float>&, const float*, const int64_t*,
                                       const uint8_t*, const double*, const double*, int64_t, int64_t, float*, float*);
template void intersect_dense_backward(const GraphVec<double>&, const DenseVec<double>&, const double*,
                                       const int64_t*, const uint8_t*, const double*, const double*, int64_t, int64_t,
                                       double*, double*);

}  // namespace wfst_entropy

#include "dense_graph.h"

#include <algorithm>
#include <numeric>
#include <optional>

#include "parallel.h"

namespace wfst_entropy {
namespace {

#define WFST_TARGET
#define WFST_VECTOR_BYTES 0
#include "cell.inl"
#undef WFST_TARGET
#undef WFST_VECTOR_BYTES

// What a weighted row reads: arcs of one state, and of one label where `symbol` tells them apart.
template <class T>
struct Read {
  int32_t state;
  int32_t symbol;
  int32_t index;    // the state read (forward) or the row read (backward)
  int64_t arc;      // number of the arc within the graph
  int64_t emitting; // position of the arc among the emitting ones
  Weight<T> weight;
};

// A row before it has its place: reads [begin, end) of one state; the state is -1 for the row that has none and stays
// without mass for good.
struct Row {
  int32_t state;
  int64_t begin, end;
};

template <class T>
class RowBuilder {
 public:
  // Reads are ordered by state and symbol.
  RowBuilder(int64_t num_states, const std::vector<Read<T>>& reads) : reads_(reads) {
    size_t i = 0;
    for (int32_t state = 0; state < num_states; ++state) {
      const size_t first = i;
      while (i < reads.size() && reads[i].state == state) {
        const size_t begin = i;
        while (i < reads.size() && reads[i].state == state && reads[i].symbol == reads[begin].symbol &&
               i - begin < kRowLimit)
          ++i;
        rows_.push_back({state, static_cast<int64_t>(begin), static_cast<int64_t>(i)});
      }
      if (i == first) rows_.push_back({state, 0, 0});
    }
    rows_.push_back({-1, 0, 0});
    order(rows_);
    rows_out_.row_of_state.assign(num_states, -1);
    empty_row_ = static_cast<int32_t>(
        std::find_if(rows_.begin(), rows_.end(), [](const Row& row) { return row.state < 0; }) - rows_.begin());
  }

  const std::vector<Row>& weighted_rows() const { return rows_; }
  int32_t empty_row() const { return empty_row_; }

  // Where the forward cell of a state stands before reads can be told: every state's row, after all merging.
  std::vector<int32_t> place() {
    std::vector<std::pair<int32_t, int32_t>> parts;  // state, row
    for (size_t i = 0; i < rows_.size(); ++i)
      if (rows_[i].state >= 0) parts.push_back({rows_[i].state, static_cast<int32_t>(i)});
    int64_t width = padded(static_cast<int64_t>(rows_.size()));
    for (;;) {
      std::stable_sort(parts.begin(), parts.end(), [](auto a, auto b) { return a.first < b.first; });
      Level level;
      for (size_t i = 0; i < parts.size();) {
        const size_t first = i;
        while (i < parts.size() && parts[i].first == parts[first].first) ++i;
        if (i - first == 1) {
          rows_out_.row_of_state[parts[first].first] = parts[first].second;
          continue;
        }
        for (size_t begin = first; begin < i; begin += kRowLimit)
          level.rows.push_back({parts[first].first, static_cast<int64_t>(begin),
                                static_cast<int64_t>(std::min(i, begin + kRowLimit))});
      }
      if (level.rows.empty()) return rows_out_.row_of_state;
      order(level.rows);
      for (const auto& part : parts) level.index.push_back(part.second);
      parts.clear();
      for (size_t i = 0; i < level.rows.size(); ++i)
        parts.push_back({level.rows[i].state, static_cast<int32_t>(width + static_cast<int64_t>(i))});
      width += padded(static_cast<int64_t>(level.rows.size()));
      levels_.push_back(std::move(level));
    }
  }

  // Lays out the reads; `position` maps Read::index to where it stands in the frame that weighted rows read, and
  // nothing_read is a position of that frame without mass.
  template <class Position>
  Rows<T> build(const Position& position, int32_t nothing_read, std::vector<int64_t>* arc_of_read) {
    lay_out(rows_, [&](int64_t i) {
      if (i < 0) {
        put(nothing_read, {T(1), 0, T(0)});
      } else {
        put(position(reads_[i].index), reads_[i].weight);
      }
      if (arc_of_read != nullptr) arc_of_read->push_back(i < 0 ? -1 : reads_[i].arc);
    });
    rows_out_.num_weighted = static_cast<int64_t>(rows_out_.begins.size()) - 1;
    for (const Level& level : levels_)
      lay_out(level.rows, [&](int64_t i) { rows_out_.index.push_back(i < 0 ? empty_row_ : level.index[i]); });
    return std::move(rows_out_);
  }

 private:
  struct Level {
    std::vector<Row> rows;
    std::vector<int32_t> index;  // what its reads read
  };

  // Longest rows first: a chunk has as many slots as its first row has reads.
  static void order(std::vector<Row>& rows) {
    std::stable_sort(rows.begin(), rows.end(),
                     [](const Row& a, const Row& b) { return a.end - a.begin > b.end - b.begin; });
  }

  void put(int32_t index, const Weight<T>& weight) {
    rows_out_.index.push_back(index);
    rows_out_.m.push_back(weight.m);
    rows_out_.e.push_back(weight.e);
    rows_out_.ln.push_back(weight.ln);
  }

  // Calls add(number of the read, or -1) for every slot and lane.
  template <class Add>
  void lay_out(const std::vector<Row>& rows, const Add& add) {
    const int64_t num_rows = static_cast<int64_t>(rows.size());
    for (int64_t chunk = 0; chunk < num_rows; chunk += kLanes) {
      const int64_t num_slots = rows[chunk].end - rows[chunk].begin;
      for (int64_t k = 0; k < num_slots; ++k) {
        for (int64_t i = chunk; i < chunk + kLanes; ++i)
          add(i < num_rows && rows[i].begin + k < rows[i].end ? rows[i].begin + k : -1);
      }
      rows_out_.begins.push_back(rows_out_.begins.back() + num_slots);
    }
  }

  const std::vector<Read<T>>& reads_;
  std::vector<Row> rows_;
  std::vector<Level> levels_;
  Rows<T> rows_out_;
  int32_t empty_row_;
};

template <class T>
Weight<T> weight_of(T score) {
  const auto w = split_weight<double>(score, 0.0);
  return {static_cast<T>(w.m), static_cast<Int<T>>(w.e), static_cast<T>(w.ln)};
}

}  // namespace

template <class T>
RowTable<T> Rows<T>::table() const {
  return {static_cast<int64_t>(begins.size()) - 1, num_weighted, begins.data(), index.data(), m.data(), e.data(),
          ln.data()};
}

template <class T>
DenseGraph<T>::DenseGraph(const GraphVec<T>& graphs, int64_t g)
    : num_states(graphs.state_splits[g + 1] - graphs.state_splits[g]),
      first_arc(graphs.arc_splits[g]),
      num_arcs(graphs.arc_splits[g + 1] - first_arc) {
  const int32_t* table = graphs.arcs + 3 * first_arc;
  for (int64_t a = 0; a < num_arcs; ++a)
    if (table[3 * a + 2] >= 0) symbols.push_back(table[3 * a + 2]);
  std::sort(symbols.begin(), symbols.end());
  symbols.erase(std::unique(symbols.begin(), symbols.end()), symbols.end());
  std::vector<Read<T>> by_src;
  for (int64_t a = 0; a < num_arcs; ++a) {
    const T score = graphs.scores[first_arc + a];
    if (!(score >= T(-kScoreLimit))) continue;
    const int32_t src = table[3 * a], dst = table[3 * a + 1], label = table[3 * a + 2];
    if (label < 0) {
      final.push_back({src, a, weight_of(score)});
      continue;
    }
    const auto symbol = static_cast<int32_t>(std::lower_bound(symbols.begin(), symbols.end(), label) - symbols.begin());
    by_src.push_back({src, 0, 0, a, static_cast<int64_t>(emitting.size()), weight_of(score)});
    emitting.push_back({src, dst, symbol});
  }
  std::vector<Read<T>> by_dst = by_src;
  for (Read<T>& read : by_dst) {
    const EmittingArc& arc = emitting[read.emitting];
    read.state = arc.dst;
    read.symbol = arc.symbol;
    read.index = arc.src;
  }
  std::stable_sort(by_dst.begin(), by_dst.end(), [](const Read<T>& a, const Read<T>& b) {
    return a.state != b.state ? a.state < b.state : a.symbol < b.symbol;
  });

  RowBuilder<T> forward_rows(num_states, by_dst);
  const std::vector<Row>& rows = forward_rows.weighted_rows();
  for (size_t i = 0; i < rows.size(); ++i)
    for (int64_t k = rows[i].begin; k < rows[i].end; ++k) by_src[by_dst[k].emitting].index = static_cast<int32_t>(i);
  RowBuilder<T> backward_rows(num_states, by_src);

  const std::vector<int32_t> forward_row = forward_rows.place(), backward_row = backward_rows.place();
  const int64_t num_weighted = padded(static_cast<int64_t>(rows.size()));
  const int32_t num_symbols = static_cast<int32_t>(symbols.size());
  symbol_of_row.assign(num_weighted, num_symbols);
  dst_of_row.assign(num_weighted, backward_rows.empty_row());
  for (size_t i = 0; i < rows.size(); ++i) {
    if (rows[i].end > rows[i].begin) symbol_of_row[i] = by_dst[rows[i].begin].symbol;
    if (rows[i].state >= 0) dst_of_row[i] = backward_row[rows[i].state];
  }
  symbol_splits.assign(symbols.size() + 1, 0);
  for (const int32_t symbol : symbol_of_row)
    if (symbol < num_symbols) ++symbol_splits[symbol + 1];
  std::partial_sum(symbol_splits.begin(), symbol_splits.end(), symbol_splits.begin());
  rows_of_symbol.resize(symbol_splits.back());
  std::vector<int64_t> next(symbol_splits.begin(), symbol_splits.end() - 1);
  for (int64_t i = 0; i < num_weighted; ++i)
    if (symbol_of_row[i] < num_symbols) rows_of_symbol[next[symbol_of_row[i]]++] = static_cast<int32_t>(i);
  const std::vector<Row>& leaving = backward_rows.weighted_rows();
  src_of_row.assign(padded(static_cast<int64_t>(leaving.size())), forward_rows.empty_row());
  for (size_t i = 0; i < leaving.size(); ++i)
    if (leaving[i].state >= 0) src_of_row[i] = forward_row[leaving[i].state];
  forward = forward_rows.build([&](int32_t state) { return forward_row[state]; }, forward_rows.empty_row(), nullptr);
  backward = backward_rows.build([](int32_t row) { return row; }, forward_rows.empty_row(), &arc_of_read);
}

template <class T>
std::vector<DenseGraph<T>> dense_graphs(const GraphVec<T>& graphs, int num_threads) {
  std::vector<std::optional<DenseGraph<T>>> made(graphs.num_graphs);
  parallel_for(graphs.num_graphs, num_threads, [&](int64_t g) { made[g].emplace(graphs, g); });
  std::vector<DenseGraph<T>> result;
  result.reserve(made.size());
  for (auto& graph : made) result.push_back(std::move(*graph));
  return result;
}

template struct Rows<float>;
template struct Rows<double>;
template struct DenseGraph<float>;
template struct DenseGraph<double>;
template std::vector<DenseGraph<float>> dense_graphs(const GraphVec<float>&, int);
template std::vector<DenseGraph<double>> dense_graphs(const GraphVec<double>&, int);

}  // namespace wfst_entropy

// What is kept of a lattice while its search goes on, and the lattice at the end.
#include "lattice_slices.h"

#include <cmath>
#include <map>
#include <numeric>

namespace wfst_entropy {
namespace {

using Slices = std::vector<std::shared_ptr<Slice>>;

constexpr float kInfinite = std::numeric_limits<float>::infinity();

// The cost of each token from the costs that emitting links lead to, `cost` being that of ending there.
void add_costs(const Slice& slice, const std::vector<float>& next, std::vector<float>& cost) {
  for (const Link& link : slice.emitting) cost[link.src] = std::min(cost[link.src], link.slack + next[link.dst]);
  for (size_t i = slice.silent.size(); i-- > 0;) {
    const Link& link = slice.silent[i];
    cost[link.src] = std::min(cost[link.src], link.slack + cost[link.dst]);
  }
}

// Gives memory back, too, where it is worth it.
template <class T>
void shrink(std::vector<T>& values, size_t size) {
  values.resize(size);
  if (2 * size < values.capacity()) values.shrink_to_fit();
}

// Forgets the links beyond the beam and renumbers their ends.
void keep_links(std::vector<Link>& links, std::vector<float>* read, const std::vector<float>& dst_cost,
                const std::vector<int32_t>& src_number, const std::vector<int32_t>& dst_number, float beam) {
  size_t kept = 0;
  for (size_t i = 0; i < links.size(); ++i) {
    const Link link = links[i];
    if (!(link.slack + dst_cost[link.dst] <= beam)) continue;
    if (read != nullptr) (*read)[kept] = (*read)[i];
    links[kept++] = {src_number[link.src], dst_number[link.dst], link.move, link.slack};
  }
  shrink(links, kept);
  if (read != nullptr) shrink(*read, kept);
}

// Numbers the tokens within the beam, and returns whether that is all of them.
bool number_kept(const std::vector<float>& cost, float beam, std::vector<int32_t>& number) {
  int32_t count = 0;
  number.assign(cost.size(), -1);
  for (size_t i = 0; i < cost.size(); ++i)
    if (cost[i] <= beam) number[i] = count++;
  return count == static_cast<int32_t>(cost.size());
}

void forget_tokens(Slice& slice, const std::vector<int32_t>& number) {
  size_t kept = 0;
  for (size_t i = 0; i < number.size(); ++i) {
    if (number[i] < 0) continue;
    slice.states[kept] = slice.states[i];
    if (!slice.rows.empty()) slice.rows[kept] = slice.rows[i];
    if (!slice.scores.empty()) slice.scores[kept] = slice.scores[i];
    slice.cost[kept++] = slice.cost[i];
  }
  shrink(slice.states, kept);
  shrink(slice.cost, kept);
  if (!slice.rows.empty()) shrink(slice.rows, kept);
  if (!slice.scores.empty()) shrink(slice.scores, kept);
}

// Writes a lattice, time by time.
class Writer {
 public:
  Writer(const SearchGraph& graph, const Slices& slices, bool with_scores, bool ordered, float beam, int32_t epsilon)
      : graph_(graph),
        slices_(slices),
        with_scores_(with_scores),
        ordered_(ordered),
        beam_(beam),
        epsilon_(epsilon),
        has_rows_(!slices.front()->rows.empty()),
        cost_(slices.size()),
        number_(slices.size()) {}

  FoundFsa write(const Ending& ending) {
    found_.partial = ending.partial;
    find_costs(ending);
    for (size_t t = 0; t < slices_.size(); ++t) number_tokens(t);
    if (num_states_ == 0) return std::move(found_);
    for (size_t t = 0; t < slices_.size(); ++t) write_slice(t, ending);
    found_.splits.push_back(static_cast<int64_t>(found_.arcs.size()));  // the final state
    return std::move(found_);
  }

 private:
  void find_costs(const Ending& ending) {
    static const std::vector<float> none;
    for (size_t t = 0; t < slices_.size(); ++t) cost_[t].assign(slices_[t]->states.size(), kInfinite);
    for (const auto& arc : ending.arcs) cost_.back()[arc.token] = std::min(cost_.back()[arc.token], arc.slack);
    for (size_t t = slices_.size(); t-- > 0;) {
      add_costs(*slices_[t], t + 1 < cost_.size() ? cost_[t + 1] : none, cost_[t]);
    }
  }

  // In topological order, which does not depend on how the search came across them.
  void number_tokens(size_t t) {
    order_.clear();
    number_[t].assign(slices_[t]->states.size(), -1);
    for (size_t i = 0; i < number_[t].size(); ++i)
      if (cost_[t][i] <= beam_) order_.push_back(static_cast<int32_t>(i));
    if (!ordered_)
      std::sort(order_.begin(), order_.end(), [&](int32_t a, int32_t b) { return key(t, a) < key(t, b); });
    for (const int32_t i : order_) number_[t][i] = num_states_++;
  }

  std::pair<int32_t, int32_t> key(size_t t, int32_t i) const {
    const int32_t id = slices_[t]->states[i];
    if (graph_.level.empty()) return {0, id};
    return {graph_.level[graph_.topology == Topology::kNone ? id : graph_.nodes[id].state], id};
  }

  void write_slice(size_t t, const Ending& ending) {
    const Slice& slice = *slices_[t];
    const int32_t first = static_cast<int32_t>(found_.splits.size());
    int32_t end = first;
    for (const int32_t number : number_[t]) end = std::max(end, number + 1);
    std::vector<int64_t> next(end - first + 1, 0);
    const auto each = [&](const auto& body) {
      for (size_t i = 0; i < slice.emitting.size(); ++i) {
        const Link& link = slice.emitting[i];
        if (link.slack + cost_[t + 1][link.dst] <= beam_) body(link, number_[t + 1][link.dst], static_cast<int64_t>(i));
      }
      for (const Link& link : slice.silent)
        if (link.slack + cost_[t][link.dst] <= beam_) body(link, number_[t][link.dst], int64_t{-1});
      if (t + 1 < slices_.size()) return;
      for (const auto& arc : ending.arcs)
        if (arc.slack <= beam_) body(Link{arc.token, 0, arc.arc, 0}, kFinal, int64_t{-1});
    };
    each([&](const Link& link, int32_t, int64_t) { ++next[number_[t][link.src] - first + 1]; });
    next[0] = static_cast<int64_t>(found_.arcs.size());
    std::partial_sum(next.begin(), next.end(), next.begin());
    found_.splits.insert(found_.splits.end(), next.begin(), next.end() - 1);
    resize(next.back());
    each([&](const Link& link, int32_t dst, int64_t i) {
      const int32_t src = number_[t][link.src];
      const float read = with_scores_ && i >= 0 ? slice.read[i] : 0.0f;
      const int64_t place = next[src - first]++;
      put(place, src, dst, link.move, static_cast<int32_t>(t), read);
      if (has_rows_) found_.rows[place] = i >= 0 ? slice.rows[link.src] : -1;
    });
  }

  void resize(int64_t num_arcs) {
    found_.arcs.resize(num_arcs);
    found_.source.resize(num_arcs);
    found_.frames.resize(num_arcs);
    if (with_scores_) found_.read.resize(num_arcs);
    if (has_rows_) found_.rows.resize(num_arcs);
  }

  void put(int64_t place, int32_t src, int32_t dst, int32_t move, int32_t frame, float score) {
    const bool final_arc = dst == kFinal;
    int32_t label = final_arc ? kFinalLabel : label_of_move(graph_, move);
    if (label == kNoFrame) label = epsilon_;
    found_.arcs[place] = {src, final_arc ? num_states_ : dst, label};
    found_.source[place] = move < 0 ? -1 : graph_.source[move];
    found_.frames[place] = frame;
    if (with_scores_) found_.read[place] = score;
  }

  static constexpr int32_t kFinal = -1;

  const SearchGraph& graph_;
  const Slices& slices_;
  const bool with_scores_, ordered_;
  const float beam_;
  const int32_t epsilon_;
  const bool has_rows_;
  std::vector<std::vector<float>> cost_;
  std::vector<std::vector<int32_t>> number_;
  std::vector<int32_t> order_;
  int32_t num_states_ = 0;
  FoundFsa found_;
};

// The masses of paths to the tokens of one time: of all, and of those that have read so many of some labels.
struct Masses {
  std::vector<double> all;
  std::vector<std::map<int32_t, double>> of_prefix;

  explicit Masses(size_t n) : all(n, 0.0), of_prefix(n) {}

  // `label`: 0 for none.
  void flow(const Masses& from, const Link& link, int32_t label, const std::vector<int32_t>& labels) {
    const double factor = std::exp(-double{link.slack});
    all[link.dst] += factor * from.all[link.src];
    for (const auto& [length, mass] : from.of_prefix[link.src]) {
      if (label == 0)
        of_prefix[link.dst][length] += factor * mass;
      else if (length < static_cast<int32_t>(labels.size()) && labels[length] == label)
        of_prefix[link.dst][length + 1] += factor * mass;
    }
  }

  // Only ratios matter, and sums over many paths would outgrow double.
  void rescale() {
    const double largest = all.empty() ? 0.0 : *std::max_element(all.begin(), all.end());
    if (!(largest > 0)) return;
    for (double& mass : all) mass /= largest;
    for (auto& masses : of_prefix)
      for (auto& entry : masses) entry.second /= largest;
  }
};

}  // namespace

double LatticeSlices::posterior(const SearchGraph& graph, const Ending& ending,
                                const std::vector<int32_t>& labels) const {
  Masses masses(slices_.front()->states.size());
  if (masses.all.empty()) return 0;
  masses.all[0] = masses.of_prefix[0][0] = 1;
  for (size_t t = 0; t < slices_.size(); ++t) {
    for (const Link& link : slices_[t]->silent) masses.flow(masses, link, 0, labels);
    if (t + 1 == slices_.size()) break;
    Masses next(slices_[t + 1]->states.size());
    for (const Link& link : slices_[t]->emitting) next.flow(masses, link, label_of_move(graph, link.move), labels);
    next.rescale();
    masses = std::move(next);
  }
  double all = 0, same = 0;
  for (const auto& arc : ending.arcs) {
    const double factor = std::exp(-double{arc.slack});
    all += factor * masses.all[arc.token];
    const auto found = masses.of_prefix[arc.token].find(static_cast<int32_t>(labels.size()));
    if (found != masses.of_prefix[arc.token].end()) same += factor * found->second;
  }
  return all > 0 ? same / all : 0;
}

void LatticeSlices::add(Slice slice) {
  count(slice, +1);
  slices_.push_back(std::make_shared<Slice>(std::move(slice)));
}

void LatticeSlices::emit(std::vector<Link> links, std::vector<float> read) {
  Slice& slice = own(slices_.size() - 1);
  num_links_ += static_cast<int64_t>(links.size());
  slice.emitting = std::move(links);
  slice.read = std::move(read);
}

Slice& LatticeSlices::own(size_t t) {
  if (slices_[t].use_count() > 1) slices_[t] = std::make_shared<Slice>(*slices_[t]);
  return *slices_[t];
}

void LatticeSlices::count(const Slice& slice, int sign) {
  num_states_ += sign * static_cast<int64_t>(slice.states.size());
  num_links_ += sign * static_cast<int64_t>(slice.emitting.size() + slice.silent.size());
}

void LatticeSlices::prune(float output_beam) {
  std::vector<float> next_cost(slices_.back()->states.size(), 0.0f);
  std::vector<int32_t> number, next_number(next_cost.size());
  std::iota(next_number.begin(), next_number.end(), 0);
  for (size_t t = slices_.size() - 1; t-- > 0;) {
    Slice& slice = own(t);
    std::vector<float> cost(slice.states.size(), kInfinite);
    add_costs(slice, next_cost, cost);
    const bool all_kept = number_kept(cost, output_beam, number);
    const bool same = all_kept && cost == slice.cost;
    count(slice, -1);
    keep_links(slice.emitting, keep_scores_ ? &slice.read : nullptr, next_cost, number, next_number, output_beam);
    keep_links(slice.silent, nullptr, cost, number, number, output_beam);
    slice.cost = cost;
    forget_tokens(slice, number);
    count(slice, +1);
    if (same) return;
    next_cost = std::move(cost);
    next_number = number;
  }
}

FoundFsa LatticeSlices::lattice(const SearchGraph& graph, size_t num_slices, const Ending& ending, float beam,
                                int32_t epsilon) const {
  Slices slices(slices_.begin(), slices_.begin() + static_cast<std::ptrdiff_t>(num_slices));
  if (!slices.back()->emitting.empty()) {
    slices.back() = std::make_shared<Slice>(*slices.back());
    slices.back()->emitting.clear();
  }
  return Writer(graph, slices, keep_scores_, ordered_, beam, epsilon).write(ending);
}

// The best link into each token has no slack at all, so the way back needs no scores.
FoundFsa LatticeSlices::best_path(const SearchGraph& graph, const Ending& ending, int32_t epsilon) const {
  const auto end = std::find_if(ending.arcs.begin(), ending.arcs.end(), [](const auto& arc) { return arc.slack == 0; });
  if (end == ending.arcs.end()) return {};
  std::vector<int32_t> moves;
  std::vector<float> read;
  int32_t token = end->token;
  const auto best_into = [&](const std::vector<Link>& links) {
    const auto link = std::find_if(links.begin(), links.end(), [&](auto& l) { return l.dst == token && l.slack == 0; });
    if (link != links.end()) {
      moves.push_back(link->move);
      token = link->src;
    }
    return link;
  };
  for (size_t t = slices_.size(); t-- > 0;) {
    while (best_into(slices_[t]->silent) != slices_[t]->silent.end()) {
    }
    if (t == 0) break;
    const Slice& before = *slices_[t - 1];
    const auto link = best_into(before.emitting);
    if (keep_scores_) read.push_back(before.read[link - before.emitting.begin()]);
  }
  std::reverse(moves.begin(), moves.end());
  std::reverse(read.begin(), read.end());
  return path_fsa(graph, moves, keep_scores_ ? &read : nullptr, {end->arc, ending.partial}, epsilon);
}

}  // namespace wfst_entropy

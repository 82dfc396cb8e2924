// Weighted determinisation by subsets. A state of the result is a set of states that one string leads to, each with
// what its best path (or, in the log semiring, all its paths) has more than the leading one, and with the path itself,
// of which the part that all have in common has been written on arcs already.
//
// Two sets are the same state if they agree in states, in those residual weights (rounded, as in OpenFst) and in the
// attributes that the paths have still to write. Mohri 1997, "Finite-state transducers in language and speech
// processing", section 3; that every new arc tells the old ones whose scores it adds up is k2's idea.
#include <algorithm>
#include <cmath>
#include <cstdlib>
#include <unordered_map>

#include "best_search.h"
#include "jacobian.h"
#include "log_closure.h"
#include "surgery.h"
#include "trace_tree.h"
#include "trimmed_fsa.h"

namespace wfst_entropy {
namespace {

// Where paths stay ambiguous for long, each way out of them tells all their arcs: so the limit covers the lists too.
constexpr int64_t kListsPerArc = 4;

// What a state of the result gives away early of the weights that its paths have still to come.
enum class Pushing { kNone = 0, kTropical = 1, kLog = 2 };

struct Options {
  bool log;                // semiring
  Pushing pushing;
  double delta;            // residual weights are rounded to multiples of it
  const int64_t* symbols;  // per arc, an id of all attributes that become lists; 0 for nothing
  bool lists;              // whether the old arcs of each new one are wanted
  bool derivatives;
};

struct Element {
  int32_t state;
  double residual;       // the leading one has 0 (tropical), or their sum is 1 (log)
  TraceTree::Node trace;
  SparseRow derivative;  // of the residual; empty unless wanted
};

struct Subset {
  std::vector<Element> elements;  // by state
  TraceTree::Node base;           // the path that the traces have in common
  double potential;               // what earlier arcs have given too much
  SparseRow potential_derivative;
  int32_t parent, label;          // the subset from which it was found first, for messages
};

// A way to go on with one label.
struct Step {
  int32_t label, dst;
  int32_t element;
  int64_t arc;
};

struct Output {
  FsaVecBuilder builder;
  std::vector<int64_t> map_splits{0}, map_arcs;
  std::vector<double> scores;
  Jacobian jacobian;
};

class Determinizer {
 public:
  Determinizer(const TrimmedFsa& fsa, const Options& options, Output& out, Progress& progress)
      : fsa_(fsa), options_(options), out_(out), progress_(progress), held_(progress) {}

  void run() {
    if (fsa_.empty()) return out_.builder.end_empty_fsa();
    subsets_.push_back({{{0, 0.0, tree_.root(), {}}}, tree_.root(), 0, {}, -1, 0});
    known_.emplace(hash_of(subsets_[0]), 0);
    states_before_ = out_.builder.num_states();
    for (size_t i = 0; i < subsets_.size(); ++i) {
      try {
        out_.builder.begin_state();
        expand(static_cast<int32_t>(i));
      } catch (const LimitError& error) {
        throw LimitError(error.what() + explain());
      }
    }
    out_.builder.end_fsa();
  }

 private:
  void expand(int32_t source) {
    steps_.clear();
    const std::vector<Element>& elements = subsets_[source].elements;
    for (size_t e = 0; e < elements.size(); ++e) {
      for (int64_t a = fsa_.splits[elements[e].state]; a < fsa_.splits[elements[e].state + 1]; ++a) {
        progress_.step();
        steps_.push_back({fsa_.arcs[a].label, fsa_.arcs[a].dst, static_cast<int32_t>(e), a});
      }
    }
    // The final label -1 goes last, as in an arc-sorted FSA.
    std::stable_sort(steps_.begin(), steps_.end(), [](const Step& a, const Step& b) {
      const auto x = static_cast<uint32_t>(a.label), y = static_cast<uint32_t>(b.label);
      return x != y ? x < y : a.dst < b.dst;
    });
    for (size_t begin = 0, end; begin < steps_.size(); begin = end) {
      for (end = begin + 1; end < steps_.size() && steps_[end].label == steps_[begin].label;) ++end;
      add_arc(source, begin, end);
    }
  }

  // Adds the arc for one label, which steps_[begin] to steps_[end - 1] have.
  void add_arc(int32_t source, size_t begin, size_t end) {
    const size_t mark = tree_.size();
    const int32_t label = steps_[begin].label;
    Subset next{{}, 0, 0, {}, source, label};
    for (size_t i = begin, stop; i < end; i = stop) {
      for (stop = i + 1; stop < end && steps_[stop].dst == steps_[i].dst;) ++stop;
      next.elements.push_back(arrive(subsets_[source], i, stop));
    }
    SparseRow derivative;
    double score = normalize(next.elements, derivative);
    next.base = next.elements[0].trace;
    for (const Element& e : next.elements) next.base = tree_.common_ancestor(next.base, e.trace);
    set_potential(next);
    write(subsets_[source].base, next.base);

    const bool final = label == kFinalLabel;
    if (options_.derivatives && !final) append(derivative, 1, correction(next));
    const int32_t target = final ? -1 : find_or_add(std::move(next), mark);
    const Subset& from = subsets_[source];
    score -= from.potential;
    if (!final) score += subsets_[target].potential;
    if (options_.derivatives) {
      append(derivative, -1, from.potential_derivative);
      if (!final) append(derivative, 1, subsets_[target].potential_derivative);
      sort_and_add(derivative);
    }
    if (final) tree_.shrink(mark);
    out_.builder.add_arc(final ? FsaVecBuilder::kToFinal : target, label);
    if (!std::isfinite(score)) {
      throw InputError(progress_.operation() + ": the scores of FSA " + std::to_string(fsa_.fsa) +
                       " add up to more than float64 holds; scale them down.");
    }
    out_.scores.push_back(score);
    progress_.hold(static_cast<int64_t>(derivative.size() * sizeof(Coefficient)));
    out_.jacobian.add_row(derivative);
  }

  // The element of one state: the best of the steps into it, or their sum.
  Element arrive(const Subset& source, size_t begin, size_t end) {
    const auto weight = [&](size_t i) {
      return source.elements[steps_[i].element].residual + fsa_.arcs[steps_[i].arc].score;
    };
    size_t best = begin;
    for (size_t i = begin + 1; i < end; ++i) {
      if (weight(i) > weight(best)) best = i;
    }
    const TrimmedArc& arc = fsa_.arcs[steps_[best].arc];
    const Element& from = source.elements[steps_[best].element];
    Element element{arc.dst, weight(best),
                    tree_.add(from.trace, steps_[best].arc, arc.score, options_.symbols[arc.number]), {}};
    if (options_.log) {
      double sum = 0;
      for (size_t i = begin; i < end; ++i) sum += std::exp(weight(i) - weight(best));
      element.residual += std::log(sum);
    }
    if (!options_.derivatives) return element;
    for (size_t i = options_.log ? begin : best; i < (options_.log ? end : best + 1); ++i) {
      const double share = std::exp(weight(i) - element.residual);
      append(element.derivative, share, source.elements[steps_[i].element].derivative);
      element.derivative.push_back({fsa_.arcs[steps_[i].arc].number, share});
    }
    sort_and_add(element.derivative);
    return element;
  }

  // Takes the weight of the whole subset out of its elements, and returns it; with its derivative.
  double normalize(std::vector<Element>& elements, SparseRow& derivative) const {
    const double total = options_.log ? log_sum(elements) : elements[leader(elements)].residual;
    if (options_.derivatives) {
      if (options_.log) {
        derivative = mean_derivative(elements);
      } else {
        derivative = elements[leader(elements)].derivative;
      }
      for (Element& e : elements) {
        append(e.derivative, -1, derivative);
        sort_and_add(e.derivative);
      }
    }
    for (Element& e : elements) e.residual -= total;
    return total;
  }

  void set_potential(Subset& subset) const {
    if (options_.pushing == Pushing::kLog && !options_.log) {
      subset.potential = log_sum(subset.elements);
      if (options_.derivatives) subset.potential_derivative = mean_derivative(subset.elements);
    } else if (options_.pushing == Pushing::kNone) {
      const Element& best = subset.elements[leader(subset.elements)];
      subset.potential = -tree_.weight(subset.base, best.trace);
      if (!options_.derivatives) return;
      for (int64_t a : tree_.arcs(subset.base, best.trace)) {
        progress_.step();
        subset.potential_derivative.push_back({fsa_.arcs[a].number, -1});
      }
      sort_and_add(subset.potential_derivative);
    }
  }

  static size_t leader(const std::vector<Element>& elements) {
    size_t best = 0;
    for (size_t e = 1; e < elements.size(); ++e) {
      if (elements[e].residual > elements[best].residual) best = e;
    }
    return best;
  }

  static double log_sum(const std::vector<Element>& elements) {
    const double highest = elements[leader(elements)].residual;
    double sum = 0;
    for (const Element& e : elements) sum += std::exp(e.residual - highest);
    return highest + std::log(sum);
  }

  static SparseRow mean_derivative(const std::vector<Element>& elements) {
    const double total = log_sum(elements);
    SparseRow mean;
    for (const Element& e : elements) append(mean, std::exp(e.residual - total), e.derivative);
    sort_and_add(mean);
    return mean;
  }

  // The new arc takes along the arcs that all paths of the next subset have in common.
  void write(TraceTree::Node from, TraceTree::Node to) {
    if (options_.lists) {
      const size_t before = out_.map_arcs.size();
      for (int64_t a : tree_.arcs(from, to)) out_.map_arcs.push_back(fsa_.arcs[a].number);
      progress_.hold(static_cast<int64_t>((out_.map_arcs.size() - before) * sizeof(int64_t)));
      const auto size = static_cast<int64_t>(out_.map_arcs.size());
      if (size > progress_.max_arcs() / kListsPerArc) {
        throw LimitError(progress_.operation() + ": the lists of old arcs that new ones stand for outgrow max_arcs/" +
                         std::to_string(kListsPerArc) + ", with " + std::to_string(subsets_.size()) + " states and " +
                         std::to_string(size) + " old arcs so far.");
      }
    }
    out_.map_splits.push_back(static_cast<int64_t>(out_.map_arcs.size()));
  }

  // The number of the state that the subset is already, or -1.
  int32_t find(const Subset& subset) const {
    const auto [begin, end] = known_.equal_range(hash_of(subset));
    for (auto it = begin; it != end; ++it) {
      if (same(subsets_[it->second], subset)) return it->second;
    }
    return -1;
  }

  // As find(), but a new state if there is none. `mark` is the size that the tree had before the subset was made.
  int32_t find_or_add(Subset&& subset, size_t mark) {
    const int32_t known = find(subset);
    if (known >= 0) {
      tree_.shrink(mark);
      return known;
    }
    const uint64_t hash = hash_of(subset);
    const auto number = static_cast<int32_t>(subsets_.size());
    progress_.grow(states_before_ + number + 2, out_.builder.num_arcs() + 1);
    hold(subset, mark);
    known_.emplace(hash, number);
    subsets_.push_back(std::move(subset));
    return number;
  }

  // Counts what a new subset takes, with its part of the tree and of the hash table.
  void hold(Subset& subset, size_t mark) {
    constexpr int64_t kKnown = 48;
    size_t coefficients = subset.potential_derivative.size();
    for (Element& e : subset.elements) {
      e.derivative.shrink_to_fit();
      coefficients += e.derivative.size();
    }
    subset.potential_derivative.shrink_to_fit();
    held_.add(static_cast<int64_t>(sizeof(Subset) + subset.elements.size() * sizeof(Element) +
                                   coefficients * sizeof(Coefficient) +
                                   (tree_.size() - mark) * TraceTree::kNodeBytes) + kKnown);
  }

  // Where a subset is met again, as on cycles, its residuals have the same values but not the same derivatives as when
  // it was first met, and it is the first ones that later arcs count with. The difference goes on the arc that leads
  // there: that of each element by its share in the paths that go on from the subset, so that the derivative of the
  // total of all paths is right.
  SparseRow correction(const Subset& subset) {
    const int32_t number = find(subset);
    SparseRow row;
    if (number < 0) return row;
    if (onward_.empty()) onward_ = onward_weights();
    const std::vector<Element>& elements = subset.elements;
    std::vector<double> weight;
    for (const Element& e : elements) weight.push_back(e.residual + onward_[e.state]);
    const size_t best = std::max_element(weight.begin(), weight.end()) - weight.begin();
    double sum = 0;
    for (double w : weight) sum += std::exp(w - weight[best]);
    for (size_t e = 0; e < elements.size(); ++e) {
      const double share = options_.log ? std::exp(weight[e] - weight[best]) / sum : (e == best ? 1 : 0);
      append(row, share, elements[e].derivative);
      append(row, -share, subsets_[number].elements[e].derivative);
    }
    sort_and_add(row);
    return row;
  }

  // From each state, the total of the paths to the final one. If it does not exist, because cycles have a gain, then
  // the total whose derivative is wanted does not either, and the shares are those of the paths so far.
  std::vector<double> onward_weights() const {
    std::vector<double> onward(fsa_.num_states(), 0);
    const Links links = make_links(fsa_, Direction::kBackward, [](const TrimmedArc&) { return true; });
    try {
      if (options_.log) {
        LogClosure closure(fsa_, links, progress_);
        for (const auto& [state, weight] : closure.row(fsa_.final_state())) onward[state] = weight;
      } else {
        BestSearch search(fsa_, links, progress_);
        search.run(fsa_.final_state());
        for (int32_t s = 0; s < fsa_.num_states(); ++s) onward[s] = search.distance(s);
      }
    } catch (const CycleError&) {
      std::fill(onward.begin(), onward.end(), 0);
    }
    return onward;
  }

  int64_t rounded(double residual) const {
    constexpr double kLargest = 9e18;
    return static_cast<int64_t>(std::max(-kLargest, std::min(kLargest, std::floor(residual / options_.delta + 0.5))));
  }

  uint64_t hash_of(const Subset& subset) const {
    uint64_t hash = 0;
    const auto mix = [&hash](uint64_t x) {
      hash = (hash ^ x) * 0x9E3779B97F4A7C15u;
      hash ^= hash >> 32;
    };
    for (const Element& e : subset.elements) {
      mix(static_cast<uint64_t>(e.state));
      mix(static_cast<uint64_t>(rounded(e.residual)));
      mix(tree_.hash_written(subset.base, e.trace));
    }
    return hash;
  }

  bool same(const Subset& a, const Subset& b) const {
    if (a.elements.size() != b.elements.size()) return false;
    for (size_t e = 0; e < a.elements.size(); ++e) {
      const Element &x = a.elements[e], &y = b.elements[e];
      if (x.state != y.state || rounded(x.residual) != rounded(y.residual)) return false;
      if (tree_.num_written(a.base, x.trace) != tree_.num_written(b.base, y.trace)) return false;
    }
    for (size_t e = 0; e < a.elements.size(); ++e) {
      if (written(a, a.elements[e]) != written(b, b.elements[e])) return false;
    }
    return true;
  }

  // What an element's path has still to write.
  std::vector<int64_t> written(const Subset& subset, const Element& element) const {
    std::vector<int64_t> symbols;
    if (tree_.num_written(subset.base, element.trace) == 0) return symbols;
    for (int64_t a : tree_.arcs(subset.base, element.trace)) {
      const int64_t symbol = options_.symbols[fsa_.arcs[a].number];
      if (symbol != 0) symbols.push_back(symbol);
    }
    return symbols;
  }

  // Why it may not end, told by the subset found last.
  std::string explain() const {
    const Subset& last = subsets_.back();
    std::vector<int32_t> labels;
    for (const Subset* s = &last; s->parent >= 0; s = &subsets_[s->parent]) labels.push_back(s->label);
    constexpr size_t kShown = 12;
    std::string text = " The string" + std::string(labels.size() > kShown ? " ..." : "");
    for (size_t i = std::min(kShown, labels.size()); i > 0; --i) text += " " + std::to_string(labels[i - 1]);
    text += " (" + std::to_string(labels.size()) + " labels)";
    if (last.elements.size() < 2) {
      return text + " of FSA " + std::to_string(fsa_.fsa) +
             " leads to one state alone: the result may just be large. Raise max_states, or prune() first.";
    }
    const auto [low, high] = std::minmax_element(
        last.elements.begin(), last.elements.end(),
        [](const Element& a, const Element& b) { return a.residual < b.residual; });
    text += " of FSA " + std::to_string(fsa_.fsa) + " leads to " + std::to_string(last.elements.size()) +
            " states, among them " + std::to_string(fsa_.original[low->state]) + " and, by " +
            std::to_string(high->residual - low->residual) + " better, " +
            std::to_string(fsa_.original[high->state]) + "." + explain_cycle(last, low - last.elements.begin(),
                                                                           high - last.elements.begin());
    return text +
           " Then make their labels differ by disambiguation symbols, use disambiguate(), or encode() labels and "
           "scores into one symbol before and decode() after.";
  }

  // What has happened since the same states were last reached on the way.
  std::string explain_cycle(const Subset& last, size_t low, size_t high) const {
    const auto same_states = [&](const Subset& s) {
      return std::equal(s.elements.begin(), s.elements.end(), last.elements.begin(), last.elements.end(),
                        [](const Element& a, const Element& b) { return a.state == b.state; });
    };
    std::string labels = " " + std::to_string(last.label);
    int64_t num_labels = 1;
    const Subset* earlier = &subsets_[last.parent];
    for (; earlier->parent >= 0 && !same_states(*earlier); earlier = &subsets_[earlier->parent], ++num_labels) {
      if (num_labels < 12) labels = " " + std::to_string(earlier->label) + labels;
    }
    if (!same_states(*earlier)) {
      return " If such differences grow with the string, there are cycles with the same labels but different scores "
             "or attributes (no twins property), and no deterministic FSA is equivalent.";
    }
    const double gap = last.elements[high].residual - last.elements[low].residual;
    const double earlier_gap = earlier->elements[high].residual - earlier->elements[low].residual;
    std::string text = " The last " + std::to_string(num_labels) + (num_labels == 1 ? " label," : " labels,") + (num_labels > 12 ? " ..." : "") +
                       labels + ", led from the same states to themselves, and shifted the difference by " +
                       std::to_string(gap - earlier_gap);
    const int64_t pending = longest_pending(last), earlier_pending = longest_pending(*earlier);
    if (pending > earlier_pending) {
      text += " and the attributes that are still to be written from " + std::to_string(earlier_pending) + " to " +
              std::to_string(pending);
    }
    return text + ": if that goes on, there are cycles with the same labels but different scores or attributes (no "
                  "twins property), and no deterministic FSA is equivalent.";
  }

  int64_t longest_pending(const Subset& subset) const {
    int64_t longest = 0;
    for (const Element& e : subset.elements) longest = std::max(longest, tree_.num_written(subset.base, e.trace));
    return longest;
  }

  const TrimmedFsa& fsa_;
  const Options& options_;
  Output& out_;
  Progress& progress_;
  Held held_;
  TraceTree tree_;
  std::vector<Subset> subsets_;
  std::unordered_multimap<uint64_t, int32_t> known_;
  std::vector<Step> steps_;
  std::vector<double> onward_;  // empty until it is needed
  int64_t states_before_ = 0;
};

nb::tuple determinize(const FsaVecView& fsas, Progress& progress, bool log, int pushing, double delta,
                      uintptr_t symbols, bool lists, bool derivatives) {
  const Options options{log, static_cast<Pushing>(pushing), delta, reinterpret_cast<const int64_t*>(symbols),
                        lists, derivatives};
  Output out{FsaVecBuilder(progress, /*num_maps=*/0), {0}, {}, {}, Jacobian(derivatives)};
  {
    nb::gil_scoped_release released;
    for (int64_t i = 0; i < fsas.num_fsas; ++i) {
      const TrimmedFsa fsa = trim(fsas, i, progress);
      Determinizer(fsa, options, out, progress).run();
    }
  }
  return result(std::move(out.builder), std::move(out.map_splits), std::move(out.map_arcs), std::move(out.scores),
                std::move(out.jacobian.splits), std::move(out.jacobian.columns), std::move(out.jacobian.values));
}

}  // namespace

void bind_determinize(nb::module_& m) { m.def("determinize", &determinize); }

}  // namespace wfst_entropy

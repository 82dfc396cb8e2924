// Which words stand in each place of a reference, over all paths of a lattice: Xu, Povey, Mangu and Zhu 2011, "Minimum
// Bayes risk decoding and system combination based on a recursion for edit distance", section 4. Their recursion takes
// the minimum over edits of expected distances, one state after the other, in place of the minimum of each path.
//
// Places alternate: nothing, word 1, nothing, word 2, ..., nothing; so that inserted words have a place, too.
#include <algorithm>
#include <cmath>
#include <cstdint>
#include <limits>
#include <vector>

#include "address.h"
#include "surgery.h"
#include "trimmed_fsa.h"

namespace wfst_entropy {
namespace {

constexpr int32_t kNothing = 0;

// A word put where the reference has no place costs a little more than one in the place of nothing.
constexpr double kOutOfPlace = 1 + 1e-5;
constexpr double kNever = std::numeric_limits<double>::infinity();

struct Entry {
  int32_t word;
  double mass;
};

// For each place the words in it and their shares.
class Places {
 public:
  explicit Places(size_t size) : entries_(size) {}

  void add(size_t place, int32_t word, double mass) {
    if (mass == 0) return;
    for (Entry& entry : entries_[place]) {
      if (entry.word == word) {
        entry.mass += mass;
        return;
      }
    }
    entries_[place].push_back({word, mass});
  }

  // The largest share first; of equal ones the smallest word.
  void sort() {
    for (auto& place : entries_) {
      std::sort(place.begin(), place.end(), [](const Entry& x, const Entry& y) {
        return x.mass != y.mass ? x.mass > y.mass : x.word < y.word;
      });
    }
  }

  const std::vector<std::vector<Entry>>& entries() const { return entries_; }

 private:
  std::vector<std::vector<Entry>> entries_;
};

double log_add(double a, double b) {
  const double larger = std::max(a, b);
  return larger == -std::numeric_limits<double>::infinity() ? larger : larger + std::log1p(std::exp(-std::abs(a - b)));
}

// One lattice, whose arcs go to larger states, and the places of its reference.
class Aligner {
 public:
  Aligner(const TrimmedFsa& fsa, const int32_t* words, std::vector<int32_t> places, Progress& progress)
      : fsa_(fsa), words_(words), places_(std::move(places)), width_(places_.size() + 1), progress_(progress),
        held_(progress), arc_(width_), edit_(width_) {
    held_.add(static_cast<int64_t>((2 * width_ + 1) * sizeof(double)) * fsa.num_states());
    forward_.assign(fsa.num_states(), -std::numeric_limits<double>::infinity());
    distance_.assign(fsa.num_states() * width_, 0.0);
    mass_.assign(fsa.num_states() * width_, 0.0);
  }

  Places run() {
    sum_forward();
    Places found(places_.size());
    mass_.back() = 1;  // at the final state, after the last place
    for (int32_t s = fsa_.num_states() - 1; s-- > 0;) {
      for (int64_t a = fsa_.splits[s]; a < fsa_.splits[s + 1]; ++a) spread(fsa_.arcs[a], found);
    }
    // What has not been read at the start is a deletion.
    for (size_t q = width_ - 1; q > 0; --q) {
      found.add(q - 1, kNothing, mass_[q]);
      mass_[q - 1] += mass_[q];
    }
    found.sort();
    return found;
  }

 private:
  enum Edit : uint8_t { kSubstitute, kInsert, kDelete };

  double* row(std::vector<double>& table, int32_t state) { return table.data() + state * width_; }
  double share(const TrimmedArc& arc) const {
    return std::exp(forward_[arc.src] + arc.score - forward_[arc.dst]);
  }
  int32_t word(const TrimmedArc& arc) const { return std::max(words_[arc.number], kNothing); }

  // Sums of weights, and the expected distance of what leads to each state from what the reference has up to each place.
  void sum_forward() {
    forward_[0] = 0;
    for (size_t q = 1; q < width_; ++q) distance_[q] = distance_[q - 1] + (places_[q - 1] != kNothing);
    for (const TrimmedArc& arc : fsa_.arcs) forward_[arc.dst] = log_add(forward_[arc.dst], forward_[arc.src] + arc.score);
    for (const TrimmedArc& arc : fsa_.arcs) {
      align(arc);
      const double part = share(arc);
      double* to = row(distance_, arc.dst);
      for (size_t q = 0; q < width_; ++q) to[q] += part * arc_[q];
    }
  }

  // The distances after an arc, and the edit that leads to each.
  void align(const TrimmedArc& arc) {
    progress_.step();
    const double* from = row(distance_, arc.src);
    const int32_t read = word(arc);
    // An arc without a word takes no place, not even one of nothing: words on other arcs may need it.
    const bool silent = read == kNothing;
    const double inserted = silent ? 0 : kOutOfPlace;
    arc_[0] = from[0] + inserted;
    edit_[0] = kInsert;
    for (size_t q = 1; q < width_; ++q) {
      const double substitution = silent ? kNever : from[q - 1] + (read != places_[q - 1]);
      const double insertion = from[q] + inserted;
      const double deletion = arc_[q - 1] + (places_[q - 1] != kNothing);
      arc_[q] = std::min({substitution, insertion, deletion});
      // Of equally good edits a word takes its place first, and what is missing is missing where nothing is said.
      const bool deleted = silent ? arc_[q] == deletion : arc_[q] != substitution && arc_[q] != insertion;
      edit_[q] = deleted ? kDelete : arc_[q] == substitution ? kSubstitute : kInsert;
    }
  }

  // Hands the mass at the end of an arc on to its start, and to the places of its edits.
  void spread(const TrimmedArc& arc, Places& found) {
    align(arc);
    const double part = share(arc);
    const double* at_end = row(mass_, arc.dst);
    double* at_start = row(mass_, arc.src);
    double deleted = 0;
    for (size_t q = width_; q-- > 0;) {
      const double mass = part * at_end[q] + deleted;
      deleted = 0;
      if (mass == 0) continue;
      if (edit_[q] == kSubstitute) {
        at_start[q - 1] += mass;
        found.add(q - 1, word(arc), mass);
      } else if (edit_[q] == kInsert) {
        at_start[q] += mass;
      } else {
        deleted = mass;
        found.add(q - 1, kNothing, mass);
      }
    }
  }

  const TrimmedFsa& fsa_;
  const int32_t* words_;
  const std::vector<int32_t> places_;
  const size_t width_;
  Progress& progress_;
  Held held_;
  std::vector<double> forward_, distance_, mass_, arc_;
  std::vector<Edit> edit_;
};

std::vector<int32_t> with_gaps(const int32_t* words, int64_t size) {
  std::vector<int32_t> places(2 * size + 1, kNothing);
  for (int64_t i = 0; i < size; ++i) places[2 * i + 1] = words[i];
  return places;
}

nb::tuple confusion_network(const FsaVecView& fsas, Progress& progress, uintptr_t ref_splits, uintptr_t ref_values) {
  FsaVecBuilder builder(progress, /*num_maps=*/0);
  const auto* splits = pointer<const int64_t>(ref_splits);
  const auto* values = pointer<const int32_t>(ref_values);
  std::vector<int64_t> entry_splits{0};
  std::vector<int32_t> words;
  std::vector<double> masses;
  {
    nb::gil_scoped_release released;
    for (int64_t i = 0; i < fsas.num_fsas; ++i) {
      const TrimmedFsa fsa = trim(fsas, i, progress);
      std::vector<int32_t> places = with_gaps(values + splits[i], splits[i + 1] - splits[i]);
      const size_t num_places = places.size();
      const Places found =
          fsa.empty() ? Places(num_places) : Aligner(fsa, fsas.aux_labels, std::move(places), progress).run();
      for (const auto& place : found.entries()) {
        for (const Entry& entry : place) {
          words.push_back(entry.word);
          masses.push_back(entry.mass);
        }
        entry_splits.push_back(static_cast<int64_t>(words.size()));
      }
    }
  }
  return result(std::move(builder), std::move(entry_splits), std::move(words), std::move(masses));
}

}  // namespace

void bind_confusion_network(nb::module_& m) { m.def("confusion_network", &confusion_network); }

}  // namespace wfst_entropy

// What the kernels of divergences report for an utterance: log Z of both models p and q, and KL(p || q).
#pragma once

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <vector>

#include "cell.h"
#include "pair_paths.h"

namespace wfst_entropy {

struct KlTotal {
  double log_p = -INFINITY, log_q = -INFINITY, kl = 0;
  KlStatus status = kKlNoPath;
};

// A cell of pair_cell.inl at the end of paths.
struct PairEnd {
  double p, pe, q, qe, r;
};

// ln of a sum of m 2^e.
inline double log_of_sum(const std::vector<PairEnd>& ends, double PairEnd::*m, double PairEnd::*e) {
  double top = -INFINITY, mass = 0;
  for (const PairEnd& end : ends)
    if (end.*m > 0) top = std::max(top, end.*e);
  if (top == -INFINITY) return top;
  for (const PairEnd& end : ends)
    if (end.*m > 0) mass += end.*m * std::exp2(end.*e - top);
  return std::log(mass) + top * kLn2;
}

// Sums cells; the divergence is neither clamped nor has it what was taken off on the way. Each cell has the mean
// log-ratio r / p + (pe - qe) ln 2 of its paths. The exponents may be far from zero; what is added up is not.
inline KlTotal pair_total(const std::vector<PairEnd>& ends) {
  KlTotal result;
  result.log_p = log_of_sum(ends, &PairEnd::p, &PairEnd::pe);
  result.log_q = log_of_sum(ends, &PairEnd::q, &PairEnd::qe);
  if (result.log_p == -INFINITY) return result;
  result.status = kKlFinite;
  for (const PairEnd& end : ends) {
    if (end.p == 0) continue;
    const double share = end.p * std::exp(end.pe * kLn2 - result.log_p);
    result.kl += share * (end.r / end.p + ((end.pe * kLn2 - result.log_p) - (end.qe * kLn2 - result.log_q)));
  }
  return result;
}

// Turns the result of a sweep into what is reported. sweep(common): sums all paths, with what q has not taken out of p
// if `common`, and only_in_p() tells whether there was any; count(): the paths.
template <class Sweep, class OnlyInP, class Count>
KlTotal settled(int64_t num_frames, const Sweep& sweep, const OnlyInP& only_in_p, const Count& count) {
  KlTotal result = sweep(true);
  const double kl = result.kl;
  result.kl = std::max(0.0, kl);
  // Of equal models it is 0 without further ado; else a value that may be rounding alone is looked into.
  const bool doubtful = result.status == kKlFinite && kl != 0 && kl < small_entropy(num_frames);
  if (!only_in_p() && !doubtful) return result;
  const PairPaths paths = count();
  if (paths.lost > 0) {
    result = sweep(false);  // the likelihood of p is that of all its paths
    result.kl = INFINITY;
    result.status = kKlInfinite;
  } else if (paths.common == 1 && paths.of_q == 1) {
    result.kl = 0;
    result.status = kKlOnePath;
  }
  return result;
}

}  // namespace wfst_entropy

// The loops of the divergence of two models over one band, compiled once per instruction set; see rnnt_loops.h.
#pragma once

#include <cstdint>

#include "ctc_kl_loops.h"
#include "dense_loops.h"

namespace wfst_entropy {

template <class T>
struct Weights;

// The cells (pair_cell.inl) of a step's states: the masses of p with the moment of the divergence, and those of q.
template <class T>
struct BandPair {
  CellFrame<T> p, q;  // q.r is not touched
};

template <class T>
struct BandPairWeights {
  Weights<T> p, q;
};

template <class T>
struct BandPairTops {
  Int<T> p, q;
};

// Sums over the arcs of one step.
template <class T>
struct BandPairSums {
  T p, q, r;
};

// As those of BandLoops.
template <class T>
struct BandPairLoops {
  void (*forward)(int64_t width, BandPair<T> from, const BandPairWeights<T>& stay, const BandPairWeights<T>& move,
                  PairReference<T> reference, BandPair<T> to);
  BandPairTops<T> (*backward)(int64_t width, BandPair<T> from, const BandPairWeights<T>& stay,
                              const BandPairWeights<T>& move, PairReference<T> reference, BandPair<T> forward,
                              BandPair<T> stays, BandPair<T> moves, BandPair<T> to);
  BandPairSums<T> (*scale)(int64_t width, BandPairTops<T> tops, BandPair<T> products);
};

}  // namespace wfst_entropy

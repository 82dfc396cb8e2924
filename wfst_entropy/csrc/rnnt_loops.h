// The loops over the states of a band: a lattice whose paths take exactly one arc per step, either staying in state u
// or moving to u + 1. Compiled once per instruction set; see loops.h.
#pragma once

#include <cstdint>

#include "dense_loops.h"

namespace wfst_entropy {

template <class T>
struct Weights;
template <class T>
struct Reference;

// Every array of a band has readable elements before the first state and after the last, weights and cells without mass.
// `width` is a multiple of kLanes above the number of states.
template <class T>
struct BandLoops {
  // One step forward, less the reference: to[u] = from[u] stay[u] + from[u - 1] move[u - 1].
  void (*forward)(int64_t width, CellFrame<T> from, Weights<T> stay, Weights<T> move, Reference<T> reference,
                  CellFrame<T> to);
  // One step backward, less the reference: to[u] = stay[u] from[u] + move[u] from[u + 1]. Each arc's product with the
  // forward cell of its state goes to `stays` and `moves`; returns their highest exponent.
  Int<T> (*backward)(int64_t width, CellFrame<T> from, Weights<T> stay, Weights<T> move, Reference<T> reference,
                     CellFrame<T> forward, CellFrame<T> stays, CellFrame<T> moves, CellFrame<T> to);
  // Brings products to the exponent `top`, not below theirs, in place (e is left as it was), and sums them up.
  ProductSums<T> (*scale)(int64_t width, Int<T> top, CellFrame<T> products);
  // The first state of the highest exponent; -1 if none has mass.
  int64_t (*heaviest)(int64_t width, CellFrame<T> frame);
};

}  // namespace wfst_entropy

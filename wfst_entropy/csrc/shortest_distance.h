// Distances over graphs in the built-in semirings, and their gradients in closed form. Values of states and arcs are in
// the order of their numbers; everything is in double precision, whatever came in.
//
// With `connected`, components that are on no path from a start to an end are not closed: the distances of their
// states mean nothing then, but no total depends on them.
//
// Forward functions return -1, or a state of a component whose closure diverges.
#pragma once

#include "graph_order.h"

namespace wfst_entropy {

// Log-masses d.
int64_t log_forward(const GraphOrder& order, bool connected, const double* weights, double* d, Progress& progress);
// Writes the gradient of sum(grad_d * d).
void log_backward(const GraphOrder& order, bool connected, const double* weights, const double* d,
                  const double* grad_d, double* grad_weights, Progress& progress);

// Log-masses, and means over the paths of what adds up along them: `values` per arc, or the surprisal of the path given
// where it ends (its entropy) if `values` is null.
int64_t mean_forward(const GraphOrder& order, bool connected, const double* weights, const double* values, double* d,
                     double* mean, Progress& progress);
void mean_backward(const GraphOrder& order, bool connected, const double* weights, const double* values,
                   const double* d, const double* mean, const double* grad_d, const double* grad_mean,
                   double* grad_weights, double* grad_values, Progress& progress);

// Log-masses of two models, and KL(teacher || student).
int64_t kl_forward(const GraphOrder& order, bool connected, const double* student, const double* teacher, double* s,
                   double* t, double* k, Progress& progress);
void kl_backward(const GraphOrder& order, bool connected, const double* student, const double* teacher, const double* s,
                 const double* t, const double* k, const double* grad_s, const double* grad_t, const double* grad_k,
                 double* grad_student, double* grad_teacher, Progress& progress);

// Weights of best paths, and the arc by which the best path enters each state (-1 for none). A cycle whose weight is
// below `tolerance` is taken for one of weight 0.
int64_t best_forward(const GraphOrder& order, bool connected, const double* weights, double tolerance, double* d,
                     int64_t* best_arc, Progress& progress);
void best_backward(const GraphOrder& order, const int64_t* best_arc, const double* grad_d, double* grad_weights);

}  // namespace wfst_entropy

// The number that the kernels carry per lattice state: a path mass with the range of log-space and
// the precision of linear space, together with the surprisal moment that gives its entropy.
//
//   mass = M * 2^E                  M in [1, 2), or M = 0 with E = kNoMass
//   R    = sum over paths of (w / 2^E) * (-ln(w / 2^E)),   w the linear mass of one path
//
// so that the conditional entropy of the paths is R / M + ln M. Adding two cells needs a maximum of
// exponents, shifts into the exponent field, additions and multiplications, and neither exp nor log:
// the loops over states vectorise. The arithmetic is in cell.inl.
#pragma once

#include <cstdint>

namespace wfst_entropy {

template <class T>
struct CellTraits;

template <>
struct CellTraits<float> {
  using Int = int32_t;  // as wide as T
  static constexpr int kMantissaBits = 23;
  static constexpr Int kBias = 127;
  // ln 2 in two parts (Cody and Waite); kLn2Hi has 9 significant bits, so n * kLn2Hi is exact for n < 2^15
  static constexpr float kLn2Hi = 0.693359375f;
  static constexpr float kLn2Lo = -2.12194440054690583e-4f;
  static constexpr int kExpDegree = 7;  // |r| <= ln(2)/2: remainder 5e-9
  static constexpr float kFar = 20000;  // nats; beyond, n * kLn2Hi would be rounded
};

template <>
struct CellTraits<double> {
  using Int = int64_t;
  static constexpr int kMantissaBits = 52;
  static constexpr Int kBias = 1023;
  static constexpr double kLn2Hi = 6.93145751953125e-1;
  static constexpr double kLn2Lo = 1.42860682030941723212e-6;
  static constexpr int kExpDegree = 13;  // remainder 4e-18
  // nats; n * kLn2Hi would be exact far beyond, but a few frames of such differences must not use up the exponents
  static constexpr double kFar = 1000000;
};

template <class T>
using Int = typename CellTraits<T>::Int;

// Every array that a loop runs over has a length that is a multiple of this; what is left over is zero cells.
constexpr int64_t kLanes = 16;

inline int64_t padded(int64_t n) { return (n + kLanes - 1) / kLanes * kLanes; }

constexpr double kLn2 = 0.693147180559945309417232121458;

// Exponent of a cell without mass, and the lowest exponent (relative to the heaviest state of the
// frame) that still counts as mass. Sums of two such and of three scores stay inside 32 bits.
constexpr int32_t kNoMass = -(1 << 29);

// Log-weights below -2^26 (masks such as -1e30 or finfo.min included) count as no mass; log-weights
// above 2^26 are refused like +inf: both would wrap the exponents.
constexpr double kScoreLimit = 67108864.0;

// exp(log_weight) as m * 2^e with m in [1/sqrt(2), sqrt(2)], and ln m. T may be a vector of numbers.
template <class T, class I>
struct WeightOf {
  T m;
  I e;
  T ln;
};

template <class T, class I>
struct CellOf {
  T m;
  I e;
  T r;
};

template <class T>
using Weight = WeightOf<T, Int<T>>;

template <class T>
using Cell = CellOf<T, Int<T>>;

template <class T>
constexpr Cell<T> cell_one() {
  return {T(1), 0, T(0)};
}

template <class T>
constexpr Cell<T> cell_zero() {
  return {T(0), Int<T>(kNoMass), T(0)};
}

}  // namespace wfst_entropy

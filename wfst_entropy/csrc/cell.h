// The number that the kernels carry per lattice state: a path mass with the range of log-space and
// the precision of linear space, together with the surprisal moment that gives its entropy.
//
//   mass = M * 2^E                  M in [1, 2), or M = 0 with E = kNoMass
//   R    = sum over paths of (w / 2^E) * (-ln(w / 2^E)),   w the linear mass of one path
//
// so that the conditional entropy of the paths is R / M + ln M. Adding two cells needs a maximum of
// exponents, shifts into the exponent field, additions and multiplications, and neither exp nor log:
// the loops over states vectorise.
#pragma once

#include <cstdint>
#include <cstring>

#if defined(__GNUC__) || defined(__clang__)
// The arithmetic must be inlined into the loops, which are compiled once per instruction set.
#define WFST_INLINE inline __attribute__((always_inline))
#else
#define WFST_INLINE inline
#endif

namespace wfst_entropy {

template <class T>
struct CellTraits;

template <>
struct CellTraits<float> {
  using Int = int32_t;  // as wide as T, for the vectoriser
  using Bits = uint32_t;
  static constexpr int kMantissaBits = 23;
  static constexpr Int kBias = 127;
  // ln 2 in two parts (Cody and Waite); kLn2Hi has 9 significant bits, so n * kLn2Hi is exact for n < 2^15
  static constexpr float kLn2Hi = 0.693359375f;
  static constexpr float kLn2Lo = -2.12194440054690583e-4f;
  static constexpr int kExpDegree = 7;  // |r| <= ln(2)/2: remainder 5e-9
};

template <>
struct CellTraits<double> {
  using Int = int64_t;
  using Bits = uint64_t;
  static constexpr int kMantissaBits = 52;
  static constexpr Int kBias = 1023;
  static constexpr double kLn2Hi = 6.93145751953125e-1;
  static constexpr double kLn2Lo = 1.42860682030941723212e-6;
  static constexpr int kExpDegree = 13;  // remainder 4e-18
};

template <class T>
using Int = typename CellTraits<T>::Int;

constexpr double kLn2 = 0.693147180559945309417232121458;

// Exponent of a cell without mass, and the lowest exponent (relative to the heaviest state of the
// frame) that still counts as mass. Sums of two such and of three scores stay inside 32 bits.
constexpr int32_t kNoMass = -(1 << 29);

// Log-weights below -2^26 (masks such as -1e30 or finfo.min included) count as no mass; log-weights
// above 2^26 are refused like +inf: both would wrap the exponents.
constexpr double kScoreLimit = 67108864.0;

template <class T>
WFST_INLINE T from_bits(typename CellTraits<T>::Bits bits) {
  T value;
  std::memcpy(&value, &bits, sizeof value);
  return value;
}

template <class T>
WFST_INLINE typename CellTraits<T>::Bits to_bits(T value) {
  typename CellTraits<T>::Bits bits;
  std::memcpy(&bits, &value, sizeof bits);
  return bits;
}

// 2^k for k <= 1 as a shift into the exponent field; exactly 0 below the normal range.
template <class T>
WFST_INLINE T pow2(Int<T> k) {
  using Traits = CellTraits<T>;
  k = k < -Traits::kBias ? -Traits::kBias : k;
  return from_bits<T>(static_cast<typename Traits::Bits>(k + Traits::kBias) << Traits::kMantissaBits);
}

// exp(r) for |r| <= ln(2)/2 by its Taylor polynomial; exactly 1 at 0.
template <class T>
WFST_INLINE T exp_reduced(T r) {
  constexpr int degree = CellTraits<T>::kExpDegree;
  T y = T(1);
  for (int n = degree; n >= 1; --n) y = T(1) + y * (r * T(1.0 / n));
  return y;
}

// exp(log_weight) as m * 2^e with m in [1/sqrt(2), sqrt(2)], and ln m.
template <class T>
struct Weight {
  T m;
  Int<T> e;
  T ln;
};

// The weight exp(x - shift), for x and shift in [-2^26, 2^26] and x - shift <= 2^27. The difference is
// taken without rounding (Knuth's two-sum), so an x equal to the shift gives exactly 1.
template <class T>
WFST_INLINE Weight<T> split_weight(T x, T shift) {
  using Traits = CellTraits<T>;
  const T d = x - shift;
  const T back = d - x;
  const T d_error = (x - (d - back)) - (shift + back);
  const T scaled = d * T(1.44269504088896340736);
  const Int<T> e = static_cast<Int<T>>(scaled + (scaled < T(0) ? T(-0.5) : T(0.5)));
  T r = ((d - T(e) * Traits::kLn2Hi) - T(e) * Traits::kLn2Lo) + d_error;
  // where |d| is so large that its own last place exceeds ln 2, r is noise: keep it in range
  const T limit = T(0.35);
  r = r > limit ? limit : (r < -limit ? -limit : r);
  return {exp_reduced(r), e, r};
}

template <class T>
struct Cell {
  T m;
  Int<T> e;
  T r;
};

template <class T>
WFST_INLINE Cell<T> cell_one() {
  return {T(1), 0, T(0)};
}

template <class T>
WFST_INLINE Cell<T> cell_zero() {
  return {T(0), Int<T>(kNoMass), T(0)};
}

// Brings M back into [1, 2) and makes every cell without mass, or too far behind to count, the zero cell.
template <class T>
WFST_INLINE Cell<T> normalise(T m, Int<T> e, T r) {
  using Traits = CellTraits<T>;
  using Bits = typename Traits::Bits;
  const Bits bits = to_bits(m);
  const Int<T> k = static_cast<Int<T>>(bits >> Traits::kMantissaBits) - Traits::kBias;
  const Int<T> new_e = e + k;
  const T down = from_bits<T>(static_cast<Bits>(Traits::kBias - k) << Traits::kMantissaBits);
  const bool zero = (m == T(0)) | (new_e < Int<T>(kNoMass));
  const T new_r = down * (r + m * (T(k) * T(kLn2)));
  return {zero ? T(0) : m * down, zero ? Int<T>(kNoMass) : new_e, zero ? T(0) : new_r};
}

}  // namespace wfst_entropy

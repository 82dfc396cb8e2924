// The arithmetic of cell.h, for single numbers and for vectors of them alike. It is included inside a namespace, once
// per instruction set, with WFST_TARGET naming the set and WFST_VECTOR_BYTES the size of its vectors (0: none).
// No standard header may be used here: an inline function of one would be compiled for the wide set and could be linked
// into code that runs everywhere.

#if defined(__GNUC__) || defined(__clang__)
#define WFST_INLINE WFST_TARGET __attribute__((always_inline)) inline
#else
#define WFST_INLINE inline
#endif

// Pack<T>::Real is what one step of a loop handles: a vector of T, or T itself.
template <class T>
struct Pack;

#if WFST_VECTOR_BYTES
template <>
struct Pack<float> {
  typedef float Real __attribute__((vector_size(WFST_VECTOR_BYTES)));
  typedef int32_t Int __attribute__((vector_size(WFST_VECTOR_BYTES)));
  static constexpr int kSize = WFST_VECTOR_BYTES / sizeof(float);
};

template <>
struct Pack<double> {
  typedef double Real __attribute__((vector_size(WFST_VECTOR_BYTES)));
  typedef int64_t Int __attribute__((vector_size(WFST_VECTOR_BYTES)));
  static constexpr int kSize = WFST_VECTOR_BYTES / sizeof(double);
};
#else
template <class T>
struct Pack {
  using Real = T;
  using Int = typename CellTraits<T>::Int;
  static constexpr int kSize = 1;
};
#endif

// The type of one element and the integer that goes with it, for a number or a vector.
template <class V>
struct Kind {
  using Element = V;
  using Integer = Int<V>;
};

#if WFST_VECTOR_BYTES
template <>
struct Kind<Pack<float>::Real> {
  using Element = float;
  using Integer = Pack<float>::Int;
};

template <>
struct Kind<Pack<double>::Real> {
  using Element = double;
  using Integer = Pack<double>::Int;
};
#endif

template <class V>
using Element = typename Kind<V>::Element;
template <class V>
using Integer = typename Kind<V>::Integer;

template <class V, class S>
WFST_INLINE V splat(S x) {
  return V{} + x;
}

template <class To, class From>
WFST_INLINE To same_bits(From x) {
  static_assert(sizeof(To) == sizeof(From), "a change of type, not of size");
  To y;
  __builtin_memcpy(&y, &x, sizeof y);
  return y;
}

#if WFST_VECTOR_BYTES
template <class To, class From>
WFST_INLINE To convert(From x) {
  if constexpr (std::is_arithmetic<From>::value)
    return static_cast<To>(x);
  else
    return __builtin_convertvector(x, To);
}
#else
template <class To, class From>
WFST_INLINE To convert(From x) {
  return static_cast<To>(x);
}
#endif

template <class V>
WFST_INLINE V larger(V a, V b) {
  return a > b ? a : b;
}

// 2^k for k <= 1 as a shift into the exponent field; exactly 0 below the normal range.
template <class V>
WFST_INLINE V pow2(Integer<V> k) {
  using Traits = CellTraits<Element<V>>;
  k = larger(k, splat<Integer<V>>(-Traits::kBias));
  return same_bits<V>((k + Traits::kBias) << Traits::kMantissaBits);
}

// exp(r) for |r| <= ln(2)/2 by its Taylor polynomial; exactly 1 at 0.
template <class V>
WFST_INLINE V exp_reduced(V r) {
  using T = Element<V>;
  V y = splat<V>(T(1));
  for (int n = CellTraits<T>::kExpDegree; n >= 1; --n) y = T(1) + y * (r * T(1.0 / n));
  return y;
}

// The weight exp(x - shift), for x and shift less than kFar apart. The difference is taken without rounding (Knuth's
// two-sum), so an x equal to the shift gives exactly 1.
template <class V>
WFST_INLINE WeightOf<V, Integer<V>> split_weight(V x, V shift) {
  using T = Element<V>;
  using Traits = CellTraits<T>;
  const V d = x - shift;
  const V back = d - x;
  const V d_error = (x - (d - back)) - (shift + back);
  const V scaled = d * T(1.44269504088896340736);
  const Integer<V> e = convert<Integer<V>>(scaled + (scaled < T(0) ? splat<V>(T(-0.5)) : splat<V>(T(0.5))));
  const V n = convert<V>(e);
  const V r = ((d - n * Traits::kLn2Hi) - n * Traits::kLn2Lo) + d_error;
  return {exp_reduced(r), e, r};
}

// The same for any x and shift in [-2^26, 2^26], element by element in double precision.
template <class V>
WFST_INLINE WeightOf<V, Integer<V>> split_far_weight(V x, V shift) {
  using T = Element<V>;
  constexpr int n = sizeof(V) / sizeof(T);
  T xs[n], shifts[n], m[n], ln[n];
  Int<T> e[n];
  __builtin_memcpy(xs, &x, sizeof x);
  __builtin_memcpy(shifts, &shift, sizeof shift);
  for (int k = 0; k < n; ++k) {
    const auto w = split_weight<double>(xs[k], shifts[k]);
    m[k] = static_cast<T>(w.m);
    e[k] = static_cast<Int<T>>(w.e);
    ln[k] = static_cast<T>(w.ln);
  }
  WeightOf<V, Integer<V>> out;
  __builtin_memcpy(&out.m, m, sizeof m);
  __builtin_memcpy(&out.e, e, sizeof e);
  __builtin_memcpy(&out.ln, ln, sizeof ln);
  return out;
}

// The weight exp(x - shift), without mass for x below -2^26; `far` says whether scores lie more than kFar apart.
template <class V>
WFST_INLINE WeightOf<V, Integer<V>> masked_weight(V x, V shift, bool far) {
  const auto used = x >= Element<V>(-kScoreLimit);
  const V used_x = used ? x : shift;
  auto w = far ? split_far_weight(used_x, shift) : split_weight(used_x, shift);
  w.m = used ? w.m : V{};
  return w;
}

// Brings M back into [1, 2) and makes every cell without mass, or too far behind to count, the zero cell.
template <class V>
WFST_INLINE CellOf<V, Integer<V>> normalise(V m, Integer<V> e, V r) {
  using T = Element<V>;
  using Traits = CellTraits<T>;
  const Integer<V> k = (same_bits<Integer<V>>(m) >> Traits::kMantissaBits) - Traits::kBias;
  const Integer<V> new_e = e + k;
  const V down = same_bits<V>((Traits::kBias - k) << Traits::kMantissaBits);
  const auto zero = (m == T(0)) | (new_e < Integer<V>{} + kNoMass);
  const V new_r = down * (r + m * (convert<V>(k) * T(kLn2)));
  return {zero ? V{} : m * down, zero ? splat<Integer<V>>(kNoMass) : new_e, zero ? V{} : new_r};
}

// Adds the cell (m, e, r) to the sums of masses and moments kept at the exponent `to`, to >= e.
template <bool kEntropy, class V>
WFST_INLINE void accumulate(V m, Integer<V> e, V r, Integer<V> to, V* m_sum, V* r_sum) {
  using T = Element<V>;
  const V f = pow2<V>(e - to);
  *m_sum += f * m;
  if (kEntropy) *r_sum += f * (r + m * (convert<V>(to - e) * T(kLn2)));
}

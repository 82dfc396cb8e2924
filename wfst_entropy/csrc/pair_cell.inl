// The arithmetic of pairs of cells: the masses of two models p and q over the same paths, and the moment that gives
// KL(p || q). It is included after cell.inl, in the same namespace and under the same conditions.
//
//   R = sum over paths of (w_p / 2^E_p) * (ln(w_p / 2^E_p) - ln(w_q / 2^E_q))
//
// so that the divergence of the normalised paths is R / M_p - ln M_p + ln M_q. A cell without mass in p has R = 0. Paths
// with mass in p and none in q must have been taken out of p: their R would be infinite.

template <class V, class I>
struct PairCellOf {
  V p;
  I pe;
  V q;
  I qe;
  V r;
};

template <class V>
using PairCell = PairCellOf<V, Integer<V>>;

// Sums at the exponents `to_p` and `to_q`.
template <class V>
struct PairSums {
  V p, q, r;
};

// Adds a cell to sums at exponents that are not below its own.
template <bool kMoment, class V>
WFST_INLINE void accumulate_pair(const PairCell<V>& c, Integer<V> to_p, Integer<V> to_q, PairSums<V>* sums) {
  const Integer<V> by_p = c.pe - to_p, by_q = c.qe - to_q;
  const V f = pow2<V>(by_p);
  sums->p += f * c.p;
  sums->q += pow2<V>(by_q) * c.q;
  if (kMoment) sums->r += f * (c.r + c.p * (convert<V>(by_p - by_q) * Element<V>(kLn2)));
}

// Brings both masses back into [1, 2), as `normalise` does for one.
template <bool kMoment, class V>
WFST_INLINE PairCell<V> normalise_pair(const PairSums<V>& sums, Integer<V> pe, Integer<V> qe) {
  using T = Element<V>;
  using I = Integer<V>;
  using Traits = CellTraits<T>;
  const I kp = (same_bits<I>(sums.p) >> Traits::kMantissaBits) - Traits::kBias;
  const I kq = (same_bits<I>(sums.q) >> Traits::kMantissaBits) - Traits::kBias;
  const V down_p = same_bits<V>((Traits::kBias - kp) << Traits::kMantissaBits);
  const V down_q = same_bits<V>((Traits::kBias - kq) << Traits::kMantissaBits);
  const auto zero_p = (sums.p == T(0)) | (pe + kp < I{} + kNoMass);
  const auto zero_q = (sums.q == T(0)) | (qe + kq < I{} + kNoMass);
  const I nothing = splat<I>(kNoMass);
  PairCell<V> c{zero_p ? V{} : sums.p * down_p, zero_p ? nothing : pe + kp, zero_q ? V{} : sums.q * down_q,
                zero_q ? nothing : qe + kq, V{}};
  if (kMoment) c.r = zero_p ? V{} : down_p * (sums.r + sums.p * (convert<V>(kq - kp) * T(kLn2)));
  return c;
}

// The moment of a cell with mass p and moment r after an arc with the weights (m_p, ln_p) and (m_q, ln_q); `offset` is
// taken off the divergence.
template <class V, class M, class L>
WFST_INLINE V extended_moment(V p, V r, M m_p, L ln_p_less_ln_q, Element<V> offset) {
  return m_p * (r + p * (ln_p_less_ln_q - offset));
}

// A mass of zero must not lead a maximum of exponents.
template <class V>
WFST_INLINE Integer<V> led_exponent(V m, Integer<V> e) {
  return m > Element<V>(0) ? e : splat<Integer<V>>(2 * kNoMass);
}

// Forward times backward cell: all paths through a state, or through an arc.
template <bool kMoment, class V>
WFST_INLINE PairCell<V> pair_product(const PairCell<V>& f, const PairCell<V>& g) {
  const V p = f.p * g.p, q = f.q * g.q;
  PairCell<V> c{p, led_exponent(p, f.pe + g.pe), q, led_exponent(q, f.qe + g.qe), V{}};
  if (kMoment) c.r = f.r * g.p + f.p * g.r;
  return c;
}

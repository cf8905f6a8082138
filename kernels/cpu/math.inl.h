// Elementary functions on sixteen lanes, the same polynomials and the same bits for every
// instruction set. kernels/cpu; see simd.h. Errors in units of the last place, measured by
// tests/kernels/cpu_math_test.cc: Exp 1.03, Softplus 2.7, Sigmoid and Silu 2.8.

namespace rill::RILL_SIMD_NAMESPACE {

// e^x: x = n ln 2 + r with |r| <= ln(2) / 2, then e^r = 1 + r + r^2 p(r), p of degree 5 (relative
// error 1e-9). Below -105 the result is 0, above 89 infinite; NaN stays NaN because the bounds come
// first in Max and Min.
RILL_INLINE Vec Exp(Vec x) {
  x = Min(Set(90.0f), Max(Set(-106.0f), x));
  const Vec magic = Set(12582912.0f);  // 1.5 * 2^23: adding it rounds to a whole number
  const Vec n = Sub(Fma(x, Set(1.44269504f), magic), magic);
  Vec r = Fma(n, Set(-0.693145752f),
              x);  // ln 2 in two parts, the first short enough that n times it is exact
  r = Fma(n, Set(-1.42860677e-6f), r);
  Vec p = Set(1.98412698e-4f);
  p = Fma(p, r, Set(1.38888889e-3f));
  p = Fma(p, r, Set(8.33333333e-3f));
  p = Fma(p, r, Set(4.16666667e-2f));
  p = Fma(p, r, Set(1.66666667e-1f));
  p = Fma(p, r, Set(0.5f));
  const Vec tail = Fma(Mul(r, r), p, r);
  return TimesPow2(Add(Set(1.0f), tail), n);
}

// 1 / (1 + e^-x)
RILL_INLINE Vec Sigmoid(Vec x) { return Div(Set(1.0f), Add(Set(1.0f), Exp(Sub(Zero(), x)))); }

// x / (1 + e^-x)
RILL_INLINE Vec Silu(Vec x) { return Div(x, Add(Set(1.0f), Exp(Sub(Zero(), x)))); }

// log(1 + e^x) = max(x, 0) + log(1 + e), e = e^-|x| <= 1. With z = e / (2 + e) <= 1/3 the logarithm
// is 2 atanh z = 2 z (1 + z^2/3 + z^4/5 + ...): no cancellation at either end, and x itself
// beyond 20.
RILL_INLINE Vec Softplus(Vec x) {
  const Vec minus = Sub(Zero(), x);
  const Vec e = Exp(Min(x, minus));
  const Vec z = Div(e, Add(Set(2.0f), e));
  const Vec s = Mul(z, z);
  Vec p = Set(0.0666666667f);
  p = Fma(p, s, Set(0.0769230769f));
  p = Fma(p, s, Set(0.0909090909f));
  p = Fma(p, s, Set(0.111111111f));
  p = Fma(p, s, Set(0.142857143f));
  p = Fma(p, s, Set(0.2f));
  p = Fma(p, s, Set(0.333333333f));
  const Vec twice = Add(z, z);
  return Add(Max(Zero(), x), Fma(Mul(twice, s), p, twice));
}

RILL_INLINE float ExpOne(float x) {
  float out[16];
  Store(out, Exp(Set(x)));
  return out[0];
}

// sum_k a[k] * b[k]: lane k mod 16, k ascending in each, one fused multiply-add per element, then
// Sum.
RILL_INLINE float Dot(const float* a, const float* b, int64_t n) {
  Vec sum = Zero();
  int64_t k = 0;
  for (; k + 16 <= n; k += 16) sum = Fma(Load(a + k), Load(b + k), sum);
  if (k < n)
    sum = Fma(LoadN(a + k, static_cast<int>(n - k)), LoadN(b + k, static_cast<int>(n - k)), sum);
  return Sum(sum);
}

// A loop over n elements, sixteen at a time; in the last step `lanes` may be fewer.
#define RILL_FOR_LANES(i, lanes, n) \
  for (int64_t i = 0, lanes = 0; i < (n) && (lanes = (n)-i < 16 ? (n)-i : 16); i += 16)

RILL_INLINE Vec LoadSome(const float* p, int64_t lanes) {
  return lanes == 16 ? Load(p) : LoadN(p, static_cast<int>(lanes));
}
RILL_INLINE void StoreSome(float* p, Vec v, int64_t lanes) {
  if (lanes == 16) {
    Store(p, v);
  } else {
    StoreN(p, v, static_cast<int>(lanes));
  }
}

}  // namespace rill::RILL_SIMD_NAMESPACE

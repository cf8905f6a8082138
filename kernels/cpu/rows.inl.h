// Element-wise and row-wise bodies: norms, activations, softmax. kernels/cpu; see simd.h and isa.h.

namespace rill::RILL_SIMD_NAMESPACE {

void AddRow(float* x, const float* y, int64_t n) {
  RILL_FOR_LANES(i, lanes, n)
  StoreSome(x + i, Add(LoadSome(x + i, lanes), LoadSome(y + i, lanes)), lanes);
}

RILL_INLINE float InverseRms(const float* x, float eps, int64_t n) {
  return 1.0f / __builtin_sqrtf(Dot(x, x, n) / static_cast<float>(n) + eps);
}

void RmsNorm(const float* x, const float* weight, float eps, int64_t D, float* out) {
  const Vec inverse = Set(InverseRms(x, eps, D));
  RILL_FOR_LANES(i, lanes, D) {
    StoreSome(out + i, Mul(Mul(LoadSome(x + i, lanes), inverse), LoadSome(weight + i, lanes)),
              lanes);
  }
}

void L2Norm(const float* x, float eps, int64_t K, float* out) {
  const Vec inverse = Set(1.0f / __builtin_sqrtf(Dot(x, x, K) + eps));
  RILL_FOR_LANES(i, lanes, K) StoreSome(out + i, Mul(LoadSome(x + i, lanes), inverse), lanes);
}

void GatedRmsNorm(const float* x, const float* gate, const float* weight, float eps, int64_t V,
                  float* out) {
  const Vec inverse = Set(InverseRms(x, eps, V));
  RILL_FOR_LANES(i, lanes, V) {
    const Vec normed = Mul(Mul(LoadSome(x + i, lanes), inverse), LoadSome(weight + i, lanes));
    StoreSome(out + i, Mul(normed, Sigmoid(LoadSome(gate + i, lanes))), lanes);
  }
}

void Swiglu(const float* gate, const float* up, int64_t n, float* out) {
  RILL_FOR_LANES(i, lanes, n)
  StoreSome(out + i, Mul(Silu(LoadSome(gate + i, lanes)), LoadSome(up + i, lanes)), lanes);
}

void SigmoidRow(const float* x, int64_t n, float* out) {
  RILL_FOR_LANES(i, lanes, n) StoreSome(out + i, Sigmoid(LoadSome(x + i, lanes)), lanes);
}

void KdaDecay(const float* f, const float* dt_bias, float a_log, int64_t K, float* g) {
  const Vec rate = Set(-ExpOne(a_log));
  RILL_FOR_LANES(i, lanes, K) {
    StoreSome(g + i, Mul(rate, Softplus(Add(LoadSome(f + i, lanes), LoadSome(dt_bias + i, lanes)))),
              lanes);
  }
}

float Largest(const float* x, int64_t n) {
  float largest = x[0];
  int64_t i = 0;
  if (n >= 16) {
    Vec lanes = Load(x);
    for (i = 16; i + 16 <= n; i += 16) lanes = Max(Load(x + i), lanes);
    largest = Largest(lanes);
  }
  for (; i < n; ++i) largest = x[i] > largest ? x[i] : largest;
  return largest;
}

// sum_i exp(x[i] - max), max finite. Order as in Dot.
float SumExp(const float* x, float max, int64_t n) {
  const Vec top = Set(max);
  Vec sum = Zero();
  int64_t i = 0;
  for (; i + 16 <= n; i += 16) sum = Add(sum, Exp(Sub(Load(x + i), top)));
  if (i < n) {
    float rest[16];
    for (int64_t j = 0; j < 16; ++j) rest[j] = j < n - i ? x[i + j] - max : -__builtin_inff();
    sum = Add(sum, Exp(Load(rest)));
  }
  return Sum(sum);
}

void Softmax(float* x, int64_t n) {
  const float max = Largest(x, n);
  const Vec total = Set(SumExp(x, max, n));
  RILL_FOR_LANES(i, lanes, n) {
    StoreSome(x + i, Div(Exp(Sub(LoadSome(x + i, lanes), Set(max))), total), lanes);
  }
}

// out[i] (+)= sum_j weights[j] * rows[j][i], j ascending.
void WeightedSum(const float* rows, int64_t n_rows, int64_t stride, const float* weights, int64_t n,
                 bool accumulate, float* out) {
  RILL_FOR_LANES(i, lanes, n) {
    Vec sum = Zero();
    for (int64_t j = 0; j < n_rows; ++j)
      sum = Fma(Set(weights[j]), LoadSome(rows + j * stride + i, lanes), sum);
    if (accumulate) sum = Add(LoadSome(out + i, lanes), sum);
    StoreSome(out + i, sum, lanes);
  }
}

void MlaRow(const float* kv, const float* weight, float eps, int64_t latent, int64_t rope,
            bool bf16, void* row) {
  const Vec inverse = Set(InverseRms(kv, eps, latent));
  const auto store = [&](int64_t i, Vec v, int64_t lanes) {
    if (!bf16) {
      StoreSome(static_cast<float*>(row) + i, v, lanes);
    } else if (lanes == 16) {
      StoreBf16(static_cast<uint16_t*>(row) + i, v);
    } else {
      StoreBf16N(static_cast<uint16_t*>(row) + i, v, static_cast<int>(lanes));
    }
  };
  RILL_FOR_LANES(i, lanes, latent) {
    store(i, Mul(Mul(LoadSome(kv + i, lanes), inverse), LoadSome(weight + i, lanes)), lanes);
  }
  RILL_FOR_LANES(i, lanes, rope) store(latent + i, LoadSome(kv + latent + i, lanes), lanes);
}

}  // namespace rill::RILL_SIMD_NAMESPACE

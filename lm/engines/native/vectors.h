/* Vectors of floats, by GCC's vector extensions (GCC, Clang): AVX-512, AVX2 or NEON are picked by -march=native. */
#pragma once
#include <math.h>
#include <stdint.h>
#include <string.h>
#ifdef __x86_64__
#include <immintrin.h>
#endif

#ifdef __AVX512BW__
enum { LANES = 16 };
#else
enum { LANES = 8 };
#endif

typedef float vf __attribute__((vector_size(LANES * 4), aligned(4), may_alias));
typedef uint32_t vu __attribute__((vector_size(LANES * 4), aligned(4), may_alias));
typedef int32_t vi __attribute__((vector_size(LANES * 4), aligned(4), may_alias));
typedef int16_t vs __attribute__((vector_size(LANES * 2), aligned(2), may_alias));
#define INLINE static inline __attribute__((always_inline))
#define UNROLL _Pragma("GCC unroll 16")

INLINE vf splat(float f) { return f - (vf){0}; }
INLINE vf load(const float *p) { return *(const vf *)p; }
INLINE void store(float *p, vf v) { *(vf *)p = v; }
INLINE vf load_shorts(const int16_t *p) {
#if defined(__AVX512BW__)
    return (vf)_mm512_cvtepi32_ps(_mm512_cvtepi16_epi32(_mm256_loadu_si256((const void *)p)));
#elif defined(__AVX2__)
    return (vf)_mm256_cvtepi32_ps(_mm256_cvtepi16_epi32(_mm_loadu_si128((const void *)p)));
#else
    return __builtin_convertvector(*(const vs *)p, vf);
#endif
}

INLINE void store_shorts(int16_t *p, vi v) {
#if defined(__AVX512BW__)
    _mm256_storeu_si256((void *)p, _mm512_cvtepi32_epi16((__m512i)v));
#else
    *(vs *)p = __builtin_convertvector(v, vs);
#endif
}

static float widen(uint16_t half) { /* finite float16 to float32 */
    union { uint32_t i; float f; } bits = {(half & 0x7FFFu) << 13 | (half & 0x8000u) << 16};
    return bits.f * 0x1p112f;
}

INLINE vf load_halves(const uint16_t *p) {
#if defined(__AVX512BW__)
    return (vf)_mm512_cvtph_ps(_mm256_loadu_si256((const void *)p));
#elif defined(__F16C__)
    return (vf)_mm256_cvtph_ps(_mm_loadu_si128((const void *)p));
#else
    vf v;
    UNROLL for (int i = 0; i < LANES; i++) v[i] = widen(p[i]);
    return v;
#endif
}

INLINE float sum(vf v) {
#if defined(__AVX512BW__)
    return _mm512_reduce_add_ps((__m512)v);
#else
    float s = 0;
    UNROLL for (int i = 0; i < LANES; i++) s += v[i];
    return s;
#endif
}

INLINE float greatest(vf v) {
#if defined(__AVX512BW__)
    return _mm512_reduce_max_ps((__m512)v);
#else
    float most = v[0];
    UNROLL for (int i = 1; i < LANES; i++) most = v[i] > most ? v[i] : most;
    return most;
#endif
}

INLINE int any(vi mask) { /* of lanes that are all ones or all zeros */
#if defined(__AVX512BW__)
    return _mm512_test_epi32_mask((__m512i)mask, (__m512i)mask) != 0;
#elif defined(__AVX2__)
    return _mm256_movemask_ps((__m256)mask) != 0;
#else
    int set = 0;
    UNROLL for (int i = 0; i < LANES; i++) set |= mask[i];
    return set;
#endif
}

INLINE vf choose(vi mask, vf a, vf b) { return (vf)((mask & (vi)a) | (~mask & (vi)b)); }
INLINE vf larger(vf a, vf b) { return choose(a > b, a, b); }
INLINE vf magnitude(vf x) { return (vf)((vi)x & 0x7FFFFFFF); }

/* The nearest integers, for |x| < 2^22. */
INLINE vi nearest(vf x) { return (vi)(x + 12582912.f) - 0x4B400000; }

INLINE vf vexp(vf x) { /* e^x to about 2 ulp on [-87, 88] */
    x = choose(x < -87.f, splat(-87.f), x);
    x = choose(x > 88.f, splat(88.f), x);
    vf shifted = x * 1.44269504f + 12582912.f;
    vf n = shifted - 12582912.f;
    vf r = x - n * 0.693359375f;
    r = r + n * 2.12194440e-4f;
    vf p = splat(1.9875691500e-4f);
    p = p * r + 1.3981999507e-3f;
    p = p * r + 8.3334519073e-3f;
    p = p * r + 4.1665795894e-2f;
    p = p * r + 1.6666665459e-1f;
    p = p * r + 5.0000001201e-1f;
    p = p * r * r + r + 1.f;
    vi power = (((vi)shifted - 0x4B400000) + 127) << 23;
    return p * (vf)power;
}

static float dot(const float *a, const float *b, int n) {
    vf s0 = {0}, s1 = {0};
    int i = 0;
    for (; i + 2 * LANES <= n; i += 2 * LANES) {
        s0 += load(a + i) * load(b + i);
        s1 += load(a + i + LANES) * load(b + i + LANES);
    }
    float s = sum(s0 + s1);
    for (; i < n; i++) s += a[i] * b[i];
    return s;
}

static void axpy(float c, const float *a, float *y, int n) {
    int i = 0;
    for (; i + LANES <= n; i += LANES) store(y + i, load(y + i) + c * load(a + i));
    for (; i < n; i++) y[i] += c * a[i];
}

/* gate = silu(gate) * up; n is a multiple of LANES. */
static void swiglu(float *gate, const float *up, int n) {
    for (int i = 0; i < n; i += LANES) {
        const vf g = load(gate + i);
        store(gate + i, g / (1.f + vexp(-g)) * load(up + i));
    }
}

static void rms_norm(const float *x, const float *weight, float epsilon, int n, float *y) {
    const float scale = 1.f / sqrtf(dot(x, x, n) / n + epsilon);
    int i = 0;
    for (; i + LANES <= n; i += LANES) store(y + i, load(x + i) * scale * load(weight + i));
    for (; i < n; i++) y[i] = x[i] * scale * weight[i];
}

/* A decoder for Llama-style models on CPU, with weights in groups of 32 at 4 or 8 bits and activations in float32, which
 * products take as 16-bit integers with a scale for every 32 of them.
 *
 * One call of tw_forward advances any number of (row, position) tokens through the model. Every output element is
 * accumulated over k in one fixed order, whatever tile computes it and however many tokens share the call, so a row's
 * numbers do not depend on its company: batches, chunked prompts and single runs agree bit for bit.
 *
 * Vectors are GCC vector extensions (GCC, Clang): AVX-512, AVX2 or NEON are picked by -march=native. Threads are OpenMP's;
 * without OpenMP the same code runs on one thread.
 */
#include <math.h>
#include <sched.h>
#include <stdatomic.h>
#include <stdint.h>
#include <string.h>
#ifdef __x86_64__
#include <immintrin.h>
#define PAUSE _mm_pause()
#else
#define PAUSE atomic_signal_fence(memory_order_seq_cst)
#endif
#ifdef _OPENMP
#include <omp.h>
#endif

#ifdef __AVX512BW__
enum { LANES = 16 };
#else
enum { LANES = 8 };
#endif
enum { BLOCK = 16, PER = BLOCK / LANES, GROUP = 32, TILE_ROWS = 6, SPINS = 2000, TARGETS = 4, TRACE = 2 * TARGETS + 2 };
#define MOST_PUSH 10.f /* as in lm/edit.py */

typedef float vf __attribute__((vector_size(LANES * 4), aligned(4), may_alias));
typedef uint32_t vu __attribute__((vector_size(LANES * 4), aligned(4), may_alias));
typedef int32_t vi __attribute__((vector_size(LANES * 4), aligned(4), may_alias));
#define INLINE static inline __attribute__((always_inline))
#define UNROLL _Pragma("GCC unroll 16")

typedef struct { /* activations of a product, see quantize */
    uint32_t *pairs;
    float *grid;
} Quantized;

/* The structures below are mirrored field by field in engine.py. */

typedef struct { /* y = W x: codes [n/16][k/(32/bits)][16] words, grid [n/16][k/32][2][16] = scale, least, float16 */
    const uint32_t *codes;
    const uint16_t *grid;
    const float *bias;
    int32_t n, k, bits, pad;
} Linear;

typedef struct {
    Linear qkv, out, gate_up, down;
    const float *norm_attention, *norm_mlp, *norm_q, *norm_k; /* the last two are null where the family has none */
} Block;

typedef struct {
    const Block *blocks;
    Linear embedding, head;
    const float *norm, *cos, *sin; /* cos, sin: [context][head_width / 2] */
    float epsilon, pad;
    int32_t layers, width, heads, kv_heads, head_width, inner, window, pad2;
} Model;

typedef struct { /* see Edit in lm/edit.py; gram[i][j] = read_i . write_j */
    const float *read, *bias, *write, *goal, *fixed;
    const double *gram;
    const int32_t *sense;
    int32_t layer, count, from, pad;
    float cap, pad2;
} Edit;

typedef struct { /* y += (x A^T) B^T, B stored transposed [rank][n] with the scale folded in */
    const float *a, *bt;
    int32_t rank, offset, n, pad;
} LowRank;

enum { Q, K, V, OUT, GATE, UP, DOWN, MODULES };

typedef struct {
    float *cache; /* [layers][keys, values][kv_heads]: keys [capacity/16][head_width][16], values [capacity][head_width] */
    const Edit *edits;
    const LowRank *adapter; /* [layers][MODULES] or null */
    int32_t capacity, edit_count;
} Row;

typedef struct {
    const int32_t *ids, *positions, *rows; /* [tokens] */
    const Row *row;
    float *x, *h, *qkv, *attention, *gate_up; /* scratch, [tokens][...] */
    Quantized q;                              /* scratch, [max(tokens, wanted)][...] for the widest product */
    float *scores;                            /* [threads][heads per kv head][longest] */
    float *trace;                             /* [tokens][edits_max][TRACE] or null */
    float *const *record;                     /* [tokens] where to copy the output of block record_layer, or null */
    const int32_t *record_layer;
    float *const *pool; /* [tokens] sums over tokens of every block's output [layers][width], or null */
    const int32_t *wanted;
    float *logits; /* [wanted][vocabulary rounded up to 16] */
    int32_t tokens, wanted_count, edits_max, longest, threads, blocks;
} Batch;

INLINE vf splat(float f) { return f - (vf){0}; }
INLINE vf load(const float *p) { return *(const vf *)p; }
INLINE void store(float *p, vf v) { *(vf *)p = v; }
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

INLINE vf choose(vi mask, vf a, vf b) { return (vf)((mask & (vi)a) | (~mask & (vi)b)); }

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

static void rms_norm(const float *x, const float *weight, float epsilon, int n, float *y) {
    float scale = 1.f / sqrtf(dot(x, x, n) / n + epsilon);
    for (int i = 0; i < n; i++) y[i] = x[i] * scale * weight[i];
}

/* ---- matrix products ---- */

/* acc + the products of the two signed 16-bit halves of every lane, summed in 32 bits. */
INLINE vi dot2(vi acc, vu a, vu b) {
#if defined(__AVX512VNNI__)
    return (vi)_mm512_dpwssd_epi32((__m512i)acc, (__m512i)a, (__m512i)b);
#elif defined(__AVX512BW__)
    return acc + (vi)_mm512_madd_epi16((__m512i)a, (__m512i)b);
#elif defined(__AVX2__)
    return acc + (vi)_mm256_madd_epi16((__m256i)a, (__m256i)b);
#else
    return acc + (vi)(a << 16) / 65536 * ((vi)(b << 16) / 65536) + ((vi)a >> 16) * ((vi)b >> 16);
#endif
}

/* x as 16-bit integers in groups of 32, for a product with weights of `bits`: pairs[k/2], two to a word in the order in which
 * the weights' codes come out of theirs, and grid[k/32][2] = scale, scale * sum of the integers. */
static void quantize(const float *x, int k, int bits, uint32_t *pairs, float *grid) {
    const int half = 16 / bits;
    for (int g = 0; g < k / GROUP; g++, x += GROUP, pairs += GROUP / 2, grid += 2) {
        float top = 0;
        for (int i = 0; i < GROUP; i++) top = fabsf(x[i]) > top ? fabsf(x[i]) : top;
        const float inverse = top > 0 ? 32767.f / top : 0;
        int32_t q[GROUP], total = 0;
        for (int i = 0; i < GROUP; i++) q[i] = (int32_t)rintf(x[i] * inverse);
        for (int i = 0; i < GROUP; i++) total += q[i];
        for (int u = 0; u < GROUP / 2 / half; u++)
            for (int i = 0; i < half; i++)
                pairs[u * half + i] = (q[u * 2 * half + i] & 0xFFFF) | (uint32_t)q[u * 2 * half + half + i] << 16;
        grid[0] = top / 32767.f;
        grid[1] = grid[0] * total;
    }
}

/* Rows r < R times B neighbouring blocks of 16 outputs. One function for each size: with sizes fixed the accumulators stay in
 * registers. Within a group the sums are of integers, exact in any order; groups are added in order. */
#define TILE(bits, B, R) \
    static void tile_##bits##_##B##_##R(const Linear *w, int block, const Quantized *x, int row, float *y, int ldy) { \
        enum { HALF = 16 / bits, STEPS = GROUP * bits / 32, COLUMNS = B * PER }; \
        const int words = w->k * bits / 32, groups = w->k / GROUP, ldx = w->k / 2; \
        const uint32_t *codes = w->codes + (size_t)block * words * BLOCK, *pairs = x->pairs + (size_t)row * ldx; \
        const uint16_t *grid = w->grid + (size_t)block * groups * 2 * BLOCK; \
        const float *gx = x->grid + (size_t)row * groups * 2; \
        vf acc[COLUMNS * R]; \
        UNROLL for (int i = 0; i < COLUMNS * R; i++) acc[i] = (vf){0}; \
        for (int g = 0; g < groups; g++) { \
            vi dot[COLUMNS * R]; \
            UNROLL for (int i = 0; i < COLUMNS * R; i++) dot[i] = (vi){0}; \
            UNROLL for (int u = 0; u < STEPS; u++) { \
                vu word[COLUMNS]; \
                UNROLL for (int c = 0; c < COLUMNS; c++) { \
                    const uint32_t *from = codes + ((size_t)(c / PER) * words + g * STEPS + u) * BLOCK + c % PER * LANES; \
                    word[c] = *(const vu *)from; \
                    __builtin_prefetch(from + (size_t)B * words * BLOCK); \
                } \
                UNROLL for (int i = 0; i < HALF; i++) UNROLL for (int r = 0; r < R; r++) { \
                    vu pair = pairs[(size_t)r * ldx + (g * STEPS + u) * HALF + i] - (vu){0}; \
                    UNROLL for (int c = 0; c < COLUMNS; c++) \
                        dot[c * R + r] = dot2(dot[c * R + r], word[c] >> (bits * i) & ((1u << bits) - 1) * 0x10001u, pair); \
                } \
            } \
            UNROLL for (int c = 0; c < COLUMNS; c++) { \
                const uint16_t *p = grid + ((size_t)(c / PER) * groups + g) * 2 * BLOCK + c % PER * LANES; \
                vf scale = load_halves(p), least = load_halves(p + BLOCK); \
                UNROLL for (int r = 0; r < R; r++) { \
                    const float *px = gx + ((size_t)r * groups + g) * 2; \
                    acc[c * R + r] += __builtin_convertvector(dot[c * R + r], vf) * (scale * px[0]); \
                    acc[c * R + r] += least * px[1]; \
                } \
            } \
        } \
        UNROLL for (int c = 0; c < COLUMNS; c++) UNROLL for (int r = 0; r < R; r++) \
            store(y + (size_t)r * ldy + c * LANES, acc[c * R + r]); \
    }
#define TILES(bits) \
    TILE(bits, 4, 1) TILE(bits, 2, 2) TILE(bits, 2, 3) TILE(bits, 2, 4) TILE(bits, 2, 5) TILE(bits, 2, 6) \
    TILE(bits, 1, 1) TILE(bits, 1, 2) TILE(bits, 1, 3) TILE(bits, 1, 4) TILE(bits, 1, 5) TILE(bits, 1, 6)
TILES(4)
TILES(8)

typedef void Tile(const Linear *, int, const Quantized *, int, float *, int);
#define TABLE(bits) { \
    {tile_##bits##_1_1, tile_##bits##_1_2, tile_##bits##_1_3, tile_##bits##_1_4, tile_##bits##_1_5, tile_##bits##_1_6}, \
    {tile_##bits##_4_1, tile_##bits##_2_2, tile_##bits##_2_3, tile_##bits##_2_4, tile_##bits##_2_5, tile_##bits##_2_6}}
static Tile *const tiles[2][2][TILE_ROWS] = {TABLE(4), TABLE(8)}; /* [bits][one block, several][rows - 1] */

/* The blocks of y = W x + bias that belong to thread `me`; y has rows of length ldy >= n rounded up to 16. */
static void product(const Linear *w, int rows, const Quantized *x, float *y, int ldy, int me, int threads) {
    const int blocks = (w->n + BLOCK - 1) / BLOCK;
    const int begin = (int)((int64_t)blocks * me / threads), end = (int)((int64_t)blocks * (me + 1) / threads);
    const int parts = (rows + TILE_ROWS - 1) / TILE_ROWS, wide = rows == 1 ? 4 : 2;
    for (int block = begin; block < end;) {
        const int several = block + wide <= end;
        for (int t = 0; t < parts; t++) {
            int from = (int)((int64_t)rows * t / parts), to = (int)((int64_t)rows * (t + 1) / parts);
            tiles[w->bits / 8][several][to - from - 1](w, block, x, from, y + (size_t)from * ldy + block * BLOCK, ldy);
        }
        block += several ? wide : 1;
    }
    if (w->bias)
        for (int r = 0; r < rows; r++)
            for (int i = begin * BLOCK; i < end * BLOCK && i < w->n; i++) y[(size_t)r * ldy + i] += w->bias[i];
}

static void embed(const Linear *w, int id, float *x) {
    const int per_word = 32 / w->bits, words = w->k / per_word, groups = w->k / GROUP, lane = id % BLOCK;
    const uint32_t *codes = w->codes + (size_t)(id / BLOCK) * words * BLOCK + lane;
    const uint16_t *grid = w->grid + (size_t)(id / BLOCK) * groups * 2 * BLOCK + lane;
    for (int k = 0; k < w->k; k++) {
        uint32_t code = codes[(k / per_word) * BLOCK] >> (w->bits * (k % per_word)) & ((1u << w->bits) - 1);
        const uint16_t *g = grid + (k / GROUP) * 2 * BLOCK;
        x[k] = fmaf((float)code, widen(g[0]), widen(g[BLOCK]));
    }
}

static void low_rank(const LowRank *m, const float *x, int k, float *y) {
    for (int j = 0; j < m->rank; j++) axpy(dot(m->a + (size_t)j * k, x, k), m->bt + (size_t)j * m->n, y + m->offset, m->n);
}

/* ---- attention ---- */

static void rotate(float *x, const float *cos, const float *sin, int half) {
    for (int i = 0; i < half; i++) {
        float a = x[i], b = x[i + half];
        x[i] = a * cos[i] - b * sin[i];
        x[i + half] = b * cos[i] + a * sin[i];
    }
}

static void place(const Model *m, const Block *block, const Batch *b, int layer, int t) {
    const Row *row = &b->row[b->rows[t]];
    const int hw = m->head_width, position = b->positions[t];
    float *qkv = b->qkv + (size_t)t * block->qkv.n;
    const float *cos = m->cos + (size_t)position * (hw / 2), *sin = m->sin + (size_t)position * (hw / 2);
    for (int i = 0; i < m->heads + m->kv_heads; i++) {
        const float *norm = i < m->heads ? block->norm_q : block->norm_k;
        if (norm) rms_norm(qkv + i * hw, norm, m->epsilon, hw, qkv + i * hw);
        rotate(qkv + i * hw, cos, sin, hw / 2);
    }
    const size_t plane = (size_t)row->capacity * hw;
    float *keys = row->cache + (size_t)layer * 2 * m->kv_heads * plane, *values = keys + m->kv_heads * plane;
    const float *k = qkv + m->heads * hw, *v = k + m->kv_heads * hw;
    for (int i = 0; i < m->kv_heads; i++) {
        float *tile = keys + i * plane + (size_t)(position / BLOCK) * BLOCK * hw + position % BLOCK;
        for (int d = 0; d < hw; d++) tile[d * BLOCK] = k[i * hw + d];
        memcpy(values + i * plane + (size_t)position * hw, v + i * hw, hw * sizeof(float));
    }
}

/* out[d] = sum over p of weights[p] * v[p][d], for `wide` vectors of d. */
INLINE void mix(const float *weights, const float *v, int count, int hw, float *out, const int wide) {
    vf sum[wide];
    UNROLL for (int i = 0; i < wide; i++) sum[i] = (vf){0};
    for (int p = 0; p < count; p++)
        UNROLL for (int i = 0; i < wide; i++) sum[i] += weights[p] * load(v + (size_t)p * hw + i * LANES);
    UNROLL for (int i = 0; i < wide; i++) store(out + i * LANES, sum[i]);
}

static void attend(const Model *m, const Batch *b, int layer, int t, int kv, float *scores) {
    const Row *row = &b->row[b->rows[t]];
    const int hw = m->head_width, share = m->heads / m->kv_heads, position = b->positions[t];
    const int from = m->window > 0 && position >= m->window ? position - m->window + 1 : 0;
    const int base = from / BLOCK * BLOCK, count = position + 1 - base, padded = (count + BLOCK - 1) / BLOCK * BLOCK;
    const size_t plane = (size_t)row->capacity * hw;
    const float *k = row->cache + ((size_t)layer * 2 * m->kv_heads + kv) * plane + (size_t)base * hw, *v = k + m->kv_heads * plane;
    const int stride = (m->heads + 2 * m->kv_heads) * hw;
    const float scale = 1.f / sqrtf((float)hw);
    for (int g = 0; g < share; g++) {
        const int head = kv * share + g;
        const float *q = b->qkv + (size_t)t * stride + head * hw;
        float *out = b->attention + ((size_t)t * m->heads + head) * hw;
        for (int p = 0; p < padded; p += LANES) {
            const float *tile = k + (size_t)(p / BLOCK) * BLOCK * hw + p % BLOCK;
            vf part[4] = {{0}, {0}, {0}, {0}};
            for (int d = 0; d < hw; d += 4)
                UNROLL for (int i = 0; i < 4; i++) part[i] += load(tile + (size_t)(d + i) * BLOCK) * q[d + i];
            store(scores + p, ((part[0] + part[1]) + (part[2] + part[3])) * scale);
        }
        for (int p = 0; p < from - base; p++) scores[p] = -INFINITY;
        for (int p = count; p < padded; p++) scores[p] = -INFINITY;
        vf most = splat(-INFINITY), total = {0};
        for (int p = 0; p < padded; p += LANES) most = choose(load(scores + p) > most, load(scores + p), most);
        float top = most[0];
        for (int i = 1; i < LANES; i++) top = most[i] > top ? most[i] : top;
        for (int p = 0; p < padded; p += LANES) {
            vf s = load(scores + p), e = choose(s > -INFINITY, vexp(s - top), (vf){0});
            store(scores + p, e);
            total += e;
        }
        const float inverse = 1.f / sum(total);
        int d = 0;
        for (; d + 4 * LANES <= hw; d += 4 * LANES) mix(scores, v + d, count, hw, out + d, 4);
        for (; d < hw; d += LANES) mix(scores, v + d, count, hw, out + d, 1);
        for (d = 0; d < hw; d++) out[d] *= inverse;
    }
}

/* ---- edits ---- */

static int solve(double *a, double *y, int n) { /* a y' = y in place, partial pivoting; 0 where singular */
    for (int c = 0; c < n; c++) {
        int pivot = c;
        for (int r = c + 1; r < n; r++) if (fabs(a[r * n + c]) > fabs(a[pivot * n + c])) pivot = r;
        if (fabs(a[pivot * n + c]) < 1e-12) return 0;
        for (int j = 0; j < n; j++) { double s = a[c * n + j]; a[c * n + j] = a[pivot * n + j]; a[pivot * n + j] = s; }
        double s = y[c]; y[c] = y[pivot]; y[pivot] = s;
        for (int r = 0; r < n; r++) {
            if (r == c) continue;
            double f = a[r * n + c] / a[c * n + c];
            for (int j = c; j < n; j++) a[r * n + j] -= f * a[c * n + j];
            y[r] -= f * y[c];
        }
    }
    for (int c = 0; c < n; c++) y[c] /= a[c * n + c];
    return 1;
}

/* min sum |eps_j| s.t. sense_i (z_i + sum_j gram_ij eps_j - goal_i) >= 0: an optimum lies at a vertex, where as many
 * constraints are tight as strengths are non-zero; with at most four targets all vertices are tried. */
static int least_write(const Edit *e, const float *z, float *eps) {
    const int n = e->count;
    int free[TARGETS], m = 0, met = 1;
    for (int i = 0; i < n; i++) {
        eps[i] = 0;
        if (e->sense[i]) { free[m++] = i; if (e->sense[i] * (z[i] - e->goal[i]) < 0) met = 0; }
    }
    if (met) return 1;
    double best = INFINITY;
    for (int tight = 1; tight < 1 << m; tight++)
        for (int used = 1; used < 1 << m; used++) {
            const int size = __builtin_popcount(tight);
            if (size != __builtin_popcount(used)) continue;
            double a[TARGETS * TARGETS], y[TARGETS], trial[TARGETS] = {0}, cost = 0;
            int r = 0;
            for (int i = 0; i < m; i++) {
                if (!(tight >> i & 1)) continue;
                int c = 0;
                for (int j = 0; j < m; j++) if (used >> j & 1) a[r * size + c++] = e->gram[free[i] * n + free[j]];
                y[r++] = (double)e->goal[free[i]] - z[free[i]];
            }
            if (!solve(a, y, size)) continue;
            for (int j = 0, c = 0; j < m; j++) if (used >> j & 1) { trial[free[j]] = y[c++]; cost += fabs(y[c - 1]); }
            if (!(cost < best)) continue;
            int ok = 1;
            for (int i = 0; i < m && ok; i++) {
                double after = z[free[i]];
                for (int j = 0; j < n; j++) after += e->gram[free[i] * n + j] * trial[j];
                ok = e->sense[free[i]] * (after - e->goal[free[i]]) >= -1e-4 * (1 + fabs(e->goal[free[i]]));
            }
            if (!ok) continue;
            best = cost;
            for (int j = 0; j < n; j++) eps[j] = trial[j];
        }
    return best < INFINITY;
}

static void apply(const Edit *e, float *x, int width, int position, float *trace) {
    float z[TARGETS] = {0}, eps[TARGETS] = {0}, flag = 0;
    const float norm = sqrtf(dot(x, x, width));
    for (int i = 0; i < e->count; i++) z[i] = dot(e->read + (size_t)i * width, x, width) + e->bias[i];
    if (position >= e->from) {
        if (e->fixed) memcpy(eps, e->fixed, e->count * sizeof(float));
        else if (!least_write(e, z, eps)) flag = 2;
        float write[width];
        int any = 0;
        memset(write, 0, sizeof write);
        for (int i = 0; i < e->count; i++) if (eps[i] != 0) { axpy(eps[i], e->write + (size_t)i * width, write, width); any = 1; }
        if (any) {
            float size = sqrtf(dot(write, write, width)), scale = 1;
            if (e->cap > 0 && size > e->cap * norm) { scale = e->cap * norm / size; flag = 1; }
            if (!e->fixed && !e->cap && e->count > 1 && size > MOST_PUSH * norm) { scale = 0; flag = 2; }
            for (int i = 0; i < e->count; i++) eps[i] *= scale;
            if (scale) axpy(scale, write, x, width);
        }
    }
    if (trace) {
        memcpy(trace, z, sizeof z);
        memcpy(trace + TARGETS, eps, sizeof eps);
        trace[2 * TARGETS] = norm;
        trace[2 * TARGETS + 1] = flag;
    }
}

/* ---- the pass ---- */

INLINE void adapt(const Batch *b, int layer, int t, int module, const float *x, int k, float *y) {
    const LowRank *adapter = b->row[b->rows[t]].adapter;
    if (adapter && adapter[layer * MODULES + module].rank) low_rank(&adapter[layer * MODULES + module], x, k, y);
}

/* Row `row` of what `w` is to be multiplied by. */
INLINE void feed(const Batch *b, const Linear *w, int row, const float *x) {
    quantize(x, w->k, w->bits, b->q.pairs + (size_t)row * (w->k / 2), b->q.grid + (size_t)row * (w->k / GROUP) * 2);
}

/* Where threads wait for one another, some 240 times a token: OpenMP's own barrier sleeps as soon as the process has more
 * OpenMP threads than processors (PyTorch's count), and waking costs more than the work in between. */
typedef struct { _Atomic int arrived, turn; } Meeting;

static void meet(Meeting *meeting, int threads) {
    const int turn = atomic_load(&meeting->turn);
    if (atomic_fetch_add(&meeting->arrived, 1) == threads - 1) {
        atomic_store(&meeting->arrived, 0);
        atomic_store(&meeting->turn, turn + 1);
        return;
    }
    for (int spins = 0; atomic_load_explicit(&meeting->turn, memory_order_acquire) == turn;)
        if (spins < SPINS) spins++, PAUSE;
        else sched_yield();
}

#define BARRIER meet(meeting, threads);
#define MINE(t) for (int t = me; t < n; t += threads)

static void block_forward(const Model *m, const Batch *b, int layer, int me, int threads, Meeting *meeting, float *scores) {
    const Block *block = &m->blocks[layer];
    const int n = b->tokens, width = m->width, q_width = m->heads * m->head_width;
    MINE(t) {
        rms_norm(b->x + (size_t)t * width, block->norm_attention, m->epsilon, width, b->h + (size_t)t * width);
        feed(b, &block->qkv, t, b->h + (size_t)t * width);
    }
    BARRIER
    product(&block->qkv, n, &b->q, b->qkv, block->qkv.n, me, threads);
    BARRIER
    MINE(t) {
        float *qkv = b->qkv + (size_t)t * block->qkv.n;
        const float *h = b->h + (size_t)t * width;
        adapt(b, layer, t, Q, h, width, qkv);
        adapt(b, layer, t, K, h, width, qkv);
        adapt(b, layer, t, V, h, width, qkv);
        place(m, block, b, layer, t);
    }
    BARRIER
    for (int i = me; i < n * m->kv_heads; i += threads) attend(m, b, layer, i / m->kv_heads, i % m->kv_heads, scores);
    BARRIER
    MINE(t) feed(b, &block->out, t, b->attention + (size_t)t * q_width);
    BARRIER
    product(&block->out, n, &b->q, b->h, width, me, threads);
    BARRIER
    MINE(t) {
        float *x = b->x + (size_t)t * width, *h = b->h + (size_t)t * width;
        adapt(b, layer, t, OUT, b->attention + (size_t)t * q_width, q_width, h);
        axpy(1, h, x, width);
        rms_norm(x, block->norm_mlp, m->epsilon, width, h);
        feed(b, &block->gate_up, t, h);
    }
    BARRIER
    product(&block->gate_up, n, &b->q, b->gate_up, 2 * m->inner, me, threads);
    BARRIER
    MINE(t) {
        float *gate = b->gate_up + (size_t)t * 2 * m->inner, *up = gate + m->inner;
        adapt(b, layer, t, GATE, b->h + (size_t)t * width, width, gate);
        adapt(b, layer, t, UP, b->h + (size_t)t * width, width, gate);
        for (int i = 0; i < m->inner; i += LANES) {
            vf g = load(gate + i);
            store(gate + i, g / (1.f + vexp(-g)) * load(up + i));
        }
        feed(b, &block->down, t, gate);
    }
    BARRIER
    product(&block->down, n, &b->q, b->h, width, me, threads);
    BARRIER
    MINE(t) {
        const Row *row = &b->row[b->rows[t]];
        float *x = b->x + (size_t)t * width, *h = b->h + (size_t)t * width;
        adapt(b, layer, t, DOWN, b->gate_up + (size_t)t * 2 * m->inner, m->inner, h);
        axpy(1, h, x, width);
        for (int i = 0; i < row->edit_count; i++)
            if (row->edits[i].layer == layer)
                apply(&row->edits[i], x, width, b->positions[t], b->trace ? b->trace + ((size_t)t * b->edits_max + i) * TRACE : 0);
        if (b->record && b->record[t] && b->record_layer[t] == layer) memcpy(b->record[t], x, width * sizeof(float));
    }
    if (!b->pool) return;
    BARRIER
    const int from = (int)((int64_t)width * me / threads), to = (int)((int64_t)width * (me + 1) / threads);
    for (int t = 0; t < n; t++)
        if (b->pool[t]) axpy(1, b->x + (size_t)t * width + from, b->pool[t] + (size_t)layer * width + from, to - from);
}

void tw_forward(const Model *m, const Batch *b) {
    const int n = b->tokens, width = m->width;
    Meeting shared = {0}, *meeting = &shared;
#pragma omp parallel num_threads(b->threads)
    {
#ifdef _OPENMP
        const int me = omp_get_thread_num(), threads = omp_get_num_threads();
#else
        const int me = 0, threads = 1;
#endif
        float *scores = b->scores + (size_t)me * b->longest;
        MINE(t) embed(&m->embedding, b->ids[t], b->x + (size_t)t * width);
        for (int layer = 0; layer < b->blocks; layer++) block_forward(m, b, layer, me, threads, meeting, scores);
        BARRIER
        for (int i = me; i < b->wanted_count; i += threads) {
            rms_norm(b->x + (size_t)b->wanted[i] * width, m->norm, m->epsilon, width, b->h + (size_t)i * width);
            feed(b, &m->head, i, b->h + (size_t)i * width);
        }
        BARRIER
        product(&m->head, b->wanted_count, &b->q, b->logits, (m->head.n + BLOCK - 1) / BLOCK * BLOCK, me, threads);
    }
}

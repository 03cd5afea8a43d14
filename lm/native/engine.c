/* A decoder for Llama-style models on CPU, with weights in groups of 32 at 4 or 8 bits and activations in float32.
 *
 * One call of tw_forward advances any number of (row, position) tokens through the model. Every output element is
 * accumulated over k in one fixed order, whatever tile computes it and however many tokens share the call, so a row's
 * numbers do not depend on its company: batches, chunked prompts and single runs agree bit for bit.
 *
 * Vectors are GCC vector extensions (GCC, Clang): AVX-512, AVX2 or NEON are picked by -march=native. Threads are OpenMP's;
 * without OpenMP the same code runs on one thread.
 */
#include <math.h>
#include <stdint.h>
#include <string.h>
#ifdef _OPENMP
#include <omp.h>
#endif

#ifdef __AVX512F__
enum { LANES = 16, TILE = 12, PAIR_ROWS = 4 };
#else
enum { LANES = 8, TILE = 6, PAIR_ROWS = 2 };
#endif
enum { BLOCK = 16, PER = BLOCK / LANES, GROUP = 32, PANEL = 256, CODES_MOST = 4, TARGETS = 4, TRACE = 2 * TARGETS + 2 };

typedef float vf __attribute__((vector_size(LANES * 4), aligned(4), may_alias));
typedef uint32_t vu __attribute__((vector_size(LANES * 4), aligned(4), may_alias));
typedef int32_t vi __attribute__((vector_size(LANES * 4), aligned(4), may_alias));
#define INLINE static inline __attribute__((always_inline))
#define UNROLL _Pragma("GCC unroll 16")

/* The structures below are mirrored field by field in engine.py. */

typedef struct { /* y = W x: codes [n/16][k/(32/bits)][16] words, grid [n/16][k/32][2][16] = scale, offset */
    const uint32_t *codes;
    const float *grid, *bias;
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
    const float *read, *bias, *write, *goal, *fixed, *gram;
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
    float *cache; /* [layers][2][kv_heads][capacity][head_width] */
    const Edit *edits;
    const LowRank *adapter; /* [layers][MODULES] or null */
    int32_t capacity, edit_count;
} Row;

typedef struct {
    const int32_t *ids, *positions, *rows; /* [tokens] */
    const Row *row;
    float *x, *h, *qkv, *attention, *gate_up; /* scratch, [tokens][...] */
    float *panel;                             /* [threads][PANEL * BLOCK] */
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
INLINE float sum(vf v) {
    float s = 0;
    UNROLL for (int i = 0; i < LANES; i++) s += v[i];
    return s;
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

/* A code's bits are shifted into the top of a mantissa: 1 + code / 2^bits, then scaled and offset to the weight. */
INLINE vf decode(vu word, int i, int bits, vf scale, vf offset) {
    const int top = 23 - bits, at = bits * i;
    const uint32_t mask = ((1u << bits) - 1) << top;
    vu code = at > top ? word >> (at - top) : word << (top - at);
    return (vf)((code & mask) | 0x3F800000u) * scale + offset;
}

/* Rows r < R times B neighbouring blocks of 16 outputs, straight from the codes. One function for each size: with sizes
 * fixed the accumulators stay in registers. */
#define TILE_CODES(bits, B, R) \
    static void tile_codes_##bits##_##B##_##R(const Linear *w, int block, const float *x, int ldx, float *y, int ldy) { \
        enum { PER_WORD = 32 / bits, STEPS = GROUP / PER_WORD, COLUMNS = B * PER }; \
        const int words = w->k / PER_WORD, groups = w->k / GROUP; \
        const uint32_t *codes = w->codes + (size_t)block * words * BLOCK; \
        const float *grid = w->grid + (size_t)block * groups * 2 * BLOCK; \
        vf acc[COLUMNS * R]; \
        UNROLL for (int i = 0; i < COLUMNS * R; i++) acc[i] = (vf){0}; \
        for (int g = 0; g < groups; g++) { \
            vf scale[COLUMNS], offset[COLUMNS]; \
            UNROLL for (int c = 0; c < COLUMNS; c++) { \
                const float *p = grid + ((size_t)(c / PER) * groups + g) * 2 * BLOCK + c % PER * LANES; \
                scale[c] = load(p); \
                offset[c] = load(p + BLOCK); \
            } \
            for (int u = 0; u < STEPS; u++) { \
                const float *xk = x + g * GROUP + u * PER_WORD; \
                vu word[COLUMNS]; \
                UNROLL for (int c = 0; c < COLUMNS; c++) \
                    word[c] = *(const vu *)(codes + ((size_t)(c / PER) * words + g * STEPS + u) * BLOCK + c % PER * LANES); \
                UNROLL for (int i = 0; i < PER_WORD; i++) UNROLL for (int c = 0; c < COLUMNS; c++) { \
                    vf weight = decode(word[c], i, bits, scale[c], offset[c]); \
                    UNROLL for (int r = 0; r < R; r++) acc[c * R + r] += weight * xk[(size_t)r * ldx + i]; \
                } \
            } \
        } \
        UNROLL for (int c = 0; c < COLUMNS; c++) UNROLL for (int r = 0; r < R; r++) \
            store(y + (size_t)r * ldy + c * LANES, acc[c * R + r]); \
    }
#define TILES_CODES(bits) \
    TILE_CODES(bits, 1, 1) TILE_CODES(bits, 1, 2) TILE_CODES(bits, 1, 3) TILE_CODES(bits, 1, 4) \
    TILE_CODES(bits, 2, 1) TILE_CODES(bits, 2, 2) TILE_CODES(bits, 2, 3) TILE_CODES(bits, 2, 4)
TILES_CODES(4)
TILES_CODES(8)

/* Decoded weights of one block for k in [k0, k0 + count): panel[k][16]. */
INLINE void decode_panel(const Linear *w, int bits, int block, int k0, int count, float *panel) {
    const int per_word = 32 / bits, words = w->k / per_word, groups = w->k / GROUP;
    const uint32_t *codes = w->codes + ((size_t)block * words + k0 / per_word) * BLOCK;
    const float *grid = w->grid + ((size_t)block * groups + k0 / GROUP) * 2 * BLOCK;
    for (int g = 0; g < count / GROUP; g++)
        for (int v = 0; v < PER; v++) {
            vf scale = load(grid + g * 2 * BLOCK + v * LANES), offset = load(grid + g * 2 * BLOCK + BLOCK + v * LANES);
            for (int u = 0; u < GROUP / per_word; u++) {
                vu word = *(const vu *)(codes + (g * (GROUP / per_word) + u) * BLOCK + v * LANES);
                UNROLL for (int i = 0; i < per_word; i++)
                    store(panel + (g * GROUP + u * per_word + i) * BLOCK + v * LANES, decode(word, i, bits, scale, offset));
            }
        }
}

#define TILE_PANEL(R) \
    static void tile_panel_##R(const float *panel, int count, const float *x, int ldx, float *y, int ldy, int first) { \
        vf acc[R * PER]; \
        UNROLL for (int i = 0; i < R * PER; i++) acc[i] = first ? (vf){0} : load(y + (size_t)(i / PER) * ldy + i % PER * LANES); \
        for (int k = 0; k < count; k++) { \
            vf weight[PER]; \
            UNROLL for (int v = 0; v < PER; v++) weight[v] = load(panel + k * BLOCK + v * LANES); \
            UNROLL for (int i = 0; i < R * PER; i++) acc[i] += weight[i % PER] * x[(size_t)(i / PER) * ldx + k]; \
        } \
        UNROLL for (int i = 0; i < R * PER; i++) store(y + (size_t)(i / PER) * ldy + i % PER * LANES, acc[i]); \
    }
TILE_PANEL(1) TILE_PANEL(2) TILE_PANEL(3) TILE_PANEL(4) TILE_PANEL(5) TILE_PANEL(6)
#if defined(__AVX512F__)
TILE_PANEL(7) TILE_PANEL(8) TILE_PANEL(9) TILE_PANEL(10) TILE_PANEL(11) TILE_PANEL(12)
#endif

static void panel_rows(int rows, const float *panel, int count, const float *x, int ldx, float *y, int ldy, int first) {
    switch (rows) {
#define CASE(R) case R: tile_panel_##R(panel, count, x, ldx, y, ldy, first); break;
        CASE(1) CASE(2) CASE(3) CASE(4) CASE(5) CASE(6)
#if defined(__AVX512F__)
        CASE(7) CASE(8) CASE(9) CASE(10) CASE(11) CASE(12)
#endif
    }
}

#define CODES_ROWS(bits, B) \
    switch (rows) { \
        case 1: tile_codes_##bits##_##B##_1(w, block, x, ldx, y + block * BLOCK, ldy); break; \
        case 2: tile_codes_##bits##_##B##_2(w, block, x, ldx, y + block * BLOCK, ldy); break; \
        case 3: tile_codes_##bits##_##B##_3(w, block, x, ldx, y + block * BLOCK, ldy); break; \
        default: tile_codes_##bits##_##B##_4(w, block, x, ldx, y + block * BLOCK, ldy); \
    }

static void product_codes(const Linear *w, int rows, const float *x, int ldx, float *y, int ldy, int begin, int end) {
    int block = begin;
    const int pairs = rows <= PAIR_ROWS ? end - 1 : begin;
    if (w->bits == 4) {
        for (; block < pairs; block += 2) CODES_ROWS(4, 2)
        for (; block < end; block++) CODES_ROWS(4, 1)
    } else {
        for (; block < pairs; block += 2) CODES_ROWS(8, 2)
        for (; block < end; block++) CODES_ROWS(8, 1)
    }
}

static void product_panels(const Linear *w, int rows, const float *x, int ldx, float *y, int ldy, int begin, int end, float *panel) {
    const int tiles = (rows + TILE - 1) / TILE;
    for (int block = begin; block < end; block++)
        for (int k = 0; k < w->k; k += PANEL) {
            int count = w->k - k < PANEL ? w->k - k : PANEL;
            if (w->bits == 4) decode_panel(w, 4, block, k, count, panel);
            else decode_panel(w, 8, block, k, count, panel);
            for (int t = 0; t < tiles; t++) {
                int from = (int)((int64_t)rows * t / tiles), to = (int)((int64_t)rows * (t + 1) / tiles);
                panel_rows(to - from, panel, count, x + (size_t)from * ldx + k, ldx, y + (size_t)from * ldy + block * BLOCK, ldy, k == 0);
            }
        }
}

/* The blocks of y = W x + bias that belong to thread `me`; y has rows of length ldy >= n rounded up to 16. */
static void product(const Linear *w, int rows, const float *x, int ldx, float *y, int ldy, int me, int threads, float *panel) {
    const int blocks = (w->n + BLOCK - 1) / BLOCK;
    const int begin = (int)((int64_t)blocks * me / threads), end = (int)((int64_t)blocks * (me + 1) / threads);
    if (rows <= CODES_MOST) product_codes(w, rows, x, ldx, y, ldy, begin, end);
    else product_panels(w, rows, x, ldx, y, ldy, begin, end, panel);
    if (w->bias)
        for (int r = 0; r < rows; r++)
            for (int i = begin * BLOCK; i < end * BLOCK && i < w->n; i++) y[(size_t)r * ldy + i] += w->bias[i];
}

static void embed(const Linear *w, int id, float *x) {
    const int per_word = 32 / w->bits, words = w->k / per_word, groups = w->k / GROUP, lane = id % BLOCK;
    const uint32_t *codes = w->codes + (size_t)(id / BLOCK) * words * BLOCK + lane;
    const float *grid = w->grid + (size_t)(id / BLOCK) * groups * 2 * BLOCK + lane;
    const uint32_t mask = (1u << w->bits) - 1;
    for (int k = 0; k < w->k; k++) {
        uint32_t code = (codes[(k / per_word) * BLOCK] >> (w->bits * (k % per_word))) & mask;
        const float *g = grid + (k / GROUP) * 2 * BLOCK;
        x[k] = fmaf(1.f + (float)code / (float)(mask + 1), g[0], g[BLOCK]);
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
    float *cache = row->cache + (size_t)layer * 2 * m->kv_heads * plane + (size_t)position * hw;
    const float *k = qkv + m->heads * hw, *v = k + m->kv_heads * hw;
    for (int i = 0; i < m->kv_heads; i++) {
        memcpy(cache + i * plane, k + i * hw, hw * sizeof(float));
        memcpy(cache + (m->kv_heads + i) * plane, v + i * hw, hw * sizeof(float));
    }
}

static void attend(const Model *m, const Batch *b, int layer, int t, int kv, float *scores) {
    const Row *row = &b->row[b->rows[t]];
    const int hw = m->head_width, share = m->heads / m->kv_heads, position = b->positions[t];
    const int from = m->window > 0 && position >= m->window ? position - m->window + 1 : 0, count = position + 1 - from;
    const size_t plane = (size_t)row->capacity * hw;
    const float *k = row->cache + ((size_t)layer * 2 * m->kv_heads + kv) * plane + (size_t)from * hw, *v = k + m->kv_heads * plane;
    const int stride = (m->heads + 2 * m->kv_heads) * hw;
    const float scale = 1.f / sqrtf((float)hw);
    for (int g = 0; g < share; g++) {
        const int head = kv * share + g;
        const float *q = b->qkv + (size_t)t * stride + head * hw;
        float *out = b->attention + ((size_t)t * m->heads + head) * hw;
        float top = -INFINITY;
        for (int p = 0; p < count; p++) {
            scores[p] = dot(q, k + (size_t)p * hw, hw) * scale;
            if (scores[p] > top) top = scores[p];
        }
        for (int p = count; p % LANES; p++) scores[p] = -INFINITY;
        vf total = {0};
        for (int p = 0; p < count; p += LANES) {
            vf e = vexp(load(scores + p) - top);
            UNROLL for (int i = 0; i < LANES; i++) if (p + i >= count) e[i] = 0;
            store(scores + p, e);
            total += e;
        }
        const float inverse = 1.f / sum(total);
        memset(out, 0, hw * sizeof(float));
        for (int p = 0; p < count; p++) axpy(scores[p] * inverse, v + (size_t)p * hw, out, hw);
    }
}

/* ---- edits ---- */

static int solve(float *a, float *y, int n) { /* a y' = y in place, partial pivoting; 0 where singular */
    for (int c = 0; c < n; c++) {
        int pivot = c;
        for (int r = c + 1; r < n; r++) if (fabsf(a[r * n + c]) > fabsf(a[pivot * n + c])) pivot = r;
        if (fabsf(a[pivot * n + c]) < 1e-12f) return 0;
        for (int j = 0; j < n; j++) { float s = a[c * n + j]; a[c * n + j] = a[pivot * n + j]; a[pivot * n + j] = s; }
        float s = y[c]; y[c] = y[pivot]; y[pivot] = s;
        for (int r = 0; r < n; r++) {
            if (r == c) continue;
            float f = a[r * n + c] / a[c * n + c];
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
    float best = INFINITY;
    for (int tight = 1; tight < 1 << m; tight++)
        for (int used = 1; used < 1 << m; used++) {
            const int size = __builtin_popcount(tight);
            if (size != __builtin_popcount(used)) continue;
            float a[TARGETS * TARGETS], y[TARGETS], trial[TARGETS] = {0}, cost = 0;
            int r = 0;
            for (int i = 0; i < m; i++) {
                if (!(tight >> i & 1)) continue;
                int c = 0;
                for (int j = 0; j < m; j++) if (used >> j & 1) a[r * size + c++] = e->gram[free[i] * n + free[j]];
                y[r++] = e->goal[free[i]] - z[free[i]];
            }
            if (!solve(a, y, size)) continue;
            for (int j = 0, c = 0; j < m; j++) if (used >> j & 1) { trial[free[j]] = y[c++]; cost += fabsf(y[c - 1]); }
            if (!(cost < best)) continue;
            int ok = 1;
            for (int i = 0; i < m && ok; i++) {
                float after = z[free[i]];
                for (int j = 0; j < n; j++) after += e->gram[free[i] * n + j] * trial[j];
                ok = e->sense[free[i]] * (after - e->goal[free[i]]) >= -1e-4f * (1.f + fabsf(e->goal[free[i]]));
            }
            if (ok) { best = cost; memcpy(eps, trial, n * sizeof(float)); }
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
            for (int i = 0; i < e->count; i++) eps[i] *= scale;
            axpy(scale, write, x, width);
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

#define BARRIER _Pragma("omp barrier")
#define MINE(t) for (int t = me; t < n; t += threads)

static void block_forward(const Model *m, const Batch *b, int layer, int me, int threads, float *panel, float *scores) {
    const Block *block = &m->blocks[layer];
    const int n = b->tokens, width = m->width, q_width = m->heads * m->head_width;
    MINE(t) rms_norm(b->x + (size_t)t * width, block->norm_attention, m->epsilon, width, b->h + (size_t)t * width);
    BARRIER
    product(&block->qkv, n, b->h, width, b->qkv, block->qkv.n, me, threads, panel);
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
    product(&block->out, n, b->attention, q_width, b->h, width, me, threads, panel);
    BARRIER
    MINE(t) {
        float *x = b->x + (size_t)t * width, *h = b->h + (size_t)t * width;
        adapt(b, layer, t, OUT, b->attention + (size_t)t * q_width, q_width, h);
        axpy(1, h, x, width);
        rms_norm(x, block->norm_mlp, m->epsilon, width, h);
    }
    BARRIER
    product(&block->gate_up, n, b->h, width, b->gate_up, 2 * m->inner, me, threads, panel);
    BARRIER
    MINE(t) {
        float *gate = b->gate_up + (size_t)t * 2 * m->inner, *up = gate + m->inner;
        adapt(b, layer, t, GATE, b->h + (size_t)t * width, width, gate);
        adapt(b, layer, t, UP, b->h + (size_t)t * width, width, gate);
        for (int i = 0; i < m->inner; i += LANES) {
            vf g = load(gate + i);
            store(gate + i, g / (1.f + vexp(-g)) * load(up + i));
        }
    }
    BARRIER
    product(&block->down, n, b->gate_up, 2 * m->inner, b->h, width, me, threads, panel);
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
#pragma omp parallel num_threads(b->threads)
    {
#ifdef _OPENMP
        const int me = omp_get_thread_num(), threads = omp_get_num_threads();
#else
        const int me = 0, threads = 1;
#endif
        float *panel = b->panel + (size_t)me * PANEL * BLOCK, *scores = b->scores + (size_t)me * b->longest;
        MINE(t) embed(&m->embedding, b->ids[t], b->x + (size_t)t * width);
        for (int layer = 0; layer < b->blocks; layer++) block_forward(m, b, layer, me, threads, panel, scores);
        BARRIER
        for (int i = me; i < b->wanted_count; i += threads)
            rms_norm(b->x + (size_t)b->wanted[i] * width, m->norm, m->epsilon, width, b->h + (size_t)i * width);
        BARRIER
        if (b->wanted_count) product(&m->head, b->wanted_count, b->h, width, b->logits, (m->head.n + BLOCK - 1) / BLOCK * BLOCK, me, threads, panel);
    }
}

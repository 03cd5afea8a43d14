/* Attention over a row's cache. Keys and values are 16-bit integers with a scale for each head's vector, which halves
 * what a step reads of them and loses less than 2^-15 of the vector's largest number. */
#pragma once
#include "model.h"
#include "matmul.h"

static void rope(float *restrict x, const float *restrict cos, const float *restrict sin, int half) {
    float *restrict y = x + half;
    for (int i = 0; i < half; i++) {
        const float a = x[i], b = y[i];
        x[i] = a * cos[i] - b * sin[i];
        y[i] = b * cos[i] + a * sin[i];
    }
}

/* out[i * stride] = x[i] / scale in whole numbers; returns scale. */
INLINE float quantize_vector(const float *x, int n, int16_t *out, const int stride) {
    vf most = magnitude(load(x));
    for (int i = LANES; i < n; i += LANES) most = larger(magnitude(load(x + i)), most);
    const float top = greatest(most), inverse = top > 0 ? 32767.f / top : 0;
    for (int i = 0; i < n; i += LANES) {
        int16_t q[LANES];
        store_shorts(stride == 1 ? out + i : q, nearest(load(x + i) * inverse));
        if (stride > 1) UNROLL for (int j = 0; j < LANES; j++) out[(i + j) * stride] = q[j];
    }
    return top / 32767.f;
}

static void write_kv_cache(const Model *m, const Layer *l, const Batch *b, int layer, int t) {
    const Row *row = &b->row[b->rows[t]];
    const int hw = m->head_width, position = b->positions[t];
    float *qkv = b->qkv + (size_t)t * l->qkv.n;
    const float *cos = m->cos + (size_t)position * (hw / 2), *sin = m->sin + (size_t)position * (hw / 2);
    for (int i = 0; i < m->heads + m->kv_heads; i++) {
        const float *norm = i < m->heads ? l->norm_q : l->norm_k;
        if (norm) rms_norm(qkv + i * hw, norm, m->epsilon, hw, qkv + i * hw);
        rope(qkv + i * hw, cos, sin, hw / 2);
    }
    const float *k = qkv + m->heads * hw, *v = k + m->kv_heads * hw;
    for (int i = 0; i < m->kv_heads; i++) {
        const size_t keys = ((size_t)layer * 2 * m->kv_heads + i) * row->capacity, values = keys + (size_t)m->kv_heads * row->capacity;
        int16_t *tile = row->cache + (keys + position / BLOCK * BLOCK) * hw + position % BLOCK;
        row->scales[keys + position] = quantize_vector(k + i * hw, hw, tile, BLOCK);
        row->scales[values + position] = quantize_vector(v + i * hw, hw, row->cache + (values + position) * hw, 1);
    }
}

/* out[h][d] = sum over p of weights[h][p] * v[p][d], for `wide` vectors of d. */
INLINE void weighted_values(const float *weights, int longest, const int16_t *v, const int16_t *next, int count, int hw, float *out, const int heads,
                const int wide) {
    vf sum[heads * wide];
    UNROLL for (int i = 0; i < heads * wide; i++) sum[i] = (vf){0};
    for (int first = 0; first < count; first += BLOCK) {
        for (int i = 0; i < BLOCK * hw; i += 32) __builtin_prefetch(next + (size_t)first * hw + i);
        for (int p = first; p < first + BLOCK && p < count; p++)
            UNROLL for (int i = 0; i < wide; i++) {
                vf value = load_shorts(v + (size_t)p * hw + i * LANES);
                UNROLL for (int h = 0; h < heads; h++) sum[h * wide + i] += weights[(size_t)h * longest + p] * value;
            }
    }
    UNROLL for (int h = 0; h < heads; h++) UNROLL for (int i = 0; i < wide; i++) store(out + h * hw + i * LANES, sum[h * wide + i]);
}

/* softmax(s) of positions from, ..., count - 1, times each value's scale; `padded` is a multiple of LANES. */
static void softmax(float *s, const float *scales, int from, int count, int padded) {
    for (int p = 0; p < from; p++) s[p] = -INFINITY;
    for (int p = count; p < padded; p++) s[p] = -INFINITY;
    vf most = load(s), total = {0};
    for (int p = LANES; p < padded; p += LANES) most = larger(load(s + p), most);
    const float top = greatest(most);
    for (int p = 0; p < padded; p += LANES) {
        vf x = load(s + p), e = choose(x > -INFINITY, vexp(x - top), (vf){0});
        store(s + p, e);
        total += e;
    }
    const float inverse = 1.f / sum(total);
    int p = 0;
    for (; p + LANES <= count; p += LANES) store(s + p, load(s + p) * inverse * load(scales + p));
    for (; p < count; p++) s[p] *= inverse * scales[p];
}

/* What a token attends to of one layer's keys and values: positions [from, count) after `base`, which begins a tile. */
typedef struct {
    const int16_t *k, *v;
    const float *k_scales, *v_scales;
    int from, count;
} Keys;

static Keys keys_of(const Model *m, const Batch *b, int layer, int t, int kv) {
    const Row *row = &b->row[b->rows[t]];
    const int position = b->positions[t], first = m->window > 0 && position >= m->window ? position - m->window + 1 : 0;
    const int base = first / BLOCK * BLOCK;
    const size_t keys = ((size_t)layer * 2 * m->kv_heads + kv) * row->capacity + base, values = keys + (size_t)m->kv_heads * row->capacity;
    return (Keys){row->cache + keys * m->head_width, row->cache + values * m->head_width, row->scales + keys, row->scales + values,
                  first - base, position + 1 - base};
}

/* `heads` neighbouring heads that share keys. q, out: [heads][head_width]; scores: scratch [heads][longest]; next: what
 * the thread attends to after this, fetched meanwhile. */
INLINE void attention_heads(const float *q, const Keys *s, const Keys *next, int hw, float *scores, int longest, float *out, const int heads) {
    enum { CHAINS = 2 };
    const int padded = (s->count + BLOCK - 1) / BLOCK * BLOCK;
    const float scale = 1.f / sqrtf((float)hw);
    for (int p = 0; p < padded; p += LANES) {
        const int16_t *tile = s->k + (size_t)(p / BLOCK) * BLOCK * hw + p % BLOCK;
        for (int i = 0; i < LANES * hw; i += 32) __builtin_prefetch(next->k + p * hw + i);
        vf part[heads * CHAINS];
        UNROLL for (int i = 0; i < heads * CHAINS; i++) part[i] = (vf){0};
        for (int d = 0; d < hw; d += CHAINS) {
            UNROLL for (int c = 0; c < CHAINS; c++) {
                vf key = load_shorts(tile + (size_t)(d + c) * BLOCK);
                UNROLL for (int h = 0; h < heads; h++) part[h * CHAINS + c] += key * q[h * hw + d + c];
            }
        }
        vf by = load(s->k_scales + p) * scale;
        UNROLL for (int h = 0; h < heads; h++) store(scores + (size_t)h * longest + p, (part[h * CHAINS] + part[h * CHAINS + 1]) * by);
    }
    UNROLL for (int h = 0; h < heads; h++) softmax(scores + (size_t)h * longest, s->v_scales, s->from, s->count, padded);
    int d = 0;
    for (; d + 4 * LANES <= hw; d += 4 * LANES) weighted_values(scores, longest, s->v + d, next->v + d, s->count, hw, out + d, heads, 4);
    for (; d < hw; d += LANES) weighted_values(scores, longest, s->v + d, next->v + d, s->count, hw, out + d, heads, 1);
}

static void attention(const Model *m, const Batch *b, const Keys *s, const Keys *next, int t, int kv, float *scores) {
    const int hw = m->head_width, share = m->heads / m->kv_heads;
    const float *q = b->qkv + ((size_t)t * (m->heads + 2 * m->kv_heads) + kv * share) * hw;
    float *out = b->attention + ((size_t)t * m->heads + kv * share) * hw;
#define HEADS(n) attention_heads(q + h * hw, s, next, hw, scores, b->longest, out + h * hw, n)
    for (int h = 0; h < share; h += TOGETHER) switch (share - h) {
        case 1: HEADS(1); break;
        case 2: HEADS(2); break;
        case 3: HEADS(3); break;
        default: HEADS(4);
    }
#undef HEADS
}

/* What the vectorised kernels compute, in plain loops: one number after another, in double where they sum. The engine does
 * not use them; tests hold its kernels to them. */
#pragma once
#include "attention.h"
#include "matmul.h"

static float dot_reference(const float *a, const float *b, int n) {
    double sum = 0;
    for (int i = 0; i < n; i++) sum += (double)a[i] * b[i];
    return sum;
}

static void axpy_reference(float c, const float *a, float *y, int n) {
    for (int i = 0; i < n; i++) y[i] += c * a[i];
}

static void rms_norm_reference(const float *x, const float *weight, float epsilon, int n, float *y) {
    const double scale = 1 / sqrt(dot_reference(x, x, n) / n + epsilon);
    for (int i = 0; i < n; i++) y[i] = x[i] * scale * weight[i];
}

static void swiglu_reference(float *gate, const float *up, int n) {
    for (int i = 0; i < n; i++) gate[i] = gate[i] / (1 + exp(-(double)gate[i])) * up[i];
}

/* The rounding of activations: whole numbers of 16 bits with a scale for every `group` of them. */
static float scale_reference(const float *x, int group, int16_t *q) {
    float top = 0;
    for (int i = 0; i < group; i++) top = fmaxf(top, fabsf(x[i]));
    const float inverse = top > 0 ? 32767.f / top : 0;
    for (int i = 0; i < group; i++) q[i] = nearbyintf(x[i] * inverse);
    return top / 32767.f;
}

static void quantize_row_reference(const float *x, int k, int bits, uint32_t *pairs, float *grid) {
    const int half = 16 / bits;
    for (int g = 0; g < k / GROUP; g++) {
        int16_t q[GROUP];
        int whole = 0;
        const float scale = scale_reference(x + g * GROUP, GROUP, q);
        for (int i = 0; i < GROUP; i++) whole += q[i];
        for (int i = 0; i < GROUP / 2; i++) {
            const int low = i / half * 2 * half + i % half;
            pairs[g * GROUP / 2 + i] = (uint16_t)q[low] | (uint32_t)(uint16_t)q[low + half] << 16;
        }
        grid[2 * g] = scale;
        grid[2 * g + 1] = scale * whole;
    }
}

/* y = W x + bias of activations that are rounded to 16 bits. */
static void matmul_reference(const Linear *w, const float *x, int rows, float *y, int ldy) {
    float row[w->k];
    for (int o = 0; o < w->n; o++) {
        embedding_row(w, o, row);
        for (int r = 0; r < rows; r++) {
            double sum = w->bias ? w->bias[o] : 0;
            for (int g = 0; g < w->k / GROUP; g++) {
                int16_t q[GROUP];
                const float scale = scale_reference(x + (size_t)r * w->k + g * GROUP, GROUP, q);
                for (int i = 0; i < GROUP; i++) sum += (double)row[g * GROUP + i] * q[i] * scale;
            }
            y[(size_t)r * ldy + o] = sum;
        }
    }
}

/* softmax(s) of positions from, ..., count - 1, times each value's scale. */
static void softmax_reference(float *s, const float *scales, int from, int count) {
    double top = -INFINITY, total = 0;
    for (int p = from; p < count; p++) top = fmax(top, s[p]);
    for (int p = from; p < count; p++) total += exp(s[p] - top);
    for (int p = 0; p < count; p++) s[p] = p < from ? 0 : exp(s[p] - top) / total * scales[p];
}

/* What `heads` heads that share keys attend to. */
static void attention_reference(const float *q, const Keys *s, int hw, int heads, float *out) {
    for (int h = 0; h < heads; h++) {
        float score[s->count];
        for (int p = 0; p < s->count; p++) {
            double sum = 0;
            for (int d = 0; d < hw; d++) sum += (double)q[h * hw + d] * s->k[((size_t)p / BLOCK * hw + d) * BLOCK + p % BLOCK];
            score[p] = sum * s->k_scales[p] / sqrt(hw);
        }
        softmax_reference(score, s->v_scales, s->from, s->count);
        for (int d = 0; d < hw; d++) {
            double sum = 0;
            for (int p = 0; p < s->count; p++) sum += (double)score[p] * s->v[(size_t)p * hw + d];
            out[h * hw + d] = sum;
        }
    }
}

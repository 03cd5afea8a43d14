/* The engine's kernels and their twins, for tests. */
#include "../../../lm/engines/native/engine.c"
#include "../../../lm/engines/native/reference.h"

float t_dot(const float *a, const float *b, int n) { return dot(a, b, n); }
float t_dot_reference(const float *a, const float *b, int n) { return dot_reference(a, b, n); }
void t_axpy(float c, const float *a, float *y, int n) { axpy(c, a, y, n); }
void t_axpy_reference(float c, const float *a, float *y, int n) { axpy_reference(c, a, y, n); }
void t_rms_norm(const float *x, const float *w, float e, int n, float *y) { rms_norm(x, w, e, n, y); }
void t_rms_norm_reference(const float *x, const float *w, float e, int n, float *y) { rms_norm_reference(x, w, e, n, y); }
void t_swiglu(float *gate, const float *up, int n) { swiglu(gate, up, n); }
void t_swiglu_reference(float *gate, const float *up, int n) { swiglu_reference(gate, up, n); }
void t_quantize_row(const float *x, int k, int bits, uint32_t *pairs, float *grid) { quantize_row(x, k, bits, pairs, grid); }
void t_quantize_row_reference(const float *x, int k, int bits, uint32_t *pairs, float *grid) {
    quantize_row_reference(x, k, bits, pairs, grid);
}

void t_matmul(const Linear *w, const float *x, int rows, uint32_t *pairs, float *grid, float *y, int ldy, int threads) {
    for (int r = 0; r < rows; r++) quantize_row(x + (size_t)r * w->k, w->k, w->bits, pairs + (size_t)r * w->k / 2, grid + (size_t)r * w->k / GROUP * 2);
    for (int me = 0; me < threads; me++) matmul(w, rows, (Quantized){pairs, grid}, y, ldy, me, threads);
}
void t_matmul_reference(const Linear *w, const float *x, int rows, float *y, int ldy) { matmul_reference(w, x, rows, y, ldy); }

void t_softmax(float *s, const float *scales, int from, int count, int padded) { softmax(s, scales, from, count, padded); }
void t_softmax_reference(float *s, const float *scales, int from, int count) { softmax_reference(s, scales, from, count); }

static Keys keys(const int16_t *k, const int16_t *v, const float *k_scales, const float *v_scales, int from, int count) {
    return (Keys){k, v, k_scales, v_scales, from, count};
}
void t_attention(const float *q, const int16_t *k, const int16_t *v, const float *k_scales, const float *v_scales, int from, int count,
                 int hw, int heads, float *scores, int longest, float *out) {
    const Keys s = keys(k, v, k_scales, v_scales, from, count);
    if (heads == 1) attention_heads(q, &s, &s, hw, scores, longest, out, 1);
    if (heads == 2) attention_heads(q, &s, &s, hw, scores, longest, out, 2);
    if (heads == 3) attention_heads(q, &s, &s, hw, scores, longest, out, 3);
    if (heads == 4) attention_heads(q, &s, &s, hw, scores, longest, out, 4);
}
void t_attention_reference(const float *q, const int16_t *k, const int16_t *v, const float *k_scales, const float *v_scales, int from,
                           int count, int hw, int heads, float *out) {
    const Keys s = keys(k, v, k_scales, v_scales, from, count);
    attention_reference(q, &s, hw, heads, out);
}

void t_edit(const Edit *e, float *x, int width, int position, Trace *trace) { apply_edit(e, x, width, position, trace); }

/* How often each of `threads` threads worked, over `jobs` jobs with two barriers each; returns how often a job was not whole. */
typedef struct { Barrier barrier; _Atomic int count; int *times, bad; } Count;
static void count(void *data, int me, int threads) {
    Count *c = data;
    atomic_fetch_add(&c->count, 1);
    barrier_wait(&c->barrier, threads);
    if (me == 0 && c->count != threads) c->bad++;
    barrier_wait(&c->barrier, threads);
    c->times[me]++;
    atomic_fetch_sub(&c->count, 1);
}
int t_threads(int threads, int jobs, int *times) {
    Count c = {.times = times};
    for (int i = 0; i < jobs; i++) run_threads(count, &c, i % 3 ? threads : 1 + i % threads);
    return c.bad + c.count;
}

/* How fast a product of one row passes over its weights, and how fast a loop that only reads them does: see products.py. */
#include "../lm/engines/native/model.h"
#include "../lm/engines/native/matmul.h"
#include "../lm/engines/native/threads.h"

typedef struct { const Linear *w; Quantized x; float *y; uint32_t *sums; } Job;

static void product(void *data, int me, int threads) {
    const Job *j = data;
    matmul(j->w, 1, j->x, j->y, j->w->n, me, threads);
}

static void reading(void *data, int me, int threads) {
    const Job *j = data;
    const size_t words = (size_t)j->w->n * j->w->k * j->w->bits / 32 / threads / (4 * LANES) * (4 * LANES);
    const uint32_t *from = j->w->codes + me * words;
    vu sums[4] = {0};
    for (size_t i = 0; i < words; i += 4 * LANES)
        UNROLL for (int s = 0; s < 4; s++) sums[s] += *(const vu *)(from + i + s * LANES);
    const vu all = sums[0] + sums[1] + sums[2] + sums[3];
    UNROLL for (int l = 0; l < LANES; l++) j->sums[me] += all[l];
}

/* x: k floats; pairs, grid: room for them as a product takes them; y: n floats; sums: a number a thread. n is a multiple of 16. */
void multiply_once(const Linear *w, const float *x, uint32_t *pairs, float *grid, float *y, int threads) {
    quantize_row(x, w->k, w->bits, pairs, grid);
    Job job = {.w = w, .x = {pairs, grid}, .y = y};
    run_threads(product, &job, threads);
}

void read_once(const Linear *w, uint32_t *sums, int threads) {
    Job job = {.w = w, .sums = sums};
    run_threads(reading, &job, threads);
}

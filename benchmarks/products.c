/* How fast a product of one row passes over its weights, and how fast a loop that only reads them does: see products.py. */
#include "../lm/engines/native/model.h"
#include "../lm/engines/native/matmul.h"
#include "../lm/engines/native/threads.h"

typedef struct { const Linear *w; Quantized x; float *y; } Job;
typedef struct { const uint32_t *const *from; const size_t *words; int count; uint32_t *sums; } Pieces;

static void product(void *data, int me, int threads) {
    const Job *j = data;
    matmul(j->w, 1, j->x, j->y, j->w->n, me, threads);
}

/* Several long streams side by side are read faster than one. */
static void reading(void *data, int me, int threads) {
    enum { STREAMS = 6, WIDE = 2 };
    const Pieces *j = data;
    vu sums[STREAMS * WIDE] = {0};
    for (int piece = 0; piece < j->count; piece++) {
        const size_t words = j->words[piece] / threads / STREAMS / (WIDE * LANES) * (WIDE * LANES);
        const uint32_t *from = j->from[piece] + me * STREAMS * words;
        for (size_t i = 0; i < words; i += WIDE * LANES)
            UNROLL for (int s = 0; s < STREAMS; s++)
                UNROLL for (int c = 0; c < WIDE; c++) sums[s * WIDE + c] += *(const vu *)(from + s * words + i + c * LANES);
    }
    for (int s = 1; s < STREAMS * WIDE; s++) sums[0] += sums[s];
    UNROLL for (int l = 0; l < LANES; l++) j->sums[me] += sums[0][l];
}

/* x: k floats; pairs, grid: room for them as a product takes them; y: n floats. n is a multiple of 16. */
void multiply_once(const Linear *w, const float *x, uint32_t *pairs, float *grid, float *y, int threads) {
    quantize_row(x, w->k, w->bits, pairs, grid);
    Job job = {.w = w, .x = {pairs, grid}, .y = y};
    run_threads(product, &job, threads);
}

/* sums: a number a thread, so that the reading is not left out. */
void read_once(const uint32_t *const *from, const size_t *words, int count, uint32_t *sums, int threads) {
    Pieces pieces = {from, words, count, sums};
    run_threads(reading, &pieces, threads);
}

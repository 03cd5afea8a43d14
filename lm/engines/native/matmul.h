/* Products with weights in groups of 32 at 4 or 8 bits. Activations are taken as 16-bit integers with a scale for every 32 of them. */
#pragma once
#include "model.h"
#include "vectors.h"

enum { BLOCK = 16, PER = BLOCK / LANES, GROUP = 32, TILE_ROWS = 6 };
#define GRID(bits) (8 / (bits) * BLOCK) /* float16 numbers that go with a group of a block */

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

/* x as 16-bit integers in groups of 32, for a matmul with weights of `bits`: pairs[k/2], two to a word in the order in
 * which the weights' codes come out of theirs, and grid[k/32][2] = scale, scale * sum of the integers; both are NaN where
 * an x is not finite. */
INLINE void quantize_row_at(const float *x, int k, const int bits, uint32_t *pairs, float *grid) {
    const int half = 16 / bits;
    for (int g = 0; g < k / GROUP; g++, x += GROUP, pairs += GROUP / 2, grid += 2) {
        vf most = {0}, whole = {0}, total = {0};
        UNROLL for (int i = 0; i < GROUP; i += LANES) {
            most = larger(magnitude(load(x + i)), most);
            whole += load(x + i);
        }
        const float top = greatest(most), inverse = top > 0 ? 32767.f / top : 0;
        int16_t q[GROUP];
        UNROLL for (int i = 0; i < GROUP; i += LANES) {
            vi n = nearest(load(x + i) * inverse);
            total += __builtin_convertvector(n, vf);
            store_shorts(q + i, n);
        }
        UNROLL for (int u = 0; u < GROUP / 2 / half; u++)
            UNROLL for (int i = 0; i < half; i++)
                pairs[u * half + i] = (uint16_t)q[u * 2 * half + i] | (uint32_t)(uint16_t)q[u * 2 * half + half + i] << 16;
        grid[0] = isfinite(sum(whole)) ? top / 32767.f : NAN;
        grid[1] = grid[0] * sum(total);
    }
}

static void quantize_row(const float *x, int k, int bits, uint32_t *pairs, float *grid) {
    if (bits == 4) quantize_row_at(x, k, 4, pairs, grid);
    else quantize_row_at(x, k, 8, pairs, grid);
}

/* Rows r < R times B blocks of 16 outputs that lie `apart` blocks from one another. One function for each size: with sizes fixed the
 * accumulators stay in registers. Within a group the sums are of integers, exact in any order; groups are added in order. While several rows
 * are multiplied, the next tile's weights are fetched; one row is done too soon for that, and the processor's own prefetching is quicker. */
#define TILE(bits, B, R) \
    static void tile_##bits##_##B##_##R(const Linear *w, int block, int apart, Quantized x, int row, float *y, int ldy) { \
        enum { HALF = 16 / bits, STEPS = GROUP * bits / 32, COLUMNS = B * PER, PLACES = GRID(bits) }; \
        const int words = w->k * bits / 32, groups = w->k / GROUP, ldx = w->k / 2; \
        const uint32_t *codes = w->codes + (size_t)block * words * BLOCK, *pairs = x.pairs + (size_t)row * ldx; \
        const uint16_t *grid = w->grid + (size_t)block * groups * PLACES; \
        const float *gx = x.grid + (size_t)row * groups * 2; \
        vf acc[COLUMNS * R]; \
        UNROLL for (int i = 0; i < COLUMNS * R; i++) acc[i] = (vf){0}; \
        for (int g = 0; g < groups; g++) { \
            vi dot[COLUMNS * R]; \
            UNROLL for (int i = 0; i < COLUMNS * R; i++) dot[i] = (vi){0}; \
            UNROLL for (int u = 0; u < STEPS; u++) { \
                vu word[COLUMNS]; \
                UNROLL for (int c = 0; c < COLUMNS; c++) { \
                    const uint32_t *from = codes + ((size_t)(c / PER) * apart * words + g * STEPS + u) * BLOCK + c % PER * LANES; \
                    word[c] = *(const vu *)from; \
                    if (R > 1) __builtin_prefetch(from + (size_t)words * BLOCK); \
                } \
                UNROLL for (int i = 0; i < HALF; i++) UNROLL for (int r = 0; r < R; r++) { \
                    vu pair = pairs[(size_t)r * ldx + (g * STEPS + u) * HALF + i] - (vu){0}; \
                    UNROLL for (int c = 0; c < COLUMNS; c++) \
                        dot[c * R + r] = dot2(dot[c * R + r], word[c] >> (bits * i) & ((1u << bits) - 1) * 0x10001u, pair); \
                } \
            } \
            UNROLL for (int c = 0; c < COLUMNS; c++) { \
                const uint16_t *p = grid + ((size_t)(c / PER) * apart * groups + g) * PLACES + c % PER * LANES; \
                vf scale = load_halves(p), least = scale * -128.f; \
                if (bits == 4) least = load_halves(p + BLOCK); \
                if (R > 1) __builtin_prefetch(p + (size_t)groups * PLACES); \
                UNROLL for (int r = 0; r < R; r++) { \
                    const float *px = gx + ((size_t)r * groups + g) * 2; \
                    acc[c * R + r] += __builtin_convertvector(dot[c * R + r], vf) * (scale * px[0]); \
                    acc[c * R + r] += least * px[1]; \
                } \
            } \
        } \
        UNROLL for (int c = 0; c < COLUMNS; c++) UNROLL for (int r = 0; r < R; r++) \
            store(y + (size_t)r * ldy + c / PER * apart * BLOCK + c % PER * LANES, acc[c * R + r]); \
    }
#define TILES(bits) \
    TILE(bits, 4, 1) TILE(bits, 2, 2) TILE(bits, 2, 3) TILE(bits, 2, 4) TILE(bits, 2, 5) TILE(bits, 2, 6) \
    TILE(bits, 1, 1) TILE(bits, 1, 2) TILE(bits, 1, 3) TILE(bits, 1, 4) TILE(bits, 1, 5) TILE(bits, 1, 6)
TILES(4)
TILES(8)

typedef void Tile(const Linear *, int, int, Quantized, int, float *, int);
#define TABLE(bits) { \
    {tile_##bits##_1_1, tile_##bits##_1_2, tile_##bits##_1_3, tile_##bits##_1_4, tile_##bits##_1_5, tile_##bits##_1_6}, \
    {tile_##bits##_4_1, tile_##bits##_2_2, tile_##bits##_2_3, tile_##bits##_2_4, tile_##bits##_2_5, tile_##bits##_2_6}}
static Tile *const tiles[2][2][TILE_ROWS] = {TABLE(4), TABLE(8)}; /* [bits][one block, several][rows - 1] */

static void multiply_blocks(const Linear *w, int block, int apart, int rows, Quantized x, float *y, int ldy) {
    const int parts = (rows + TILE_ROWS - 1) / TILE_ROWS;
    for (int t = 0; t < parts; t++) {
        int from = (int)((int64_t)rows * t / parts), to = (int)((int64_t)rows * (t + 1) / parts);
        tiles[w->bits / 8][apart > 0][to - from - 1](w, block, apart, x, from, y + (size_t)from * ldy + block * BLOCK, ldy);
    }
}

/* The blocks of y = W x + bias that belong to thread `me`; y has rows of length ldy >= n rounded up to 16. They are read as `wide` long
 * streams side by side, and what is left as another one: the processor follows a few long streams better than many short ones. */
static void matmul(const Linear *w, int rows, Quantized x, float *y, int ldy, int me, int threads) {
    const int blocks = (w->n + BLOCK - 1) / BLOCK, wide = rows == 1 ? 4 : 2;
    const int begin = (int)((int64_t)blocks * me / threads), end = (int)((int64_t)blocks * (me + 1) / threads), apart = (end - begin) / wide;
    for (int block = begin; block < begin + apart; block++) multiply_blocks(w, block, apart, rows, x, y, ldy);
    for (int block = begin + wide * apart; block < end; block++) multiply_blocks(w, block, 0, rows, x, y, ldy);
    if (w->bias)
        for (int r = 0; r < rows; r++)
            for (int i = begin * BLOCK; i < end * BLOCK && i < w->n; i++) y[(size_t)r * ldy + i] += w->bias[i];
}

static void embedding_row(const Linear *w, int id, float *x) {
    const int per_word = 32 / w->bits, words = w->k / per_word, groups = w->k / GROUP, places = GRID(w->bits), lane = id % BLOCK;
    const uint32_t *codes = w->codes + (size_t)(id / BLOCK) * words * BLOCK + lane;
    const uint16_t *grid = w->grid + (size_t)(id / BLOCK) * groups * places + lane;
    for (int k = 0; k < w->k; k++) {
        uint32_t code = codes[(k / per_word) * BLOCK] >> (w->bits * (k % per_word)) & ((1u << w->bits) - 1);
        const uint16_t *g = grid + (k / GROUP) * places;
        const float scale = widen(g[0]);
        x[k] = fmaf((float)code, scale, w->bits == 4 ? widen(g[BLOCK]) : scale * -128.f);
    }
}

static void lora(const LowRank *m, const float *x, int k, float *y) {
    for (int j = 0; j < m->rank; j++) axpy(dot(m->a + (size_t)j * k, x, k), m->bt + (size_t)j * m->n, y + m->offset, m->n);
}


/* What Python hands over: mirrored field by field in structs.py. */
#pragma once
#include <stdint.h>

enum { MAX_TARGETS = 3 };
enum { REACHED, CAPPED, UNREACHABLE };

typedef struct { /* as in lm/edits/trace.py */
    float z[MAX_TARGETS], eps[MAX_TARGETS], norm, outcome;
} Trace;

typedef struct { /* activations of a product, see quantize_row in matmul.h */
    uint32_t *pairs;
    float *grid;
} Quantized;

/* y = W x, a weight being code * scale + least: codes [n/16][k/(32/bits)][16] words; grid, float16: at 4 bits [n/16][k/32][2][16] = scale,
 * least; at 8 [n/16][k/32][16] = scale, and least is -128 * scale */
typedef struct {
    const uint32_t *codes;
    const uint16_t *grid;
    const float *bias;
    int32_t n, k, bits, pad;
} Linear;

typedef struct {
    Linear qkv, out, gate_up, down;
    const float *norm_attention, *norm_mlp, *norm_q, *norm_k; /* the last two are null where the family has none */
} Layer;

typedef struct {
    const Layer *layer; /* [layers] */
    Linear embedding, head;
    const float *norm, *cos, *sin; /* cos, sin: [context][head_width / 2] */
    float epsilon, pad;
    int32_t layers, width, heads, kv_heads, head_width, inner, window, pad2;
} Model;

typedef struct { /* see Edit in lm/edits/edit.py, and Program in lm/edits/solver.py */
    const float *read, *push, *bias, *fixed;                   /* fixed: null where the read-outs decide */
    const double *goal, *sense, *slack, *gram, *vertices;      /* [targets], ..., [targets][targets], [vertex_count][targets][targets] */
    int32_t layer, targets, start, vertex_count;               /* start: the first position where it may push */
    float cap, max_push;                                       /* shares of |e|, infinite where there is none */
} Edit;

typedef struct { /* y += (x A^T) B^T, B stored transposed [rank][n] with the scale folded in */
    const float *a, *bt;
    int32_t rank, offset, n, pad;
} LowRank;

enum { Q, K, V, OUT, GATE, UP, DOWN, MODULES };
enum { TOGETHER = 4 }; /* most heads that attend to the same keys in one go */

typedef struct {
    int16_t *cache; /* [layers][keys, values][kv_heads]: keys [capacity/16][head_width][16], values [capacity][head_width] */
    float *scales;  /* [layers][keys, values][kv_heads][capacity]: what the numbers of the cache are multiplied by */
    const Edit *edits;
    const LowRank *adapter; /* [layers][MODULES] or null */
    int32_t capacity, edit_count;
} Row;

typedef struct { /* see draw in lm/sampling.py */
    uint64_t seed;
    double logprob; /* not a number where the logits are not finite */
    float temperature, top_p;
    int32_t step, choice;
} Draw;

typedef struct { /* a token's logit / temperature, less the largest one */
    float value;
    int32_t id;
} Candidate;

typedef struct {
    const int32_t *ids, *positions, *rows; /* [tokens] */
    const Row *row;
    float *x, *h, *qkv, *attention, *gate_up; /* scratch, [tokens][...] */
    Quantized q;                              /* scratch, [max(tokens, wanted)][...] for the widest product */
    float *scores;                            /* [threads][TOGETHER][longest] */
    Trace *trace;                             /* [tokens][edits_max] or null */
    float *const *record;                     /* [tokens] where to copy the output of layer record_layer, or null */
    const int32_t *record_layer;
    float *const *pool; /* [tokens] sums over tokens of every layer's output [layers][width], or null */
    const int32_t *leader; /* [tokens]: whose state a token takes over after the first `shared` layers, where only `leaders` tokens are */
    const int32_t *wanted;
    float *logits; /* [wanted][vocabulary rounded up to 16] */
    Draw *draws;   /* [wanted] or null */
    Candidate *candidates; /* [threads][vocabulary], or null where no draw has a top_p below 1 */
    int32_t tokens, wanted_count, edits_max, longest, threads, layers, leaders, shared;
} Batch;


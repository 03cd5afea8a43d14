/* A decoder for Llama-style models on CPU, with weights in groups of 32 at 4 or 8 bits and activations in float32, which
 * products and the cache take as 16-bit integers with scales.
 *
 * One call of tw_forward advances any number of (row, position) tokens through the model. Every output element is
 * accumulated over k in one fixed order, whatever tile computes it and however many tokens share the call, so a row's
 * numbers do not depend on its company: batches, chunked prompts and single runs agree bit for bit.
 *
 * Letters: m model, b batch, l layer, w weights, e edit; x residual stream, h normed x or a product's output, q k v queries,
 * keys, values, y output; t token of the call, r row of a product, p position, d dimension of a head, g group of 32; n and k
 * outputs and inputs of a matrix, hw head width.
 */
#include "attention.h"
#include "edits.h"
#include "matmul.h"
#include "sampling.h"
#include "threads.h"

/* A thread's view of a call. tokens: how many of them advance through the layer; scores: its scratch for attention. */
typedef struct {
    const Model *m;
    const Batch *b;
    Barrier *barrier;
    float *scores;
    int layer, tokens, me, threads;
} Pass;

#define WAIT barrier_wait(p->barrier, p->threads)
#define MY_TOKENS(t) for (int t = p->me; t < p->tokens; t += p->threads)

static float *at(float *values, int t, int width) { return values + (size_t)t * width; }

static void add_lora(const Pass *p, int t, int module, const float *x, int k, float *y) {
    const LowRank *adapter = p->b->row[p->b->rows[t]].adapter;
    if (!adapter) return;
    adapter += p->layer * MODULES + module;
    if (adapter->rank) lora(adapter, x, k, y);
}

/* Rounds x into row `row` of the matrix that `w` is multiplied by. */
static void quantize_input(const Batch *b, const Linear *w, int row, const float *x) {
    quantize_row(x, w->k, w->bits, b->q.pairs + (size_t)row * (w->k / 2), b->q.grid + (size_t)row * (w->k / GROUP) * 2);
}

static void multiply(const Pass *p, const Linear *w, int rows, float *y, int ldy) {
    WAIT;
    matmul(w, rows, p->b->q, y, ldy, p->me, p->threads);
    WAIT;
}

static void attention_part(const Pass *p, const Layer *l) {
    const Model *m = p->m;
    const Batch *b = p->b;
    const int width = m->width, q_width = m->heads * m->head_width, parts = p->tokens * m->kv_heads;
    MY_TOKENS(t) {
        rms_norm(at(b->x, t, width), l->norm_attention, m->epsilon, width, at(b->h, t, width));
        quantize_input(b, &l->qkv, t, at(b->h, t, width));
    }
    multiply(p, &l->qkv, p->tokens, b->qkv, l->qkv.n);
    MY_TOKENS(t) {
        for (int module = Q; module <= V; module++) add_lora(p, t, module, at(b->h, t, width), width, at(b->qkv, t, l->qkv.n));
        write_kv_cache(m, l, b, p->layer, t);
    }
    WAIT;
    for (int i = p->me; i < parts; i += p->threads) {
        const int last = i + p->threads >= parts, then = last ? p->me : i + p->threads;
        const Keys here = keys_of(m, b, p->layer, i % p->tokens, i / p->tokens);
        const Keys next = keys_of(m, b, p->layer + (last && p->layer + 1 < m->layers), then % p->tokens, then / p->tokens);
        attention(m, b, &here, &next, i % p->tokens, i / p->tokens, p->scores);
    }
    WAIT;
    MY_TOKENS(t) quantize_input(b, &l->out, t, at(b->attention, t, q_width));
    multiply(p, &l->out, p->tokens, b->h, width);
    MY_TOKENS(t) {
        add_lora(p, t, OUT, at(b->attention, t, q_width), q_width, at(b->h, t, width));
        axpy(1, at(b->h, t, width), at(b->x, t, width), width);
    }
}

static void mlp_part(const Pass *p, const Layer *l) {
    const Model *m = p->m;
    const Batch *b = p->b;
    const int width = m->width, inner = m->inner;
    MY_TOKENS(t) {
        rms_norm(at(b->x, t, width), l->norm_mlp, m->epsilon, width, at(b->h, t, width));
        quantize_input(b, &l->gate_up, t, at(b->h, t, width));
    }
    multiply(p, &l->gate_up, p->tokens, b->gate_up, 2 * inner);
    MY_TOKENS(t) {
        float *gate = at(b->gate_up, t, 2 * inner);
        for (int module = GATE; module <= UP; module++) add_lora(p, t, module, at(b->h, t, width), width, gate);
        swiglu(gate, gate + inner, inner);
        quantize_input(b, &l->down, t, gate);
    }
    multiply(p, &l->down, p->tokens, b->h, width);
    MY_TOKENS(t) {
        add_lora(p, t, DOWN, at(b->gate_up, t, 2 * inner), inner, at(b->h, t, width));
        axpy(1, at(b->h, t, width), at(b->x, t, width), width);
    }
}

/* What is done to a layer's output, and what is kept of it. */
static void edit_part(const Pass *p) {
    const Batch *b = p->b;
    const int width = p->m->width;
    MY_TOKENS(t) {
        const Row *row = &b->row[b->rows[t]];
        float *x = at(b->x, t, width);
        for (int i = 0; i < row->edit_count; i++)
            if (row->edits[i].layer == p->layer) apply_edit(&row->edits[i], x, width, b->positions[t], &b->trace[(size_t)t * b->edits_max + i]);
        if (b->record && b->record[t] && b->record_layer[t] == p->layer) memcpy(b->record[t], x, width * sizeof(float));
    }
    if (!b->pool) return;
    WAIT;
    const int from = (int)((int64_t)width * p->me / p->threads), to = (int)((int64_t)width * (p->me + 1) / p->threads);
    for (int t = 0; t < p->tokens; t++)
        if (b->pool[t]) axpy(1, at(b->x, t, width) + from, at(b->pool[t], p->layer, width) + from, to - from);
}

/* Layers first, ..., last - 1 for the first `tokens` tokens. */
static void layers_part(Pass *p, int first, int last, int tokens) {
    p->tokens = tokens;
    for (p->layer = first; p->layer < last; p->layer++) {
        const Layer *l = &p->m->layer[p->layer];
        attention_part(p, l);
        mlp_part(p, l);
        edit_part(p);
    }
}

static void head_part(const Pass *p) {
    const Model *m = p->m;
    const Batch *b = p->b;
    const int width = m->width, padded = (m->head.n + BLOCK - 1) / BLOCK * BLOCK;
    WAIT;
    for (int i = p->me; i < b->wanted_count; i += p->threads) {
        rms_norm(at(b->x, b->wanted[i], width), m->norm, m->epsilon, width, at(b->h, i, width));
        quantize_input(b, &m->head, i, at(b->h, i, width));
    }
    multiply(p, &m->head, b->wanted_count, b->logits, padded);
    if (b->draws)
        for (int i = p->me; i < b->wanted_count; i += p->threads) {
            Candidate *candidates = b->candidates ? b->candidates + (size_t)p->me * m->head.n : 0;
            sample(at(b->logits, i, padded), m->head.n, &b->draws[i], candidates);
        }
}

static void forward(void *data, int me, int threads) {
    Pass *p = &(Pass){0};
    *p = *(const Pass *)data;
    p->me = me, p->threads = threads;
    const Batch *b = p->b;
    const int width = p->m->width;
    p->scores += (size_t)me * TOGETHER * b->longest;
    p->tokens = b->tokens;
    MY_TOKENS(t) embedding_row(&p->m->embedding, b->ids[t], at(b->x, t, width));
    layers_part(p, 0, b->shared, b->leaders);
    if (b->shared) {
        WAIT;
        p->tokens = b->tokens;
        MY_TOKENS(t) if (t >= b->leaders) memcpy(at(b->x, t, width), at(b->x, b->leader[t], width), width * sizeof(float));
    }
    layers_part(p, b->shared, b->layers, b->tokens);
    head_part(p);
}

void tw_forward(const Model *m, const Batch *b) {
    Barrier barrier = {0};
    Pass pass = {.m = m, .b = b, .barrier = &barrier, .scores = b->scores};
    run_threads(forward, &pass, b->threads);
}

/* Sizes of what Python hands over, in the order of STRUCTS in structs.py. */
void tw_sizes(int32_t *sizes) {
    const int32_t own[] = {sizeof(Linear), sizeof(Layer), sizeof(Model), sizeof(Edit), sizeof(Trace),
                             sizeof(LowRank), sizeof(Row),   sizeof(Draw),  sizeof(Batch)};
    memcpy(sizes, own, sizeof own);
}

/* A decoder for Llama-style models on CPU, with weights in groups of 32 at 4 or 8 bits and activations in float32, which
 * products and the cache take as 16-bit integers with scales.
 *
 * One call of tw_forward advances any number of (row, position) tokens through the model. Every output element is
 * accumulated over k in one fixed order, whatever tile computes it and however many tokens share the call, so a row's
 * numbers do not depend on its company: batches, chunked prompts and single runs agree bit for bit.
 *
 * Threads are OpenMP's; without OpenMP the same code runs on one thread.
 */
#include <sched.h>
#include <stdatomic.h>
#ifdef _OPENMP
#include <omp.h>
#endif
#include "attention.h"
#include "draw.h"
#include "edits.h"
#include "products.h"

#ifdef __x86_64__
#define PAUSE _mm_pause()
#else
#define PAUSE atomic_signal_fence(memory_order_seq_cst)
#endif
enum { SPINS = 2000 };

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

/* Block `layer` for the first n tokens. */
static void block_forward(const Model *m, const Batch *b, int layer, int n, int me, int threads, Meeting *meeting, float *scores) {
    const Block *block = &m->blocks[layer];
    const int width = m->width, q_width = m->heads * m->head_width;
    MINE(t) {
        rms_norm(b->x + (size_t)t * width, block->norm_attention, m->epsilon, width, b->h + (size_t)t * width);
        feed(b, &block->qkv, t, b->h + (size_t)t * width);
    }
    BARRIER
    product(&block->qkv, n, b->q, b->qkv, block->qkv.n, me, threads);
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
    for (int i = me; i < n * m->kv_heads; i += threads) {
        const int last = i + threads >= n * m->kv_heads, then = last ? me : i + threads;
        const Span here = span(m, b, layer, i % n, i / n), next = span(m, b, layer + (last && layer + 1 < m->layers), then % n, then / n);
        attend(m, b, &here, &next, i % n, i / n, scores);
    }
    BARRIER
    MINE(t) feed(b, &block->out, t, b->attention + (size_t)t * q_width);
    BARRIER
    product(&block->out, n, b->q, b->h, width, me, threads);
    BARRIER
    MINE(t) {
        float *x = b->x + (size_t)t * width, *h = b->h + (size_t)t * width;
        adapt(b, layer, t, OUT, b->attention + (size_t)t * q_width, q_width, h);
        axpy(1, h, x, width);
        rms_norm(x, block->norm_mlp, m->epsilon, width, h);
        feed(b, &block->gate_up, t, h);
    }
    BARRIER
    product(&block->gate_up, n, b->q, b->gate_up, 2 * m->inner, me, threads);
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
    product(&block->down, n, b->q, b->h, width, me, threads);
    BARRIER
    MINE(t) {
        const Row *row = &b->row[b->rows[t]];
        float *x = b->x + (size_t)t * width, *h = b->h + (size_t)t * width;
        adapt(b, layer, t, DOWN, b->gate_up + (size_t)t * 2 * m->inner, m->inner, h);
        axpy(1, h, x, width);
        for (int i = 0; i < row->edit_count; i++)
            if (row->edits[i].layer == layer)
                apply_edit(&row->edits[i], x, width, b->positions[t], &b->trace[(size_t)t * b->edits_max + i]);
        if (b->record && b->record[t] && b->record_layer[t] == layer) memcpy(b->record[t], x, width * sizeof(float));
    }
    if (!b->pool) return;
    BARRIER
    const int from = (int)((int64_t)width * me / threads), to = (int)((int64_t)width * (me + 1) / threads);
    for (int t = 0; t < n; t++)
        if (b->pool[t]) axpy(1, b->x + (size_t)t * width + from, b->pool[t] + (size_t)layer * width + from, to - from);
}

void tw_forward(const Model *m, const Batch *b) {
    const int n = b->tokens, width = m->width, padded = (m->head.n + BLOCK - 1) / BLOCK * BLOCK;
    Meeting hall = {0}, *meeting = &hall;
#pragma omp parallel num_threads(b->threads)
    {
#ifdef _OPENMP
        const int me = omp_get_thread_num(), threads = omp_get_num_threads();
#else
        const int me = 0, threads = 1;
#endif
        float *scores = b->scores + (size_t)me * TOGETHER * b->longest;
        MINE(t) embed(&m->embedding, b->ids[t], b->x + (size_t)t * width);
        for (int layer = 0; layer < b->shared; layer++) block_forward(m, b, layer, b->leaders, me, threads, meeting, scores);
        if (b->shared) {
            BARRIER
            MINE(t) if (t >= b->leaders) memcpy(b->x + (size_t)t * width, b->x + (size_t)b->leader[t] * width, width * sizeof(float));
        }
        for (int layer = b->shared; layer < b->blocks; layer++) block_forward(m, b, layer, n, me, threads, meeting, scores);
        BARRIER
        for (int i = me; i < b->wanted_count; i += threads) {
            rms_norm(b->x + (size_t)b->wanted[i] * width, m->norm, m->epsilon, width, b->h + (size_t)i * width);
            feed(b, &m->head, i, b->h + (size_t)i * width);
        }
        BARRIER
        product(&m->head, b->wanted_count, b->q, b->logits, padded, me, threads);
        if (b->draws) {
            BARRIER
            for (int i = me; i < b->wanted_count; i += threads) draw(b->logits + (size_t)i * padded, m->head.n, &b->draws[i]);
        }
    }
}

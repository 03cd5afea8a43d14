/* Drawing a token from logits; see lm/sampling.py. */
#pragma once
#include "model.h"
#include "vectors.h"

#define MAX_NOISE 22.873857 /* 33 log 2 */

static uint64_t splitmix64(uint64_t x) {
    x = (x ^ (x >> 30)) * 0xBF58476D1CE4E5B9u;
    x = (x ^ (x >> 27)) * 0x94D049BB133111EBu;
    return x ^ (x >> 31);
}

static uint32_t noise_bits(uint64_t start, int token) { return splitmix64(start + (token + (uint64_t)1) * 0x9E3779B97F4A7C15u) >> 32; }
static double gumbel(uint32_t bits) { return -log(-log((bits + 0.5) / 4294967296.0)); }

static int comes_first(Candidate a, Candidate b) { return a.value > b.value || (a.value == b.value && a.id < b.id); }

/* Makes heap[at], whose children are roots of heaps, the root of one: the token that comes first. */
static void sift(Candidate *heap, int count, int at) {
    const Candidate moved = heap[at];
    for (int child; (child = 2 * at + 1) < count; at = child) {
        if (child + 1 < count && comes_first(heap[child + 1], heap[child])) child++;
        if (!comes_first(heap[child], moved)) break;
        heap[at] = heap[child];
    }
    heap[at] = moved;
}

/* The same among the likeliest tokens, one after the other until their probability reaches top_p. Those that have less
 * than an equal share of 1 - top_p have less than that together. total: the sum of e^((logit - highest) / temperature).
 * Returns the logarithm of the token's share of it. */
static float sample_nucleus(const float *logits, int n, float highest, float total, Draw *d, Candidate *heap) {
    const uint64_t start = splitmix64(splitmix64(d->seed) + d->step);
    const float least = (1 - d->top_p) * total / n;
    int count = 0;
    for (int i = 0; i < n; i += LANES) {
        const vf x = (load(logits + i) - highest) / d->temperature;
        const vi likely = vexp(x) >= least;
        if (!any(likely)) continue;
        for (int j = 0; j < LANES && i + j < n; j++)
            if (likely[j]) heap[count++] = (Candidate){x[j], i + j};
    }
    for (int at = count / 2 - 1; at >= 0; at--) sift(heap, count, at);
    double mass = 0, reached = -INFINITY;
    float chosen = 0;
    while (count > 0) {
        const Candidate next = heap[0];
        const double value = next.value + gumbel(noise_bits(start, next.id));
        if (value > reached) reached = value, chosen = next.value, d->choice = next.id;
        mass += exp(next.value);
        if (mass >= (double)d->top_p * total) break;
        heap[0] = heap[--count];
        sift(heap, count, 0);
    }
    return chosen;
}

/* The token with the largest logit / temperature + noise; logits: [n rounded up to 16]. Noise of x or more means
 * 1 - u <= -log u <= e^-x for its uniform number u: where that does not hold a token cannot win, and no logarithm is
 * taken for it. */
static void sample(const float *logits, int n, Draw *d, Candidate *candidates) {
    const float temperature = d->temperature > 0 ? d->temperature : 1;
    vf most = splat(-INFINITY);
    int i = 0;
    for (; i + LANES <= n; i += LANES) most = larger(load(logits + i), most);
    float highest = greatest(most);
    for (; i < n; i++) highest = logits[i] > highest ? logits[i] : highest;
    int best = 0;
    while (best < n - 1 && logits[best] != highest) best++;
    const uint64_t start = splitmix64(splitmix64(d->seed) + d->step);
    double reached = gumbel(noise_bits(start, best));
    float chosen = 0, needed = 1.0001f * (float)exp(-reached);
    vf sums = {0};
    const int truncated = d->temperature > 0 && d->top_p < 1, whole = d->temperature > 0 && !truncated;
    d->choice = best;
    for (i = 0; i < n; i += LANES) {
        vf x = (load(logits + i) - highest) / temperature;
        if (i + LANES > n) UNROLL for (int j = 0; j < LANES; j++) x[j] = i + j < n ? x[j] : -INFINITY;
        const vf e = vexp(x);
        sums += e;
        if (!whole || !any(x >= (float)(reached - MAX_NOISE))) continue;
        uint32_t bits[LANES];
        UNROLL for (int j = 0; j < LANES; j++) bits[j] = noise_bits(start, i + j);
        const vf beyond = __builtin_convertvector((vi)(~*(const vu *)bits >> 1), vf) * 0x1p-31f; /* 1 - u, less its last bit */
        const vi may = beyond <= e * needed;
        if (!any(may)) continue;
        for (int j = 0; j < LANES; j++) {
            if (!may[j]) continue;
            const double value = x[j] + gumbel(bits[j]);
            if (!(value > reached)) continue;
            reached = value;
            needed = 1.0001f * (float)exp(-reached);
            chosen = x[j];
            d->choice = i + j;
        }
    }
    const float total = sum(sums);
    if (truncated) chosen = sample_nucleus(logits, n, highest, total, d, candidates);
    d->logprob = chosen - log(total);
}

/* Edits of the residual stream: the strengths of the least push, and the push; see lm/edits/solver.py and push.py. */
#pragma once
#include "model.h"
#include "vectors.h"

/* Whether strengths bring every read-out to its goal; gap = goal - read-out. */
static int reaches(const Edit *e, const double *gap, const double *strengths) {
    for (int i = 0; i < e->targets; i++) {
        double left = gap[i];
        for (int j = 0; j < e->targets; j++) left -= e->gram[i * e->targets + j] * strengths[j];
        if (e->sense[i] != 0 && !(e->sense[i] * left <= e->slack[i])) return 0;
    }
    return 1;
}

/* The vertex with the least sum of |eps| that reaches every goal; 0 where there is none. */
static int least_strengths(const Edit *e, const float *z, float *eps) {
    const int k = e->targets;
    double gap[MAX_TARGETS], least = INFINITY;
    int met = 1;
    for (int i = 0; i < k; i++) {
        gap[i] = e->goal[i] - z[i];
        if (e->sense[i] * gap[i] > 0) met = 0;
    }
    if (met) return 1;
    for (const double *vertex = e->vertices; vertex < e->vertices + (size_t)e->vertex_count * k * k; vertex += k * k) {
        double strengths[MAX_TARGETS], cost = 0;
        for (int i = 0; i < k; i++) {
            strengths[i] = 0;
            for (int j = 0; j < k; j++) strengths[i] += vertex[i * k + j] * gap[j];
            cost += fabs(strengths[i]);
        }
        if (!(cost < least) || !reaches(e, gap, strengths)) continue;
        least = cost;
        for (int i = 0; i < k; i++) eps[i] = strengths[i];
    }
    return least < INFINITY;
}

/* Adds sum_j eps_j push_j to x, held back by the cap; scales eps by as much as is added. */
static void push(const Edit *e, float norm, float *x, int width, Trace *trace) {
    float sum[width];
    int any = 0;
    memset(sum, 0, sizeof sum);
    for (int i = 0; i < e->targets; i++)
        if (trace->eps[i] != 0) axpy(trace->eps[i], e->push + (size_t)i * width, sum, width), any = 1;
    if (!any) return;
    const float size = sqrtf(dot(sum, sum, width));
    float scale = 1;
    if (size > e->max_push * norm) scale = 0, trace->outcome = UNREACHABLE;
    else if (size > e->cap * norm) scale = e->cap * norm / size, trace->outcome = CAPPED;
    for (int i = 0; i < e->targets; i++) trace->eps[i] *= scale;
    if (scale > 0) axpy(scale, sum, x, width);
}

/* Applies an edit to one position of the residual stream x [width]. */
static void apply_edit(const Edit *e, float *x, int width, int position, Trace *trace) {
    *trace = (Trace){.norm = sqrtf(dot(x, x, width)), .outcome = REACHED};
    for (int i = 0; i < e->targets; i++) trace->z[i] = dot(e->read + (size_t)i * width, x, width) + e->bias[i];
    if (position < e->start) return;
    if (e->fixed) memcpy(trace->eps, e->fixed, e->targets * sizeof(float));
    else if (!least_strengths(e, trace->z, trace->eps)) trace->outcome = UNREACHABLE;
    push(e, trace->norm, x, width, trace);
}

/* Edits of the residual stream, as in lm/edits/edit.py. */
#pragma once
#include "model.h"
#include "vectors.h"

#define MOST_PUSH 10.f /* as in lm/edits/edit.py */

static int solve(double *a, double *y, int n) { /* a y' = y in place, partial pivoting; 0 where singular */
    for (int c = 0; c < n; c++) {
        int pivot = c;
        for (int r = c + 1; r < n; r++) if (fabs(a[r * n + c]) > fabs(a[pivot * n + c])) pivot = r;
        if (fabs(a[pivot * n + c]) < 1e-12) return 0;
        for (int j = 0; j < n; j++) { double s = a[c * n + j]; a[c * n + j] = a[pivot * n + j]; a[pivot * n + j] = s; }
        double s = y[c]; y[c] = y[pivot]; y[pivot] = s;
        for (int r = 0; r < n; r++) {
            if (r == c) continue;
            double f = a[r * n + c] / a[c * n + c];
            for (int j = c; j < n; j++) a[r * n + j] -= f * a[c * n + j];
            y[r] -= f * y[c];
        }
    }
    for (int c = 0; c < n; c++) y[c] /= a[c * n + c];
    return 1;
}

/* min sum |eps_j| s.t. sense_i (z_i + sum_j gram_ij eps_j - goal_i) >= 0: an optimum lies at a vertex, where as many
 * constraints are tight as strengths are non-zero; with at most four targets all vertices are tried. */
static int least_write(const Edit *e, const float *z, float *eps) {
    const int n = e->count;
    int free[TARGETS], m = 0, met = 1;
    for (int i = 0; i < n; i++) {
        eps[i] = 0;
        if (e->sense[i]) { free[m++] = i; if (e->sense[i] * (z[i] - e->goal[i]) < 0) met = 0; }
    }
    if (met) return 1;
    double best = INFINITY;
    for (int tight = 1; tight < 1 << m; tight++)
        for (int used = 1; used < 1 << m; used++) {
            const int size = __builtin_popcount(tight);
            if (size != __builtin_popcount(used)) continue;
            double a[TARGETS * TARGETS], y[TARGETS], trial[TARGETS] = {0}, cost = 0;
            int r = 0;
            for (int i = 0; i < m; i++) {
                if (!(tight >> i & 1)) continue;
                int c = 0;
                for (int j = 0; j < m; j++) if (used >> j & 1) a[r * size + c++] = e->gram[free[i] * n + free[j]];
                y[r++] = (double)e->goal[free[i]] - z[free[i]];
            }
            if (!solve(a, y, size)) continue;
            for (int j = 0, c = 0; j < m; j++) if (used >> j & 1) { trial[free[j]] = y[c++]; cost += fabs(y[c - 1]); }
            if (!(cost < best)) continue;
            int ok = 1;
            for (int i = 0; i < m && ok; i++) {
                double after = z[free[i]];
                for (int j = 0; j < n; j++) after += e->gram[free[i] * n + j] * trial[j];
                ok = e->sense[free[i]] * (after - e->goal[free[i]]) >= -1e-4 * (1 + fabs(e->goal[free[i]]));
            }
            if (!ok) continue;
            best = cost;
            for (int j = 0; j < n; j++) eps[j] = trial[j];
        }
    return best < INFINITY;
}

static void apply(const Edit *e, float *x, int width, int position, float *trace) {
    float z[TARGETS] = {0}, eps[TARGETS] = {0}, flag = 0;
    const float norm = sqrtf(dot(x, x, width));
    for (int i = 0; i < e->count; i++) z[i] = dot(e->read + (size_t)i * width, x, width) + e->bias[i];
    if (position >= e->from) {
        if (e->fixed) memcpy(eps, e->fixed, e->count * sizeof(float));
        else if (!least_write(e, z, eps)) flag = 2;
        float write[width];
        int any = 0;
        memset(write, 0, sizeof write);
        for (int i = 0; i < e->count; i++) if (eps[i] != 0) { axpy(eps[i], e->write + (size_t)i * width, write, width); any = 1; }
        if (any) {
            float size = sqrtf(dot(write, write, width)), scale = 1;
            if (e->cap > 0 && size > e->cap * norm) { scale = e->cap * norm / size; flag = 1; }
            if (!e->fixed && !e->cap && e->count > 1 && size > MOST_PUSH * norm) { scale = 0; flag = 2; }
            for (int i = 0; i < e->count; i++) eps[i] *= scale;
            if (scale) axpy(scale, write, x, width);
        }
    }
    if (trace) {
        memcpy(trace, z, sizeof z);
        memcpy(trace + TARGETS, eps, sizeof eps);
        trace[2 * TARGETS] = norm;
        trace[2 * TARGETS + 1] = flag;
    }
}


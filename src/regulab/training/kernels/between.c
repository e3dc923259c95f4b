/* What stands between two convolutions, in few passes over memory: max pooling 2x2, batch normalization, ReLU, dropout.
 * And whole blocks with their convolutions, in chains. The equations stand in between.py.
 *
 * Maps are channels-last: (B, H, W, K), K = runs x channels, contiguous; within a chain, see chain.h. T is float, or with
 * -DBF16 bfloat16; arithmetic and statistics are float.
 *
 * Sums are taken over parts of a fixed size and these are added in their order, so that results do not depend on the number
 * of threads. Every thread adds them up for itself: that takes microseconds, and waiting for another may take a time slice
 * (on a busy machine a fleet fell from 14,000 to 900 model-images/s at such barriers: docs/log.md).
 */
#include <omp.h>

#include "vectors.h"
#include "convolve.h"
#include "statistics.h"
#include "rows.h"
#include "images.h"
#include "chain.h"
#include "calls.h"
#include "chunks.h"

/* Blocks without a convolution of ours (shape.inputs 0): x is the map before pooling. Returns 0, or 1 where memory ends. In
 * training fills p and won (pool 2; else p is x and may be NULL), mean and variance; in inference reads these. */
int forward(const Block *block, int training, const T *x, T *y) {
    const Shape *s = &block->shape;
    const Plan own = plan_of(s), *plan = &own;
    int64_t K = plan->K, threads = omp_get_max_threads();
    float *partial = malloc(sizeof(float) * 2 * plan->chunks * K), *vectors = malloc(sizeof(float) * threads * LINES * K);
    double *totals = malloc(sizeof(double) * threads * 2 * K);
    int failed = !partial || !vectors || !totals;
    T *p = s->pool == 2 ? (training ? block->p : y) : (T *)x; /* in inference y is normalized in its place */
    if (!failed) {
#pragma omp parallel
        {
            int64_t me = omp_get_thread_num();
            Lines lines = lines_at(vectors + me * LINES * K, K);
            if (training || s->pool == 2) {
#pragma omp for schedule(static)
                for (int64_t c = 0; c < plan->chunks; c++) take_chunk(block, plan, x, c, p, partial + 2 * c * K, training);
            }
            if (training) {
                merge(partial, plan->rows * plan->wide, plan->length * plan->wide, K, totals + me * 2 * K, &lines);
                find_line(block, &lines);
            } else take_statistics(block, &lines);
#pragma omp for schedule(static)
            for (int64_t c = 0; c < plan->chunks; c++) normalize_chunk(block, plan, &lines, p, c, y);
            if (me == 0 && training) leave_statistics(block, &lines, plan->rows * plan->wide);
        }
    }
    free(partial), free(vectors), free(totals);
    return failed;
}

/* Returns 0, or 1 where memory ends. Places that no window covers (odd height or width) must be 0 in dx beforehand. */
int backward(const Block *block, const T *grad, const T *x, T *dx) {
    const Shape *s = &block->shape;
    const Plan own = plan_of(s), *plan = &own;
    int64_t K = plan->K, threads = omp_get_max_threads();
    float *partial = malloc(sizeof(float) * 2 * plan->chunks * K), *vectors = malloc(sizeof(float) * threads * LINES * K);
    double *totals = malloc(sizeof(double) * threads * 2 * K);
    int failed = !partial || !vectors || !totals;
    const T *p = s->pool == 2 ? block->p : x;
    if (!failed) {
#pragma omp parallel
        {
            int64_t me = omp_get_thread_num();
            Lines lines = lines_at(vectors + me * LINES * K, K);
            take_statistics(block, &lines);
#pragma omp for schedule(static)
            for (int64_t c = 0; c < plan->chunks; c++) add_up_chunk(block, plan, &lines, grad, p, c, partial + 2 * c * K);
            find_slopes(block, partial, plan->rows * plan->wide, plan->chunks, totals + me * 2 * K, &lines, me == 0);
#pragma omp for schedule(static)
            for (int64_t c = 0; c < plan->chunks; c++) spread_chunk(block, plan, &lines, grad, p, c, dx);
        }
    }
    free(partial), free(vectors), free(totals);
    return failed;
}

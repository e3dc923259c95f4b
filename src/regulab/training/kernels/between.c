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
#include "threads.h"
#include "vectors.h"
#include "convolve.h"
#include "statistics.h"
#include "rows.h"
#include "images.h"
#include "chain.h"
#include "calls.h"
#include "chunks.h"
#include "draws.h"

/* A call of forward() or backward(), and what its threads share: sums of every chunk, and a share for each thread of the
 * rest. */
typedef struct {
    const Block *block;
    Plan plan;
    int training;
    const T *x, *grad;
    T *p, *y, *dx;
    float *partial, *vectors;
    double *totals;
} Call;

static void forward_share(void *data) {
    const Call *call = data;
    const Block *block = call->block;
    const Plan *plan = &call->plan;
    int64_t me = threads.number(), K = plan->K;
    int training = call->training;
    Lines lines = lines_at(call->vectors + me * LINES * K, K);
    if (training || block->shape.pool == 2)
        FOR_MINE(c, plan->chunks) take_chunk(block, plan, call->x, c, call->p, call->partial + 2 * c * K, training);
    threads.wait();
    if (training) {
        merge(call->partial, plan->rows * plan->wide, plan->length * plan->wide, K, call->totals + me * 2 * K, &lines);
        find_line(block, &lines);
    } else take_statistics(block, &lines);
    FOR_MINE(c, plan->chunks) normalize_chunk(block, plan, &lines, call->p, c, call->y);
    if (me == 0 && training) leave_statistics(block, &lines, plan->rows * plan->wide);
}

static void backward_share(void *data) {
    const Call *call = data;
    const Block *block = call->block;
    const Plan *plan = &call->plan;
    int64_t me = threads.number(), K = plan->K;
    Lines lines = lines_at(call->vectors + me * LINES * K, K);
    take_statistics(block, &lines);
    FOR_MINE(c, plan->chunks) add_up_chunk(block, plan, &lines, call->grad, call->p, c, call->partial + 2 * c * K);
    threads.wait();
    find_slopes(block, call->partial, plan->rows * plan->wide, plan->chunks, call->totals + me * 2 * K, &lines, me == 0);
    FOR_MINE(c, plan->chunks) spread_chunk(block, plan, &lines, call->grad, call->p, c, call->dx);
}

/* Returns 0, or 1 where memory ends. */
static int answer(Call *call, void (*work)(void *)) {
    int64_t K = call->plan.K, most = threads.most();
    call->partial = malloc(sizeof(float) * 2 * call->plan.chunks * K);
    call->vectors = malloc(sizeof(float) * most * LINES * K);
    call->totals = malloc(sizeof(double) * most * 2 * K);
    int failed = !call->partial || !call->vectors || !call->totals;
    if (!failed) in_parallel(work, call);
    free(call->partial), free(call->vectors), free(call->totals);
    return failed;
}

/* Blocks without a convolution of ours (shape.inputs 0): x is the map before pooling. Returns 0, or 1 where memory ends. In
 * training fills p and won (pool 2; else p is x and may be NULL), mean and variance; in inference reads these. */
int forward(const Block *block, int training, const T *x, T *y) {
    T *p = block->shape.pool == 2 ? (training ? block->p : y) : (T *)x; /* in inference y is normalized in its place */
    Call call = {.block = block, .plan = plan_of(&block->shape), .training = training, .x = x, .p = p, .y = y};
    return answer(&call, forward_share);
}

/* Returns 0, or 1 where memory ends. Places that no window covers (odd height or width) must be 0 in dx beforehand. */
int backward(const Block *block, const T *grad, const T *x, T *dx) {
    T *p = block->shape.pool == 2 ? block->p : (T *)x;
    Call call = {.block = block, .plan = plan_of(&block->shape), .grad = grad, .p = p, .dx = dx};
    return answer(&call, backward_share);
}

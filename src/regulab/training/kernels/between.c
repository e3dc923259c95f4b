/* What stands between two convolutions, in few passes over memory: max pooling 2x2, batch normalization, ReLU, dropout.
 * And whole blocks with their convolution, whose output is then never written: that of one or three channels, pooled as it
 * is computed; and, where tiles.h has a processor for it, that of 16 channels. The equations stand in between.py.
 *
 * Maps are channels-last: (B, H, W, K), K = runs x channels, contiguous. A row is one place of the pooled map: K values.
 * T is float, or with -DBF16 bfloat16; arithmetic and statistics are float.
 *
 * Rows are taken by chunks of a fixed length, these by strips that the first cache holds with all that belongs to them, and
 * a strip by blocks of LANES channels, whose constants and sums stay in registers. The sums of chunks are added in their
 * order, so that results do not depend on the number of threads. Every thread adds them up for itself: that takes
 * microseconds, and waiting for another may take a time slice (on a busy machine a fleet fell from 14,000 to 900
 * model-images/s at such barriers: docs/log.md).
 */
#include "rows.h"
#include "threads.h"

#if defined(BF16) && (defined(__AMX_BF16__) || defined(__AMXBF16__))
#define TILES 1
#include "tiles.h"
#else /* nothing is by tiles */
#define TILES 0
#define BY_TILES(s) 0
#define GROUP 1
#define open_workspace(...) 0
#define close_workspace(...) (void)0
#define arrange_all(...) NULL
#define pack_image(...) (void)0
#define unpack_image(...) (void)0
#define transposed(i) i
typedef struct {
    char nothing;
} Workspace;
#endif

#include "chunks.h"

#if TILES
/* As pool() or narrowing alone, of one run of an image, from the sums of its convolution. */
INLINE void take_sums(const Shape *s, const float *sums, T *p, uint8_t *won, float *sum, int size) {
    int64_t P = pitch(s), K = s->runs * WIDTH, row = 0;
    V total = floats(sum, WIDTH);
    for (int64_t y = 0; y < s->height / size; y++)
        for (int64_t x = 0; x < s->width / size; x++, row++) {
            const float *here = sums + size * (y * P + x) * WIDTH;
            V best = floats(here, WIDTH);
            I which = {0};
            for (int i = 1; i < size * size; i++) {
                V other = floats(here + (i / 2 * P + i % 2) * WIDTH, WIDTH);
                I wins = (other > best) | (other != other);
                which = (wins & i) | (~wins & which);
                best = choose(wins, other, best);
            }
            N narrowed = narrow(best);
            memcpy(p + row * K, &narrowed, sizeof(N));
            if (size == 2) {
                B winner = __builtin_convertvector(which, B);
                memcpy(won + row * K, &winner, sizeof(B));
            }
            total += load((T *)&narrowed, WIDTH);
        }
    memcpy(sum, &total, sizeof(V));
}

/* As take_chunk(), for one image. */
static void pack_image(const Shape *s, const Plan *plan, const Workspace *work, const T *tiles, const T *x, int64_t image,
                       T *p, uint8_t *won, float *sum) {
    for (int64_t run = 0; run < s->runs; run++) {
        int64_t one = run * WIDTH, at = image * plan->image_rows * plan->K + one;
        lay_out(s, x, image, run, work->pairs);
        multiply_all(s, work->pairs, tiles + run * PAIRS * TILE, work->sums);
        if (s->pool == 2) take_sums(s, work->sums, p + at, won + at, sum + one, 2);
        else take_sums(s, work->sums, p + at, NULL, sum + one, 1);
    }
}

/* As spread_chunk(), for one image: through the convolution to its input, and to its weights (runs, TAPS, 16 out, 16 in). */
static void unpack_image(const Shape *s, const Plan *plan, const Way *way, const Workspace *work, const T *tiles,
                         const T *x, const T *grad, const T *p, const uint8_t *won, int64_t image, T *dx,
                         float *dweight) {
    int64_t K = plan->K, row = pitch(s) * WIDTH, places[STRIP];
    for (int64_t run = 0; run < s->runs; run++) {
        int64_t one = run * WIDTH;
        STRIPS(image) {
            int64_t at = from * K + one;
            Gate gate = gate_of(way, WIDTH, run, from);
            find(s, from, from + count, s->pool * WIDTH, s->pool * row, 0, places);
            T *inside = work->grads + row + WIDTH;
            if (s->pool == 2)
                spread_gradients(grad + at, p + at, won + at, places, count, K, WIDTH, row, &gate, inside, 0, WIDTH);
            else
                spread_gradients(grad + at, p + at, NULL, places, count, K, 0, 0, &gate, inside, 0, WIDTH);
        }
        go_back(s, work, x, image, run, tiles + run * PAIRS * TILE, dweight + one * TAPS * WIDTH);
        T *to = dx + image * s->height * s->width * K + one;
        for (int64_t y = 0; y < s->height; y++)
            for (int64_t x = 0; x < s->width; x++, to += K) {
                N narrowed = narrow(floats(work->sums + (y * pitch(s) + x) * WIDTH, WIDTH));
                memcpy(to, &narrowed, sizeof(N));
            }
    }
}
#endif

static void add_chunks(const float *partial, int64_t chunks, int64_t K, double *total) {
    memset(total, 0, sizeof(double) * K);
    for (int64_t c = 0; c < chunks; c++)
        for (int64_t k = 0; k < K; k++) total[k] += partial[c * K + k];
}

/* Mean and variance (biased) of all rows from every chunk's sums, and its squares about a mean of its own: n variance is
 * the sum over chunks of squares + n_chunk (mean_chunk - mean)^2. Source: Chan, Golub & LeVeque 1983. */
static void merge(const Plan *plan, const float *partial, double *total, float *mean, float *variance) {
    int64_t K = plan->K;
    add_chunks(partial, plan->chunks, 2 * K, total);
    for (int64_t k = 0; k < K; k++) total[k] /= (double)plan->rows;
    for (int64_t c = 0; c < plan->chunks; c++) {
        double n = (double)least(plan->length, plan->rows - c * plan->length);
        for (int64_t k = 0; k < K; k++) {
            double off = partial[2 * c * K + k] / n - total[k];
            total[K + k] += n * off * off;
        }
    }
    for (int64_t k = 0; k < K; k++) {
        mean[k] = (float)total[k];
        variance[k] = (float)(total[K + k] / (double)plan->rows);
    }
}

/* What normalize() multiplies with and adds. */
static void find_line(int64_t K, const float *gamma, const float *beta, const float *mean, const float *variance,
                      float eps, float *a, float *b) {
    for (int64_t k = 0; k < K; k++) {
        a[k] = gamma[k] / sqrtf(variance[k] + eps);
        b[k] = beta[k] - mean[k] * a[k];
    }
}

/* From the sums of the gradients and of their products (total): what Gate makes of a gradient that of its place, and, for the
 * one thread that asks for them, the gradients of gamma and beta. */
static void find_slopes(const Plan *plan, const float *gamma, const float *variance, float eps, const double *total,
                        float *outer, float *slope, float *shift, float *dgamma, float *dbeta) {
    int64_t K = plan->K;
    for (int64_t k = 0; k < K; k++) {
        float inverse = 1 / sqrtf(variance[k] + eps), product = (float)(total[K + k] * inverse);
        outer[k] = gamma[k] * inverse;
        slope[k] = product * inverse / plan->rows;
        shift[k] = (float)total[k] / plan->rows;
        if (dgamma) {
            dbeta[k] = (float)total[k];
            dgamma[k] = product;
        }
    }
}

/* The gradient of the weights from its parts, in their order; divided among the threads of the team that calls it. */
static void add_parts(const Shape *s, const float *parts, int64_t count, int64_t weights, float *dweight) {
    FOR_MINE(i, weights) {
        double sum = 0;
        for (int64_t part = 0; part < count; part++) sum += parts[part * weights + i];
        dweight[BY_TILES(s) ? transposed(i) : i] = (float)sum;
    }
}

/* What forward() and backward() were called with, and what their threads share. */
typedef struct {
    const Shape *s;
    const Convolution *conv;
    Plan plan;
    int training;
    const T *x, *p, *grad;
    T *pooled, *y, *dx;
    uint8_t *won;
    const float *gamma, *beta, *scale;
    float eps, *mean, *variance, *dgamma, *dbeta;
    const int16_t *const *draws;
    const int16_t *low;
    float *partial, *vectors, *dweights;
    double *totals;
    T *tiles;
    int64_t group, parts;
    int failed; /* of some thread: memory ended */
} Pass;

static void fail(Pass *pass) { __atomic_store_n(&pass->failed, 1, __ATOMIC_RELAXED); }

/* Pooled or convolved maps of this thread's chunks, and their sums. */
static void take_all(Pass *pass) {
    const Shape *s = pass->s;
    const Plan *plan = &pass->plan;
    Workspace work __attribute__((unused)) = {0};
    int open = !BY_TILES(s) || open_workspace(s, &work) == 0;
    if (!open) fail(pass);
    FOR_MINE(c, plan->chunks) {
        float *sum = pass->partial + 2 * c * plan->K;
        memset(sum, 0, sizeof(float) * 2 * plan->K);
        if (!open) continue;
        if (BY_TILES(s)) pack_image(s, plan, &work, pass->tiles, pass->x, c, pass->pooled, pass->won, sum);
        else take_chunk(s, plan, pass->conv, pass->x, c, pass->pooled, pass->won, sum);
        if (pass->training) square_chunk(s, plan, pass->p, c, sum, sum + plan->K);
    }
    if (BY_TILES(s) && open) close_workspace(&work);
}

static void go_forward(void *data) {
    Pass *pass = data;
    const Shape *s = pass->s;
    const Plan *plan = &pass->plan;
    int64_t me = threads.number(), K = plan->K;
    float *center = pass->vectors + me * 4 * K, *spread = center + K, *a = spread + K, *b = a + K;
    memcpy(center, pass->mean, sizeof(float) * K);
    memcpy(spread, pass->variance, sizeof(float) * K);
    if (pass->training || pass->p != pass->x) take_all(pass);
    threads.wait();
    if (pass->training) merge(plan, pass->partial, pass->totals + me * 2 * K, center, spread);
    find_line(K, pass->gamma, pass->beta, center, spread, pass->eps, a, b);
    FOR_MINE(c, plan->chunks) normalize_chunk(s, plan, pass->p, c, a, b, pass->draws, pass->low, pass->scale, pass->y);
    if (me == 0) { /* the others have read them: they have passed a barrier */
        memcpy(pass->mean, center, sizeof(float) * K);
        memcpy(pass->variance, spread, sizeof(float) * K);
    }
}

/* Gradients of this thread's chunks to where they came from. */
static void spread_all(Pass *pass, const Way *way) {
    const Shape *s = pass->s;
    const Plan *plan = &pass->plan;
    int64_t weights = plan->K * TAPS * s->inputs;
    Workspace work __attribute__((unused)) = {0};
    if (BY_TILES(s) && open_workspace(s, &work)) {
        fail(pass);
        return;
    }
    FOR_MINE(part, pass->parts)
        for (int64_t c = part * pass->group; c < least(plan->chunks, (part + 1) * pass->group); c++) {
            float *dweight = pass->dweights + part * weights;
            if (BY_TILES(s))
                unpack_image(s, plan, way, &work, pass->tiles, pass->conv->image, pass->grad, pass->p, pass->won, c,
                             pass->dx, dweight);
            else
                spread_chunk(s, plan, way, pass->conv, pass->grad, pass->p, pass->won, c, pass->dx, dweight);
        }
    if (BY_TILES(s)) close_workspace(&work);
}

static void go_back_all(void *data) {
    Pass *pass = data;
    const Shape *s = pass->s;
    const Plan *plan = &pass->plan;
    int64_t me = threads.number(), K = plan->K;
    double *total = pass->totals + me * 2 * K;
    float *a = pass->vectors + me * 5 * K, *b = a + K, *outer = b + K, *slope = outer + K, *shift = slope + K;
    const Way way = {a, b, pass->scale, pass->mean, outer, slope, shift, pass->draws, pass->low, relu_first(s)};
    find_line(K, pass->gamma, pass->beta, pass->mean, pass->variance, pass->eps, a, b);
    FOR_MINE(c, plan->chunks) {
        memset(pass->partial + 2 * c * K, 0, sizeof(float) * 2 * K);
        add_up_chunk(s, plan, &way, pass->grad, pass->p, c, pass->partial + 2 * c * K);
    }
    threads.wait();
    add_chunks(pass->partial, plan->chunks, 2 * K, total);
    find_slopes(plan, pass->gamma, pass->variance, pass->eps, total, outer, slope, shift, me ? NULL : pass->dgamma,
                pass->dbeta);
    spread_all(pass, &way);
    threads.wait();
    if (s->inputs) add_parts(s, pass->dweights, pass->parts, K * TAPS * s->inputs, pass->conv->dweight);
}

/* Calls work on all threads with memory for them. Returns 0, or 1 where memory ends. */
static int run(Pass *pass, void (*work)(void *), int turned, int64_t weights) {
    int64_t K = pass->plan.K, most = threads.most();
    pass->partial = malloc(sizeof(float) * 2 * pass->plan.chunks * K);
    pass->vectors = malloc(sizeof(float) * most * 5 * K);
    pass->dweights = calloc(weights + 1, sizeof(float));
    pass->totals = malloc(sizeof(double) * most * 2 * K);
    pass->tiles = BY_TILES(pass->s) ? arrange_all(pass->s, pass->conv->weight, turned) : NULL;
    pass->failed = !pass->partial || !pass->vectors || !pass->dweights || !pass->totals;
    pass->failed |= BY_TILES(pass->s) && !pass->tiles;
    if (!pass->failed) in_parallel(work, pass);
    free(pass->partial), free(pass->vectors), free(pass->dweights), free(pass->totals), free(pass->tiles);
    return pass->failed;
}

/* Returns 0, or 1 where memory ends. In training fills pooled (but where p is x: neither pooling nor convolution), won
 * (pool 2), mean and variance (biased); in inference reads mean and variance, and pooled may be y. draws: a pointer for each
 * run, or NULL without dropout; low: a threshold for each run; scale: a factor for each of the K channels. */
int forward(const Shape *s, const Convolution *conv, int training, const T *x, T *pooled, uint8_t *won, T *y,
            const float *gamma, const float *beta, float eps, float *mean, float *variance,
            const int16_t *const *draws, const int16_t *low, const float *scale) {
    Pass pass = {.s = s, .conv = conv, .plan = plan_of(s), .training = training, .x = x, .pooled = pooled, .won = won,
                 .p = s->pool == 2 || s->inputs ? pooled : x, .y = y, .gamma = gamma, .beta = beta, .eps = eps,
                 .mean = mean, .variance = variance, .draws = draws, .low = low, .scale = scale};
    return run(&pass, go_forward, 0, 0);
}

/* Returns 0, or 1 where memory ends. Without convolution, places that no window covers (odd height or width) must be 0 in dx
 * beforehand. */
int backward(const Shape *s, const Convolution *conv, const T *grad, const T *pooled, const uint8_t *won, T *dx,
             const float *gamma, const float *beta, const float *mean, const float *variance, float eps,
             const int16_t *const *draws, const int16_t *low, const float *scale, float *dgamma, float *dbeta) {
    Pass pass = {.s = s, .conv = conv, .plan = plan_of(s), .grad = grad, .p = pooled, .won = (uint8_t *)won, .dx = dx,
                 .gamma = gamma, .beta = beta, .mean = (float *)mean, .variance = (float *)variance, .eps = eps,
                 .draws = draws, .low = low, .scale = scale, .dgamma = dgamma, .dbeta = dbeta};
    pass.group = BY_TILES(s) ? GROUP : (pass.plan.chunks + PARTS - 1) / PARTS;
    pass.parts = (pass.plan.chunks + pass.group - 1) / pass.group;
    return run(&pass, go_back_all, 1, pass.parts * pass.plan.K * TAPS * s->inputs);
}

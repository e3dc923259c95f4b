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

#include <omp.h>

#if defined(BF16) && defined(__AMX_BF16__)
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
#include "draws.h"

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

/* The gradient of the weights from its parts, in their order; divided among the threads of the region that calls it. */
static void add_parts(const Shape *s, const float *parts, int64_t count, int64_t weights, float *dweight) {
#pragma omp for schedule(static)
    for (int64_t i = 0; i < weights; i++) {
        double sum = 0;
        for (int64_t part = 0; part < count; part++) sum += parts[part * weights + i];
        dweight[BY_TILES(s) ? transposed(i) : i] = (float)sum;
    }
}

/* Returns 0, or 1 where memory ends. In training fills pooled (but where p is x: neither pooling nor convolution), won
 * (pool 2), mean and variance (biased); in inference reads mean and variance, and pooled may be y. draws: a pointer for each
 * run, or NULL without dropout; low: a threshold for each run; scale: a factor for each of the K channels. */
int forward(const Shape *s, const Convolution *conv, int training, const T *x, T *pooled, uint8_t *won, T *y,
            const float *gamma, const float *beta, float eps, float *mean, float *variance,
            const int16_t *const *draws, const int16_t *low, const float *scale) {
    const Plan own = plan_of(s), *plan = &own;
    int64_t K = plan->K, threads = omp_get_max_threads();
    float *partial = malloc(sizeof(float) * 2 * plan->chunks * K), *vectors = malloc(sizeof(float) * threads * 4 * K);
    double *totals = malloc(sizeof(double) * threads * 2 * K);
    T *tiles = BY_TILES(s) ? arrange_all(s, conv->weight, 0) : NULL;
    int failed = !partial || !vectors || !totals || (BY_TILES(s) && !tiles), taken = s->pool == 2 || s->inputs;
    const T *p = taken ? pooled : x;
    if (!failed) {
#pragma omp parallel reduction(| : failed)
        {
            int64_t me = omp_get_thread_num();
            double *total = totals + me * 2 * K;
            float *center = vectors + me * 4 * K, *spread = center + K, *a = spread + K, *b = a + K;
            memcpy(center, mean, sizeof(float) * K);
            memcpy(spread, variance, sizeof(float) * K);
            Workspace work __attribute__((unused)) = {0};
            if (BY_TILES(s)) failed |= open_workspace(s, &work);
            if (training || taken) {
#pragma omp for schedule(static)
                for (int64_t c = 0; c < plan->chunks; c++) {
                    float *sum = partial + 2 * c * K;
                    memset(sum, 0, sizeof(float) * 2 * K);
                    if (failed) continue;
                    if (BY_TILES(s)) pack_image(s, plan, &work, tiles, x, c, pooled, won, sum);
                    else take_chunk(s, plan, conv, x, c, pooled, won, sum);
                    if (training) square_chunk(s, plan, p, c, sum, sum + K);
                }
            }
            if (BY_TILES(s) && !failed) close_workspace(&work);
            if (training) merge(plan, partial, total, center, spread);
            find_line(K, gamma, beta, center, spread, eps, a, b);
#pragma omp for schedule(static)
            for (int64_t c = 0; c < plan->chunks; c++)
                normalize_chunk(s, plan, p, c, a, b, draws, low, scale, y);
            if (me == 0) { /* the others have read them: they have passed a barrier */
                memcpy(mean, center, sizeof(float) * K);
                memcpy(variance, spread, sizeof(float) * K);
            }
        }
    }
    free(partial), free(vectors), free(totals), free(tiles);
    return failed;
}

/* Returns 0, or 1 where memory ends. Without convolution, places that no window covers (odd height or width) must be 0 in dx
 * beforehand. */
int backward(const Shape *s, const Convolution *conv, const T *grad, const T *pooled, const uint8_t *won, T *dx,
             const float *gamma, const float *beta, const float *mean, const float *variance, float eps,
             const int16_t *const *draws, const int16_t *low, const float *scale, float *dgamma, float *dbeta) {
    const Plan own = plan_of(s), *plan = &own;
    int64_t K = plan->K, threads = omp_get_max_threads(), weights = K * TAPS * s->inputs;
    int64_t group = BY_TILES(s) ? GROUP : (plan->chunks + PARTS - 1) / PARTS;
    int64_t parts = (plan->chunks + group - 1) / group;
    float *partial = malloc(sizeof(float) * 2 * plan->chunks * K), *vectors = malloc(sizeof(float) * threads * 5 * K);
    float *dweights = calloc(parts * weights + 1, sizeof(float));
    double *totals = malloc(sizeof(double) * threads * 2 * K);
    T *tiles = BY_TILES(s) ? arrange_all(s, conv->weight, 1) : NULL;
    int failed = !partial || !vectors || !totals || !dweights || (BY_TILES(s) && !tiles);
    if (!failed) {
#pragma omp parallel reduction(| : failed)
        {
            int64_t me = omp_get_thread_num();
            double *total = totals + me * 2 * K;
            float *a = vectors + me * 5 * K, *b = a + K, *outer = b + K, *slope = outer + K, *shift = slope + K;
            const Way way = {a, b, scale, mean, outer, slope, shift, draws, low, relu_first(s)};
            find_line(K, gamma, beta, mean, variance, eps, a, b);
#pragma omp for schedule(static)
            for (int64_t c = 0; c < plan->chunks; c++) {
                memset(partial + 2 * c * K, 0, sizeof(float) * 2 * K);
                add_up_chunk(s, plan, &way, grad, pooled, c, partial + 2 * c * K);
            }
            add_chunks(partial, plan->chunks, 2 * K, total);
            find_slopes(plan, gamma, variance, eps, total, outer, slope, shift, me ? NULL : dgamma, dbeta);
            Workspace work __attribute__((unused)) = {0};
            if (BY_TILES(s)) failed |= open_workspace(s, &work);
#pragma omp for schedule(static)
            for (int64_t part = 0; part < parts; part++)
                for (int64_t c = part * group; c < least(plan->chunks, (part + 1) * group) && !failed; c++) {
                    float *dweight = dweights + part * weights;
                    if (BY_TILES(s))
                        unpack_image(s, plan, &way, &work, tiles, conv->image, grad, pooled, won, c, dx, dweight);
                    else
                        spread_chunk(s, plan, &way, conv, grad, pooled, won, c, dx, dweight);
                }
            if (BY_TILES(s) && !failed) close_workspace(&work);
            add_parts(s, dweights, parts, weights, conv->dweight);
        }
    }
    free(partial), free(vectors), free(totals), free(dweights), free(tiles);
    return failed;
}

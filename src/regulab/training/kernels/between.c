/* What stands between two convolutions, in few passes over memory: max pooling 2x2, batch normalization, ReLU, dropout.
 *
 * Maps are channels-last: (B, H, W, K), K = runs x channels, contiguous. A row is one place of the pooled map: K values.
 * T is float, or with -DBF16 bfloat16; arithmetic and statistics are float. Sums over rows go by chunks of a fixed
 * length, whose totals are added in order, so that results do not depend on the number of threads. Every thread adds
 * them up for itself: that takes microseconds, and waiting for another thread may take a time slice.
 * The equations stand in between.py.
 */
#include <math.h>
#include <omp.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#define ROWS 64 /* of a chunk: long enough to amortize its sums, short enough for float accumulators */

#ifdef BF16
typedef uint16_t T;
static inline float load(T v) {
    uint32_t bits = (uint32_t)v << 16;
    float f;
    memcpy(&f, &bits, 4);
    return f;
}
static inline T store(float f) { /* rounds to nearest, ties to even; a NaN stays one */
    uint32_t bits;
    memcpy(&bits, &f, 4);
    uint32_t rounded = (bits + 0x7fffu + ((bits >> 16) & 1u)) >> 16;
    return (T)((bits & 0x7fffffffu) > 0x7f800000u ? 0x7fc0u : rounded);
}
#else
typedef float T;
static inline float load(T v) { return v; }
static inline T store(float f) { return f; }
#endif

typedef struct {
    int64_t images, height, width, runs, channels; /* of the map before pooling; channels of one run */
    int64_t pool;                                  /* 1: none, 2: windows of 2x2 */
} Shape;

static inline int64_t least(int64_t a, int64_t b) { return a < b ? a : b; }

static inline float larger(float value, float best) { return value > best || value != value; }

/* Places of row r: the upper left of its window in the map before pooling. */
static inline int64_t window(const Shape *s, int64_t r) {
    int64_t h = s->height / 2, w = s->width / 2, image = r / (h * w), rest = r % (h * w);
    return ((image * s->height + 2 * (rest / w)) * s->width + 2 * (rest % w)) * s->runs * s->channels;
}

/* One pooled row, and which of the four won: the first of the largest, a NaN before all. */
static inline void pool_row(const T *restrict x, int64_t right, int64_t down, int64_t K, T *restrict out,
                            uint8_t *restrict won) {
#pragma omp simd
    for (int64_t k = 0; k < K; k++) {
        float best = load(x[k]), b = load(x[right + k]), c = load(x[down + k]), d = load(x[down + right + k]);
        int32_t which = 0;
        which = larger(b, best) ? 1 : which;
        best = larger(b, best) ? b : best;
        which = larger(c, best) ? 2 : which;
        best = larger(c, best) ? c : best;
        which = larger(d, best) ? 3 : which;
        best = larger(d, best) ? d : best;
        out[k] = store(best);
        won[k] = (uint8_t)which;
    }
}

static void pool_chunk(const Shape *s, int64_t from, int64_t to, const T *x, T *pooled, uint8_t *won) {
    int64_t K = s->runs * s->channels;
    for (int64_t r = from; r < to; r++)
        pool_row(x + window(s, r), K, s->width * K, K, pooled + r * K, won + r * K);
}

static void add_chunks(const float *partial, int64_t chunks, int64_t K, double by, double *total) {
    memset(total, 0, sizeof(double) * K);
    for (int64_t c = 0; c < chunks; c++)
        for (int64_t k = 0; k < K; k++) total[k] += partial[c * K + k];
    for (int64_t k = 0; k < K; k++) total[k] *= by;
}

static void normalize_chunk(const Shape *s, int64_t from, int64_t to, const T *pooled, const float *a, const float *b,
                            const int16_t *const *draws, const int16_t *low, const float *scale, T *y) {
    int64_t C = s->channels, K = s->runs * C;
    for (int64_t r = from; r < to; r++)
        for (int64_t run = 0; run < s->runs; run++) {
            const T *restrict in = pooled + r * K + run * C;
            const float *restrict as = a + run * C, *restrict bs = b + run * C;
            T *restrict out = y + r * K + run * C;
            if (draws) {
                const int16_t *restrict draw = draws[run] + r * C;
                int16_t drop = low[run];
                float factor = scale[run * C];
#pragma omp simd
                for (int64_t k = 0; k < C; k++) {
                    float v = load(in[k]) * as[k] + bs[k];
                    v = v < 0 ? 0 : v; /* a NaN passes */
                    out[k] = store(draw[k] < drop ? 0 : v * factor);
                }
            } else {
#pragma omp simd
                for (int64_t k = 0; k < C; k++) {
                    float v = load(in[k]) * as[k] + bs[k];
                    out[k] = store(v < 0 ? 0 : v);
                }
            }
        }
}

/* Returns 0, or 1 where memory ends. In training fills pooled, won (pool 2), mean and variance (biased); in inference
 * reads mean and variance, and pooled may be y. draws: a pointer for each run, or NULL without dropout; low: a
 * threshold for each run; scale: a factor for each of the K channels. */
int forward(const Shape *s, int training, const T *x, T *pooled, uint8_t *won, T *y, const float *gamma,
            const float *beta, float eps, float *mean, float *variance, const int16_t *const *draws,
            const int16_t *low, const float *scale) {
    int64_t K = s->runs * s->channels, threads = omp_get_max_threads();
    int64_t rows = s->images * (s->height / s->pool) * (s->width / s->pool), chunks = (rows + ROWS - 1) / ROWS;
    float *partial = malloc(sizeof(float) * 2 * chunks * K), *squares = partial + chunks * K;
    float *own = malloc(sizeof(float) * threads * 4 * K);
    double *totals = malloc(sizeof(double) * threads * K);
    if (!partial || !own || !totals) {
        free(partial), free(own), free(totals);
        return 1;
    }
    const T *p = s->pool == 2 ? pooled : x;
#pragma omp parallel
    {
        int64_t me = omp_get_thread_num();
        double *total = totals + me * K;
        float *center = own + me * 4 * K, *spread = center + K, *a = spread + K, *b = a + K;
        memcpy(center, mean, sizeof(float) * K);
        memcpy(spread, variance, sizeof(float) * K);
        if (training || s->pool == 2) {
#pragma omp for schedule(static)
            for (int64_t c = 0; c < chunks; c++) {
                int64_t from = c * ROWS, to = least(rows, from + ROWS);
                if (s->pool == 2) pool_chunk(s, from, to, x, pooled, won);
                float *restrict sum = partial + c * K;
                memset(sum, 0, sizeof(float) * K);
                if (training)
                    for (int64_t r = from; r < to; r++)
#pragma omp simd
                        for (int64_t k = 0; k < K; k++) sum[k] += load(p[r * K + k]);
            }
        }
        if (training) {
            add_chunks(partial, chunks, K, 1.0 / rows, total);
            for (int64_t k = 0; k < K; k++) center[k] = (float)total[k];
#pragma omp for schedule(static)
            for (int64_t c = 0; c < chunks; c++) {
                float *restrict sum = squares + c * K;
                memset(sum, 0, sizeof(float) * K);
                for (int64_t r = c * ROWS; r < least(rows, (c + 1) * ROWS); r++)
#pragma omp simd
                    for (int64_t k = 0; k < K; k++) {
                        float d = load(p[r * K + k]) - center[k];
                        sum[k] += d * d;
                    }
            }
            add_chunks(squares, chunks, K, 1.0 / rows, total);
            for (int64_t k = 0; k < K; k++) spread[k] = (float)total[k];
        }
        for (int64_t k = 0; k < K; k++) {
            a[k] = gamma[k] / sqrtf(spread[k] + eps);
            b[k] = beta[k] - center[k] * a[k];
        }
#pragma omp for schedule(static)
        for (int64_t c = 0; c < chunks; c++)
            normalize_chunk(s, c * ROWS, least(rows, (c + 1) * ROWS), p, a, b, draws, low, scale, y);
        if (me == 0) { /* the others have read them: they have passed the barrier */
            memcpy(mean, center, sizeof(float) * K);
            memcpy(variance, spread, sizeof(float) * K);
        }
    }
    free(partial), free(own), free(totals);
    return 0;
}

/* The gradient behind ReLU and dropout, where y > 0 says that both let the value through. */
static inline float through(T grad, T y, float scale) { return load(y) > 0 ? load(grad) * scale : 0; }

/* Returns 0, or 1 where memory ends. Places that no window covers (odd height or width) must be 0 in dx beforehand. */
int backward(const Shape *s, const T *grad, const T *y, const T *pooled, const uint8_t *won, T *dx, const float *gamma,
             const float *mean, const float *variance, float eps, const float *scale, float *dgamma, float *dbeta) {
    int64_t K = s->runs * s->channels, threads = omp_get_max_threads();
    int64_t rows = s->images * (s->height / s->pool) * (s->width / s->pool), chunks = (rows + ROWS - 1) / ROWS;
    float *partial = malloc(sizeof(float) * 2 * chunks * K), *own = malloc(sizeof(float) * threads * 3 * K);
    double *totals = malloc(sizeof(double) * threads * 2 * K);
    if (!partial || !own || !totals) {
        free(partial), free(own), free(totals);
        return 1;
    }
#pragma omp parallel
    {
        int64_t me = omp_get_thread_num();
        double *total = totals + me * 2 * K;
        float *factor = own + me * 3 * K, *by = factor + K, *shift = by + K;
#pragma omp for schedule(static)
        for (int64_t c = 0; c < chunks; c++) {
            float *restrict sum = partial + 2 * c * K, *restrict product = sum + K;
            memset(sum, 0, sizeof(float) * 2 * K);
            for (int64_t r = c * ROWS; r < least(rows, (c + 1) * ROWS); r++) {
                const T *restrict gr = grad + r * K, *restrict yr = y + r * K, *restrict pr = pooled + r * K;
#pragma omp simd
                for (int64_t k = 0; k < K; k++) {
                    float d = through(gr[k], yr[k], scale[k]);
                    sum[k] += d;
                    product[k] += d * (load(pr[k]) - mean[k]);
                }
            }
        }
        add_chunks(partial, chunks, 2 * K, 1.0, total);
        for (int64_t k = 0; k < K; k++) {
            float inverse = 1 / sqrtf(variance[k] + eps), product = (float)(total[K + k] * inverse);
            factor[k] = gamma[k] * inverse;
            by[k] = product * inverse / rows;
            shift[k] = (float)total[k] / rows;
            if (me == 0) {
                dbeta[k] = (float)total[k];
                dgamma[k] = product;
            }
        }
#pragma omp for schedule(static)
        for (int64_t c = 0; c < chunks; c++)
            for (int64_t r = c * ROWS; r < least(rows, (c + 1) * ROWS); r++) {
                const T *restrict gr = grad + r * K, *restrict yr = y + r * K, *restrict pr = pooled + r * K;
                const uint8_t *restrict w = won + r * K;
                T *restrict out = dx + (s->pool == 2 ? window(s, r) : r * K);
                int64_t right = K, down = s->width * K;
#pragma omp simd
                for (int64_t k = 0; k < K; k++) {
                    float d = through(gr[k], yr[k], scale[k]);
                    T g = store(factor[k] * (d - shift[k] - (load(pr[k]) - mean[k]) * by[k]));
                    if (s->pool == 1) {
                        out[k] = g;
                    } else {
                        out[k] = w[k] == 0 ? g : 0;
                        out[right + k] = w[k] == 1 ? g : 0;
                        out[down + k] = w[k] == 2 ? g : 0;
                        out[down + right + k] = w[k] == 3 ? g : 0;
                    }
                }
            }
    }
    free(partial), free(own), free(totals);
    return 0;
}

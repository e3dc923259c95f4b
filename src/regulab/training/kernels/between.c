/* What stands between two convolutions, in few passes over memory: max pooling 2x2, batch normalization, ReLU, dropout.
 * And the whole first block, whose convolution of one or three channels is pooled as it is computed: its output, the
 * largest map of all, is never written. The equations stand in between.py.
 *
 * Maps are channels-last: (B, H, W, K), K = runs x channels, contiguous. A row is one place of the pooled map: K values.
 * T is float, or with -DBF16 bfloat16; arithmetic and statistics are float.
 *
 * Rows are taken by chunks of a fixed length, these by strips that the first cache holds with all that belongs to them, and
 * a strip by blocks of LANES channels, whose constants and sums stay in registers. The sums of chunks are added in their order, so that results do not depend on the number of threads.
 * Every thread adds them up for itself: that takes microseconds, and waiting for another may take a time slice.
 */
#include <math.h>
#include <omp.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#ifdef __AVX512BF16__
#include <immintrin.h>
#endif

#define ROWS 64 /* of a chunk: enough to amortize its sums, few enough for float to hold them */
#define STRIP 8 /* rows */
#define TAPS 9  /* of a 3x3 convolution */
#define MOST_INPUTS 3
#define LANES 16
#define INLINE static inline __attribute__((always_inline))

typedef float V __attribute__((vector_size(4 * LANES)));
typedef int32_t I __attribute__((vector_size(4 * LANES)));
typedef uint32_t U __attribute__((vector_size(4 * LANES)));
typedef int16_t S __attribute__((vector_size(2 * LANES)));
typedef uint16_t H __attribute__((vector_size(2 * LANES)));
typedef uint8_t B __attribute__((vector_size(LANES)));

/* n lanes of memory: all LANES where n says so, and then in one instruction. */
#define READ(type, name, source)                                                                                   \
    type name = {0};                                                                                               \
    memcpy(&name, source, n == LANES ? sizeof(type) : sizeof(type) / LANES * n)
#define WRITE(target, name) memcpy(target, &name, n == LANES ? sizeof(name) : sizeof(name) / LANES * n)

INLINE V choose(I where, V yes, V no) { return (V)((where & (I)yes) | (~where & (I)no)); }

INLINE V floats(const float *p, int n) {
    READ(V, v, p);
    return v;
}

#ifdef BF16
typedef uint16_t T;
INLINE V load(const T *p, int n) {
    READ(H, h, p);
    return (V)(__builtin_convertvector(h, U) << 16);
}
typedef H N; /* LANES values as memory holds them */
typedef S M; /* a mask for them */
INLINE N narrow(V v) { /* rounds to nearest, ties to even; a NaN stays one */
#ifdef __AVX512BF16__
    return (H)_mm512_cvtneps_pbh((__m512)v);
#else
    U bits = (U)v;
    U rounded = (bits + 0x7fffu + ((bits >> 16) & 1u)) >> 16;
    I nan = v != v;
    return __builtin_convertvector((U)((nan & 0x7fc0) | (~nan & (I)rounded)), H);
#endif
}
#else
typedef float T;
INLINE V load(const T *p, int n) { return floats(p, n); }
typedef V N;
typedef I M;
INLINE N narrow(V v) { return v; }
#endif
INLINE void store(T *p, V v, int n) {
    N narrowed = narrow(v);
    WRITE(p, narrowed);
}
INLINE void store_where(T *p, N v, M where, int n) {
    N kept = (N)((M)v & where);
    WRITE(p, kept);
}

typedef struct {
    int64_t images, height, width, runs, channels; /* of the map before pooling; channels of one run */
    int64_t pool;                                  /* 1: none, 2: windows of 2x2 */
    int64_t inputs;                                /* of the first block: channels of one run's image; else 0 */
} Shape;

typedef struct { /* of the first block */
    const float *image;  /* (B, H + 2, W + 2, runs x inputs), with a border of 0 */
    const float *weight; /* (runs, TAPS, inputs, channels) */
    float *dweight;      /* of the same shape */
} First;

INLINE int64_t least(int64_t a, int64_t b) { return a < b ? a : b; }

/* Calls piece(..., k, n) for every block of channels, with n known to the compiler for all but the last. */
#define BLOCKS(K, piece, ...)                                                                                      \
    do {                                                                                                           \
        int64_t k = 0;                                                                                             \
        for (; k + LANES <= (K); k += LANES) piece(__VA_ARGS__, k, LANES);                                         \
        if (k < (K)) piece(__VA_ARGS__, k, (int)((K)-k));                                                          \
    } while (0)

/* For every strip of chunk c: its first row and how many rows it has. */
#define STRIPS(c)                                                                                                  \
    for (int64_t from = (c)*ROWS, end = least(rows, from + ROWS), count; count = least(end - from, STRIP), from < end; \
         from += count)

/* A piece of the first block for every block of C channels, with inputs known to the compiler. */
#define FIRST(piece, ...)                                                                                          \
    do {                                                                                                           \
        if (s->inputs == 1)                                                                                        \
            BLOCKS(C, piece, __VA_ARGS__, 1);                                                                      \
        else                                                                                                       \
            BLOCKS(C, piece, __VA_ARGS__, 3);                                                                      \
    } while (0)

/* The places of rows from, from + 1, ... in the map before pooling: the upper left of their windows. */
static void find_windows(const Shape *s, int64_t from, int64_t to, int64_t *places) {
    int64_t h = s->height / 2, w = s->width / 2, K = s->runs * s->channels;
    for (int64_t r = from; r < to; r++) {
        int64_t image = r / (h * w), rest = r % (h * w);
        places[r - from] = ((image * s->height + 2 * (rest / w)) * s->width + 2 * (rest % w)) * K;
    }
}

/* Pooled values, which of the four won (the first of the largest, a NaN before all), and sums. */
INLINE void pool(const T *x, const int64_t *places, int64_t rows, int64_t K, int64_t down, T *pooled, uint8_t *won,
                 float *sum, int64_t k, int n) {
    V total = floats(sum + k, n);
    for (int64_t r = 0; r < rows; r++) {
        const T *here = x + places[r] + k;
        V best = load(here, n), others[3] = {load(here + K, n), load(here + down, n), load(here + down + K, n)};
        I which = {0};
        for (int i = 0; i < 3; i++) {
            I wins = (others[i] > best) | (others[i] != others[i]);
            which = (wins & (i + 1)) | (~wins & which);
            best = choose(wins, others[i], best);
        }
        store(pooled + r * K + k, best, n);
        B winner = __builtin_convertvector(which, B);
        WRITE(won + r * K + k, winner);
        total += best; /* one of x's own values: storing it rounded nothing */
    }
    WRITE(sum + k, total);
}

/* The upper left of the 4x4 places of the image that the windows of rows from, from + 1, ... see. */
static void find_patches(const Shape *s, int64_t from, int64_t to, int64_t *places) {
    int64_t h = s->height / 2, w = s->width / 2;
    for (int64_t r = from; r < to; r++) {
        int64_t image = r / (h * w), rest = r % (h * w), y = 2 * (rest / w), x = 2 * (rest % w);
        places[r - from] = ((image * (s->height + 2) + y) * (s->width + 2) + x) * s->runs * s->inputs;
    }
}

/* As pool(), of a convolution of one run's image: each of the four of a window is a sum over TAPS and inputs. */
INLINE void convolve_and_pool(const float *image, const int64_t *places, int64_t rows, int64_t right, int64_t down,
                              const float *weight, int64_t C, int64_t K, T *pooled, uint8_t *won, float *sum,
                              int inputs, int64_t k, int n) {
    V total = floats(sum + k, n), w[TAPS * MOST_INPUTS];
#pragma GCC unroll 27
    for (int i = 0; i < TAPS * inputs; i++) w[i] = floats(weight + i * C + k, n);
    for (int64_t r = 0; r < rows; r++) {
        const float *patch = image + places[r];
        V best = {0};
        I which = {0};
#pragma GCC unroll 4
        for (int place = 0; place < 4; place++) {
            const float *seen = patch + (place / 2) * down + (place % 2) * right;
            V v = {0};
#pragma GCC unroll 27
            for (int i = 0; i < TAPS * inputs; i++)
                v += w[i] * seen[(i / inputs / 3) * down + (i / inputs % 3) * right + i % inputs];
            I wins = place == 0 ? (I){0} - 1 : (v > best) | (v != v);
            which = (wins & place) | (~wins & which);
            best = choose(wins, v, best);
        }
        N narrowed = narrow(best);
        WRITE(pooled + r * K + k, narrowed);
        B winner = __builtin_convertvector(which, B);
        WRITE(won + r * K + k, winner);
        total += load((T *)&narrowed, LANES);
    }
    WRITE(sum + k, total);
}

INLINE void add_up(const T *p, int64_t rows, int64_t K, float *sum, int64_t k, int n) {
    V total = floats(sum + k, n);
    for (int64_t r = 0; r < rows; r++) total += load(p + r * K + k, n);
    WRITE(sum + k, total);
}

INLINE void add_up_squares(const T *p, int64_t rows, int64_t K, const float *mean, float *sum, int64_t k, int n) {
    V total = floats(sum + k, n), center = floats(mean + k, n);
    for (int64_t r = 0; r < rows; r++) {
        V d = load(p + r * K + k, n) - center;
        total += d * d;
    }
    WRITE(sum + k, total);
}

/* One run's channels: max(0, a p + b), times scale where the draw is not below low. */
INLINE void normalize(const T *p, int64_t rows, int64_t K, const float *a, const float *b, const int16_t *draw,
                      int64_t C, int16_t low, const float *scale, T *y, int64_t k, int n) {
    V as = floats(a + k, n), bs = floats(b + k, n), factor = {0};
    if (draw) factor = floats(scale + k, n);
    for (int64_t r = 0; r < rows; r++) {
        V v = load(p + r * K + k, n) * as + bs;
        v = (V)((I)v & ~(v < 0)); /* a NaN passes */
        if (draw) {
            READ(S, d, draw + r * C + k);
            v = (V)((I)(v * factor) & ~__builtin_convertvector(d < low, I));
        }
        store(y + r * K + k, v, n);
    }
}

/* Sums of the gradient behind ReLU and dropout, and of its product with p - mean; y > 0 says that both let it through. */
INLINE void add_up_gradients(const T *grad, const T *y, const T *p, int64_t rows, int64_t K, const float *scale,
                             const float *mean, float *sum, float *product, int64_t k, int n) {
    V factor = floats(scale + k, n), center = floats(mean + k, n);
    V total = floats(sum + k, n), weighted = floats(product + k, n);
    for (int64_t r = 0; r < rows; r++) {
        V g = (V)((I)(load(grad + r * K + k, n) * factor) & (load(y + r * K + k, n) > 0));
        total += g;
        weighted += g * (load(p + r * K + k, n) - center);
    }
    WRITE(sum + k, total);
    WRITE(product + k, weighted);
}

/* by: the constants of the map from gradients of y to those of p, see backward(). */
INLINE void spread_gradients(const T *grad, const T *y, const T *p, const uint8_t *won, const int64_t *places,
                             int64_t rows, int64_t K, int64_t down, const float *scale, const float *mean,
                             const float *by, T *dx, int64_t k, int n) {
    V factor = floats(scale + k, n), center = floats(mean + k, n);
    V outer = floats(by + k, n), slope = floats(by + K + k, n), shift = floats(by + 2 * K + k, n);
    for (int64_t r = 0; r < rows; r++) {
        V g = (V)((I)(load(grad + r * K + k, n) * factor) & (load(y + r * K + k, n) > 0));
        g = outer * (g - shift - (load(p + r * K + k, n) - center) * slope);
        if (!places) {
            store(dx + r * K + k, g, n);
            continue;
        }
        READ(B, winner, won + r * K + k);
        M which = __builtin_convertvector(winner, M);
        N narrowed = narrow(g);
        T *here = dx + places[r] + k;
        store_where(here, narrowed, which == 0, n);
        store_where(here + K, narrowed, which == 1, n);
        store_where(here + down, narrowed, which == 2, n);
        store_where(here + down + K, narrowed, which == 3, n);
    }
}

/* The gradient of the first block's weights: each value of g meets the places that its window's winner saw. */
INLINE void add_up_weights(const T *grad, const T *y, const T *p, const uint8_t *won, const float *image,
                           const int64_t *places, int64_t rows, int64_t right, int64_t down, int64_t C, int64_t K,
                           const float *scale, const float *mean, const float *by, int64_t allK, float *dweight,
                           int inputs, int64_t k, int n) {
    V factor = floats(scale + k, n), center = floats(mean + k, n);
    V outer = floats(by + k, n), slope = floats(by + allK + k, n), shift = floats(by + 2 * allK + k, n);
    V dw[TAPS * MOST_INPUTS];
#pragma GCC unroll 27
    for (int i = 0; i < TAPS * inputs; i++) dw[i] = floats(dweight + i * C + k, n);
    for (int64_t r = 0; r < rows; r++) {
        V g = (V)((I)(load(grad + r * K + k, n) * factor) & (load(y + r * K + k, n) > 0));
        g = outer * (g - shift - (load(p + r * K + k, n) - center) * slope);
        READ(B, winner, won + r * K + k);
        I which = __builtin_convertvector(winner, I);
#pragma GCC unroll 4
        for (int place = 0; place < 4; place++) {
            V own = (V)((I)g & (which == place));
            const float *seen = image + places[r] + (place / 2) * down + (place % 2) * right;
#pragma GCC unroll 27
            for (int i = 0; i < TAPS * inputs; i++)
                dw[i] += own * seen[(i / inputs / 3) * down + (i / inputs % 3) * right + i % inputs];
        }
    }
#pragma GCC unroll 27
    for (int i = 0; i < TAPS * inputs; i++) WRITE(dweight + i * C + k, dw[i]);
}

static void add_chunks(const float *partial, int64_t chunks, int64_t K, double by, double *total) {
    memset(total, 0, sizeof(double) * K);
    for (int64_t c = 0; c < chunks; c++)
        for (int64_t k = 0; k < K; k++) total[k] += partial[c * K + k];
    for (int64_t k = 0; k < K; k++) total[k] *= by;
}

/* Returns 0, or 1 where memory ends. In training fills pooled, won (pool 2), mean and variance (biased); in inference
 * reads mean and variance, and pooled may be y. draws: a pointer for each run, or NULL without dropout; low: a
 * threshold for each run; scale: a factor for each of the K channels. */
int forward(const Shape *s, const First *first, int training, const T *x, T *pooled, uint8_t *won, T *y, const float *gamma,
            const float *beta, float eps, float *mean, float *variance, const int16_t *const *draws,
            const int16_t *low, const float *scale) {
    int64_t C = s->channels, K = s->runs * C, down = s->width * K, right = s->runs * s->inputs;
    int64_t threads = omp_get_max_threads();
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
        int64_t me = omp_get_thread_num(), places[STRIP];
        double *total = totals + me * K;
        float *center = own + me * 4 * K, *spread = center + K, *a = spread + K, *b = a + K;
        memcpy(center, mean, sizeof(float) * K);
        memcpy(spread, variance, sizeof(float) * K);
        if (training || s->pool == 2) {
#pragma omp for schedule(static)
            for (int64_t c = 0; c < chunks; c++) {
                float *sum = partial + c * K;
                memset(sum, 0, sizeof(float) * K);
                STRIPS(c) {
                    if (s->inputs) {
                        find_patches(s, from, from + count, places);
                        for (int64_t run = 0; run < s->runs; run++) {
                            int64_t at = from * K + run * C;
                            const float *image = first->image + run * s->inputs;
                            const float *weight = first->weight + run * TAPS * s->inputs * C;
                            FIRST(convolve_and_pool, image, places, count, right, (s->width + 2) * right, weight, C,
                                  K, pooled + at, won + at, sum + run * C);
                        }
                    } else if (s->pool == 2) {
                        find_windows(s, from, from + count, places);
                        BLOCKS(K, pool, x, places, count, K, down, pooled + from * K, won + from * K, sum);
                    } else {
                        BLOCKS(K, add_up, p + from * K, count, K, sum);
                    }
                }
            }
        }
        if (training) {
            add_chunks(partial, chunks, K, 1.0 / rows, total);
            for (int64_t k = 0; k < K; k++) center[k] = (float)total[k];
#pragma omp for schedule(static)
            for (int64_t c = 0; c < chunks; c++) {
                memset(squares + c * K, 0, sizeof(float) * K);
                STRIPS(c) BLOCKS(K, add_up_squares, p + from * K, count, K, center, squares + c * K);
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
            STRIPS(c) {
                for (int64_t run = 0; run < s->runs; run++) {
                    const int16_t *draw = draws ? draws[run] + from * C : NULL;
                    int64_t at = from * K + run * C;
                    BLOCKS(C, normalize, p + at, count, K, a + run * C, b + run * C, draw, C, draws ? low[run] : 0,
                           scale + run * C, y + at);
                }
            }
        if (me == 0) { /* the others have read them: they have passed a barrier */
            memcpy(mean, center, sizeof(float) * K);
            memcpy(variance, spread, sizeof(float) * K);
        }
    }
    free(partial), free(own), free(totals);
    return 0;
}

/* Returns 0, or 1 where memory ends. Places that no window covers (odd height or width) must be 0 in dx beforehand. */
int backward(const Shape *s, const First *first, const T *grad, const T *y, const T *pooled, const uint8_t *won, T *dx, const float *gamma,
             const float *mean, const float *variance, float eps, const float *scale, float *dgamma, float *dbeta) {
    int64_t C = s->channels, K = s->runs * C, down = s->width * K, right = s->runs * s->inputs;
    int64_t threads = omp_get_max_threads(), weights = s->runs * TAPS * s->inputs * C;
    int64_t rows = s->images * (s->height / s->pool) * (s->width / s->pool), chunks = (rows + ROWS - 1) / ROWS;
    float *partial = malloc(sizeof(float) * 2 * chunks * K), *own = malloc(sizeof(float) * threads * 3 * K);
    float *dweights = calloc(chunks * weights + 1, sizeof(float));
    double *totals = malloc(sizeof(double) * threads * 2 * K);
    if (!partial || !own || !totals || !dweights) {
        free(partial), free(own), free(totals), free(dweights);
        return 1;
    }
#pragma omp parallel
    {
        int64_t me = omp_get_thread_num(), places[STRIP];
        double *total = totals + me * 2 * K;
        float *by = own + me * 3 * K;
#pragma omp for schedule(static)
        for (int64_t c = 0; c < chunks; c++) {
            float *sum = partial + 2 * c * K;
            memset(sum, 0, sizeof(float) * 2 * K);
            STRIPS(c) {
                int64_t at = from * K;
                BLOCKS(K, add_up_gradients, grad + at, y + at, pooled + at, count, K, scale, mean, sum, sum + K);
            }
        }
        add_chunks(partial, chunks, 2 * K, 1.0, total);
        for (int64_t k = 0; k < K; k++) {
            float inverse = 1 / sqrtf(variance[k] + eps), product = (float)(total[K + k] * inverse);
            by[k] = gamma[k] * inverse;
            by[K + k] = product * inverse / rows;
            by[2 * K + k] = (float)total[k] / rows;
            if (me == 0) {
                dbeta[k] = (float)total[k];
                dgamma[k] = product;
            }
        }
#pragma omp for schedule(static)
        for (int64_t c = 0; c < chunks; c++)
            STRIPS(c) {
                int64_t at = from * K;
                if (s->inputs) {
                    find_patches(s, from, from + count, places);
                    for (int64_t run = 0; run < s->runs; run++) {
                        int64_t one = run * C, here = at + one;
                        float *dweight = dweights + c * weights + run * TAPS * s->inputs * C;
                        FIRST(add_up_weights, grad + here, y + here, pooled + here, won + here,
                              first->image + run * s->inputs, places, count, right, (s->width + 2) * right, C, K,
                              scale + one, mean + one, by + one, K, dweight);
                    }
                } else if (s->pool == 2) {
                    find_windows(s, from, from + count, places);
                    BLOCKS(K, spread_gradients, grad + at, y + at, pooled + at, won + at, places, count, K, down,
                           scale, mean, by, dx);
                } else {
                    BLOCKS(K, spread_gradients, grad + at, y + at, pooled + at, NULL, NULL, count, K, down, scale,
                           mean, by, dx + at);
                }
            }
#pragma omp for schedule(static)
        for (int64_t block = 0; block < weights; block += ROWS)
            for (int64_t i = block; i < least(weights, block + ROWS); i++) {
                double sum = 0;
                for (int64_t c = 0; c < chunks; c++) sum += dweights[c * weights + i];
                first->dweight[i] = (float)sum;
            }
    }
    free(partial), free(own), free(totals), free(dweights);
    return 0;
}

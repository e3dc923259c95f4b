/* Rows of the pooled map by chunks: how the work divides, and what a thread does with one chunk, in forward and backward
 * passes. Whoever includes this has included rows.h and said with BY_TILES(s) whether a chunk is an image, as tiles.h wants it.
 */
#define ROWS 64 /* of a chunk: enough to amortize its sums, few enough for float to hold them */
/* Rows that are taken at a time for one block of channels. With all rows of a chunk inside of a block, half a cache line was
 * read and written at a time: the gradient of the first block took 3.0 ms; eight rows at a time, and written in 16 bit, it
 * takes 1.7 (docs/log.md). */
#define STRIP 8
#define PARTS 4096 /* in which the gradient of weights is added up, at most: of large images there are many chunks */

/* Calls piece(..., k, n) for every block of channels, with n known to the compiler for all but the last. */
#define BLOCKS(K, piece, ...)                                                                                      \
    do {                                                                                                           \
        int64_t k = 0;                                                                                             \
        for (; k + LANES <= (K); k += LANES) piece(__VA_ARGS__, k, LANES);                                         \
        if (k < (K)) piece(__VA_ARGS__, k, (int)((K)-k));                                                          \
    } while (0)

/* How the work divides: K channels, C of a run; rows, of one image, of a chunk; chunks. */
typedef struct {
    int64_t K, C, rows, image_rows, length, chunks;
} Plan;

static Plan plan_of(const Shape *s) {
    int64_t image_rows = (s->height / s->pool) * (s->width / s->pool), rows = s->images * image_rows;
    int64_t length = BY_TILES(s) ? image_rows : ROWS;
    return (Plan){s->runs * s->channels, s->channels, rows, image_rows, length, (rows + length - 1) / length};
}

/* For every strip of chunk c: its first row and how many rows it has. */
#define STRIPS(c)                                                                                                  \
    for (int64_t from = (c)*plan->length, end = least(plan->rows, from + plan->length), count;                     \
         count = least(end - from, STRIP), from < end; from += count)

/* A piece of a convolution of images for every block of C channels, with inputs known to the compiler. */
#define OF_IMAGES(piece, ...)                                                                                      \
    do {                                                                                                           \
        if (s->inputs == 1)                                                                                        \
            BLOCKS(C, piece, __VA_ARGS__, 1);                                                                      \
        else                                                                                                       \
            BLOCKS(C, piece, __VA_ARGS__, 3);                                                                      \
    } while (0)

/* Pooled or convolved and pooled rows of chunk c, and their sums. */
static void take_chunk(const Shape *s, const Plan *plan, const Convolution *conv, const T *x, int64_t c, T *pooled,
                       uint8_t *won, float *sum) {
    int64_t C = plan->C, K = plan->K, right = s->runs * s->inputs, places[STRIP];
    STRIPS(c) {
        if (s->inputs) {
            find_patches(s, from, from + count, places);
            for (int64_t run = 0; run < s->runs; run++) {
                int64_t at = from * K + run * C;
                const float *image = (const float *)conv->image + run * s->inputs;
                const float *weight = conv->weight + run * TAPS * s->inputs * C;
                OF_IMAGES(convolve_and_pool, image, places, count, right, (s->width + 2) * right, weight, C, K,
                          pooled + at, won + at, sum + run * C);
            }
        } else if (s->pool == 2) {
            find_windows(s, from, from + count, places);
            BLOCKS(K, pool, x, places, count, K, s->width * K, pooled + from * K, won + from * K, sum);
        } else {
            BLOCKS(K, add_up, x + from * K, count, K, relu_first(s), sum);
        }
    }
}

/* The sums of chunk c's squares about its own mean, while the first cache has its rows: merge() makes the variance of them,
 * equal to rounding, and saves a pass over memory. Squares about 0 would cancel where the mean is large. */
static void square_chunk(const Shape *s, const Plan *plan, const T *p, int64_t c, const float *sum, float *square) {
    float mean[plan->K], n = (float)least(plan->length, plan->rows - c * plan->length);
    for (int64_t k = 0; k < plan->K; k++) mean[k] = sum[k] / n;
    STRIPS(c) BLOCKS(plan->K, add_up_squares, p + from * plan->K, count, plan->K, relu_first(s), mean, square);
}

static void normalize_chunk(const Shape *s, const Plan *plan, const T *p, int64_t c, const float *a, const float *b,
                            const int16_t *const *draws, const int16_t *low, const float *scale, T *y) {
    int64_t C = plan->C, K = plan->K;
    STRIPS(c)
        for (int64_t run = 0; run < s->runs; run++) {
            const int16_t *draw = draws ? draws[run] + from * C : NULL;
            int64_t at = from * K + run * C;
            BLOCKS(C, normalize, p + at, count, K, relu_first(s), a + run * C, b + run * C, draw, C, draws ? low[run] : 0,
                   scale + run * C, y + at);
        }
}

/* Sums (2 K): of chunk c's gradients, and of their products. */
static void add_up_chunk(const Shape *s, const Plan *plan, const Way *way, const T *grad, const T *p, int64_t c,
                         float *sum) {
    int64_t C = plan->C, K = plan->K;
    STRIPS(c)
        for (int64_t run = 0; run < s->runs; run++) {
            int64_t one = run * C, at = from * K + one;
            Gate gate = gate_of(way, C, run, from);
            BLOCKS(C, add_up_gradients, grad + at, p + at, count, K, &gate, sum + one, sum + K + one);
        }
}

/* Chunk c's gradients to where they came from: the map before pooling, or the weights of a convolution of images. */
static void spread_chunk(const Shape *s, const Plan *plan, const Way *way, const Convolution *conv, const T *grad,
                         const T *p, const uint8_t *won, int64_t c, T *dx, float *dweight) {
    int64_t C = plan->C, K = plan->K, right = s->runs * s->inputs, places[STRIP];
    STRIPS(c) {
        if (s->inputs) find_patches(s, from, from + count, places);
        else find_windows(s, from, from + count, places);
        for (int64_t run = 0; run < s->runs; run++) {
            int64_t one = run * C, at = from * K + one;
            Gate gate = gate_of(way, C, run, from);
            if (s->inputs)
                OF_IMAGES(add_up_weights, grad + at, p + at, won + at, (const float *)conv->image + run * s->inputs,
                          places, count, right, (s->width + 2) * right, C, K, &gate, dweight + one * TAPS * s->inputs);
            else if (s->pool == 2)
                BLOCKS(C, spread_gradients, grad + at, p + at, won + at, places, count, K, K, s->width * K, &gate,
                       dx + one);
            else
                BLOCKS(C, spread_gradients, grad + at, p + at, NULL, places, count, K, 0, 0, &gate, dx + one);
        }
    }
}

/* Blocks without a convolution of ours, by chunks of whole rows of the pooled map: what a thread does with one of them. A row
 * is taken for a block of channels at a time: with all of a chunk inside of a block, half a cache line was read and written
 * at a time, and the gradient of the first block took 3.0 ms for 1.7 (docs/log.md).
 */
#define CHUNK 64 /* places: enough to amortize its sums */

/* How the work divides: K channels, C of a run; rows of all images, of a chunk; chunks; places of a row. */
typedef struct {
    int64_t K, C, rows, length, chunks, wide;
} Plan;

static Plan plan_of(const Shape *s) {
    int64_t wide = s->width / s->pool, rows = s->images * (s->height / s->pool), length = (CHUNK + wide - 1) / wide;
    return (Plan){s->runs * s->channels, s->channels, rows, length, (rows + length - 1) / length, wide};
}

/* For every row of chunk c: where it lies in the pooled map. */
#define ROWS_OF(c)                                                                                                 \
    for (int64_t row = (c)*plan->length, end = least(plan->rows, row + plan->length), at = row * plan->wide * plan->K; \
         row < end; row++, at += plan->wide * plan->K)

/* The upper left of the windows of a row of the pooled map. */
static int64_t windows_of(const Shape *s, int64_t row) {
    int64_t h = s->height / s->pool;
    return (row / h * s->height + row % h * s->pool) * s->width * s->runs * s->channels;
}

/* p of chunk c where there is pooling; and, for the statistics, sums and their squares about the chunk's own mean while the
 * first cache has its rows: merge() makes the variance of them. Squares about 0 would cancel where the mean is large. */
static void take_chunk(const Block *block, const Plan *plan, const T *x, int64_t c, T *p, float *sum, int training) {
    const Shape *s = &block->shape;
    int64_t K = plan->K, w = plan->wide;
    Steps step = {K, 0}, windows = {K, s->width * K};
    Mask first = relu_first(s);
    memset(sum, 0, sizeof(float) * 2 * K);
    ROWS_OF(c)
        if (s->pool == 2)
            BLOCKS(K, take, x + windows_of(s, row), 0, windows, 2, 1, w, NULL, first, p + at, block->won + at, step, sum);
        else BLOCKS(K, add_up, x + at, step, 1, w, first, sum);
    float length = (float)(least(plan->length, plan->rows - c * plan->length) * w);
    if (!training) return;
    ROWS_OF(c) BLOCKS(K, add_up_squares, p + at, step, 1, w, first, sum, length, sum + K);
}

static void normalize_chunk(const Block *block, const Plan *plan, const Lines *lines, const T *p, int64_t c, T *y) {
    Steps step = {plan->K, 0};
    ROWS_OF(c)
        for (int64_t run = 0; run < block->shape.runs; run++) {
            Gate gate = gate_of(block, lines, run, row * plan->wide);
            int64_t here = at + run * plan->C;
            BLOCKS(plan->C, normalize, p + here, step, 1, plan->wide, &gate, y + here, 0, step);
        }
}

/* Sums (2 K): of chunk c's gradients, and of their products. */
static void add_up_chunk(const Block *block, const Plan *plan, const Lines *lines, const T *grad, const T *p, int64_t c,
                         float *sum) {
    Steps step = {plan->K, 0};
    memset(sum, 0, sizeof(float) * 2 * plan->K);
    ROWS_OF(c)
        for (int64_t run = 0; run < block->shape.runs; run++) {
            Gate gate = gate_of(block, lines, run, row * plan->wide);
            int64_t one = run * plan->C, here = at + one;
            BLOCKS(plan->C, add_up_gradients, grad + here, 0, step, p + here, step, 1, plan->wide, &gate, NULL, sum + one,
                   sum + plan->K + one);
        }
}

/* Chunk c's gradients to the map before pooling. */
static void spread_chunk(const Block *block, const Plan *plan, const Lines *lines, const T *grad, const T *p, int64_t c,
                         T *dx) {
    const Shape *s = &block->shape;
    Steps step = {plan->K, 0}, windows = {plan->K, s->width * plan->K};
    ROWS_OF(c)
        for (int64_t run = 0; run < s->runs; run++) {
            Gate gate = gate_of(block, lines, run, row * plan->wide);
            int64_t one = run * plan->C, here = at + one;
            T *to = dx + windows_of(s, row) + one;
            if (s->pool == 2)
                BLOCKS(plan->C, spread, grad + here, 0, step, p + here, block->won + here, step, 1, plan->wide, &gate, to, 0,
                       windows, 2, NULL);
            else
                BLOCKS(plan->C, spread, grad + here, 0, step, p + here, NULL, step, 1, plan->wide, &gate, to, 0, windows, 1,
                       NULL);
        }
}

/* Statistics of a norm from the sums of parts, in their order, and the straight lines that it comes to. Every thread does
 * this for itself: it takes microseconds, and waiting for another may take a time slice. */

/* Of K channels: what normalize() multiplies with and adds; and for the way back, see find_slopes(). */
typedef struct {
    float *mean, *variance, *a, *b, *outer, *slope, *shift;
} Lines;

#define LINES 7

static Lines lines_at(float *memory, int64_t K) {
    float *at[LINES];
    for (int i = 0; i < LINES; i++) at[i] = memory + i * K;
    return (Lines){at[0], at[1], at[2], at[3], at[4], at[5], at[6]};
}

static void add_parts(const float *partial, int64_t parts, int64_t K, double *total) {
    memset(total, 0, sizeof(double) * K);
    for (int64_t c = 0; c < parts; c++)
        for (int64_t k = 0; k < K; k++) total[k] += partial[c * K + k];
}

/* Mean and variance (biased) of all `rows` from the sums of every part of `length` of them, and its squares about a mean of
 * its own (partial: parts x 2 x K): n variance is the sum over parts of squares + n_part (mean_part - mean)^2. Source: Chan,
 * Golub & LeVeque 1983. */
static void merge(const float *partial, int64_t rows, int64_t length, int64_t K, double *total, const Lines *lines) {
    int64_t parts = (rows + length - 1) / length;
    add_parts(partial, parts, 2 * K, total);
    for (int64_t k = 0; k < K; k++) total[k] /= (double)rows;
    for (int64_t c = 0; c < parts; c++) {
        double n = (double)least(length, rows - c * length), share = 1 / n;
        for (int64_t k = 0; k < K; k++) {
            double off = partial[2 * c * K + k] * share - total[k];
            total[K + k] += n * off * off;
        }
    }
    for (int64_t k = 0; k < K; k++) {
        lines->mean[k] = (float)total[k];
        lines->variance[k] = (float)(total[K + k] / (double)rows);
    }
}

/* a p + b is the norm. */
static void find_line(const Block *block, const Lines *lines) {
    for (int64_t k = 0; k < block->shape.runs * block->shape.channels; k++) {
        lines->a[k] = block->gamma[k] / sqrtf(lines->variance[k] + (float)block->eps);
        lines->b[k] = block->beta[k] - lines->mean[k] * lines->a[k];
    }
}

/* start + weight (end - start), as torch has it. */
static float between_two(float start, float end, float weight) {
    return weight < 0.5f ? start + weight * (end - start) : end - (end - start) * (1 - weight);
}

/* What a step's statistics leave: they themselves, and the running ones with a variance that is not biased. */
static void leave_statistics(const Block *block, const Lines *lines, int64_t rows) {
    int64_t K = block->shape.runs * block->shape.channels;
    float momentum = (float)block->momentum, factor = (float)((double)rows / (double)(rows - 1));
    memcpy(block->mean, lines->mean, sizeof(float) * K);
    memcpy(block->variance, lines->variance, sizeof(float) * K);
    for (int64_t k = 0; block->running_mean && k < K; k++) {
        block->running_mean[k] = between_two(block->running_mean[k], lines->mean[k], momentum);
        block->running_variance[k] = between_two(block->running_variance[k], lines->variance[k] * factor, momentum);
    }
}

static void take_statistics(const Block *block, const Lines *lines) {
    int64_t bytes = sizeof(float) * block->shape.runs * block->shape.channels;
    memcpy(lines->mean, block->mean, bytes);
    memcpy(lines->variance, block->variance, bytes);
    find_line(block, lines);
}

/* From the sums of the gradients and of their products with p - mean (partial: parts x 2 x K), what spread() makes of a
 * gradient that of its place; and, for the one thread that `tells`, the gradients of gamma and beta. */
static void find_slopes(const Block *block, const float *partial, int64_t rows, int64_t parts, double *total,
                        const Lines *lines, int tells) {
    int64_t K = block->shape.runs * block->shape.channels;
    add_parts(partial, parts, 2 * K, total);
    for (int64_t k = 0; k < K; k++) {
        float inverse = 1 / sqrtf(lines->variance[k] + (float)block->eps), product = (float)(total[K + k] * inverse);
        lines->outer[k] = block->gamma[k] * inverse;
        lines->slope[k] = product * inverse / rows;
        lines->shift[k] = (float)total[k] / rows;
        if (tells) {
            block->dbeta[k] = (float)total[k];
            block->dgamma[k] = product;
        }
    }
}

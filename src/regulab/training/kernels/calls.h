/* The calls that whole chains of blocks answer: see chain.h for what is done to one image of one run. */
typedef struct { /* what all threads share, of one call */
    float *partial[2]; /* of this block and of the one before */
    float *dsums[2];
    T *grads[2];
    char **arranged; /* for each block */
} Shared;

static void close_shared(int64_t count, Shared *shared) {
    for (int i = 0; i < 2; i++) free(shared->partial[i]), free(shared->dsums[i]), free(shared->grads[i]);
    for (int64_t l = 0; shared->arranged && l < count; l++) free(shared->arranged[l]);
    free(shared->arranged);
}

/* Returns 0, or 1 where memory ends. */
static int open_shared(const Block *blocks, int64_t count, int back, Shared *shared) {
    int64_t partial = 0, dsums = 0, grads = 0, failed = 0;
    *shared = (Shared){.arranged = calloc(count, sizeof(char *))};
    for (int64_t l = 0; l < count && shared->arranged; l++) {
        const Shape *s = &blocks[l].shape;
        partial = larger(partial, 2 * s->images * s->runs * s->channels);
        dsums = larger(dsums, parts_of(blocks + l) * s->runs * share(blocks + l));
        if (l < count - 1) grads = larger(grads, s->images * s->runs * area(s));
        shared->arranged[l] = aligned_alloc(64, s->runs * arranged_bytes(blocks + l));
        failed |= !shared->arranged[l];
    }
    for (int i = 0; i < 2; i++) {
        shared->partial[i] = malloc(partial * sizeof(float));
        failed |= !shared->partial[i];
        if (!back) continue;
        shared->dsums[i] = malloc(dsums * sizeof(float));
        shared->grads[i] = malloc(grads * sizeof(T) + 1);
        failed |= !shared->dsums[i] || !shared->grads[i];
    }
    return failed || !shared->arranged;
}

static void arrange_all(const Block *blocks, int64_t count, int turned, Thread *t, int failed, const Shared *shared) {
    for (int64_t l = 0; l < count; l++) {
#pragma omp for schedule(static) nowait
        for (int64_t run = 0; run < blocks->shape.runs; run++)
            if (!failed) arrange_run(blocks + l, run, turned, t, shared->arranged[l]);
    }
#pragma omp barrier
}

/* p of block l, and its statistics; divided among the threads of the region that calls it. */
static void take_block(const Block *blocks, int64_t l, Thread *t, int failed, const Shared *shared, const T *x) {
    const Block *block = blocks + l;
    const Shape *s = &block->shape;
    int64_t C = s->channels, K = s->runs * C;
    float *partial = shared->partial[l % 2];
#pragma omp for schedule(static)
    for (int64_t unit = 0; unit < s->images * s->runs; unit++) {
        if (failed) continue;
        int64_t image = unit / s->runs, run = unit % s->runs, at = unit * area(s);
        float *sum = partial + 2 * image * K + run * C;
        memset(sum, 0, sizeof(float) * C);
        memset(sum + K, 0, sizeof(float) * C);
        const T *before = l ? blocks[l - 1].p + unit * area(&blocks[l - 1].shape) : NULL;
        take_map(blocks, l, t, shared->arranged[l], x, before, image, run, block->p + at, block->won + at, sum);
        BLOCKS(C, add_up_squares, block->p + at, own_steps(s), high(s), broad(s), relu_first(s), sum, (float)places(s),
               sum + K);
    }
    if (!failed) {
        merge(partial, s->images * places(s), places(s), K, t->total, t->lines + l);
        find_line(block, t->lines + l);
    }
#pragma omp single nowait
    if (!failed) {
        memcpy(block->mean, t->lines[l].mean, sizeof(float) * K);
        memcpy(block->variance, t->lines[l].variance, sizeof(float) * K);
    }
}

/* All blocks for one run of an image, whose maps never leave the thread's memory. */
static void infer(const Block *blocks, int64_t count, Thread *t, const Shared *shared, const T *x, int64_t image,
                  int64_t run, T *y) {
    for (int64_t l = 0; l < count; l++) {
        float *sum = (float *)t->total; /* nobody reads it */
        memset(sum, 0, sizeof(float) * blocks[l].shape.channels);
        take_map(blocks, l, t, shared->arranged[l], x, t->maps[(l + 1) % 2], image, run, t->maps[l % 2], t->won, sum);
    }
    leave_chain(blocks + count - 1, t->lines + count - 1, t->maps[(count - 1) % 2], image, run, y);
}

/* Returns 0, or 1 where memory ends. In training fills p, won, mean and variance of every block; in inference reads mean and
 * variance. */
int forward_chain(const Block *blocks, int64_t count, int training, const T *x, T *y) {
    const Block *end = blocks + count - 1;
    int64_t runs = blocks->shape.runs, units = blocks->shape.images * runs;
    Shared shared;
    int failed = open_shared(blocks, count, 0, &shared);
    if (!failed) {
#pragma omp parallel reduction(| : failed)
        {
            Thread t;
            failed |= open_thread(blocks, count, &t);
            arrange_all(blocks, count, 0, &t, failed, &shared);
            for (int64_t l = 0; l < count; l++)
                if (training) take_block(blocks, l, &t, failed, &shared, x);
                else if (!failed) take_statistics(blocks + l, t.lines + l);
#pragma omp for schedule(static)
            for (int64_t unit = 0; unit < units; unit++) {
                if (failed) continue;
                if (training)
                    leave_chain(end, t.lines + count - 1, end->p + unit * area(&end->shape), unit / runs, unit % runs, y);
                else infer(blocks, count, &t, &shared, x, unit / runs, unit % runs, y);
            }
            if (!failed) close_thread(blocks, count, &t);
        }
    }
    close_shared(count, &shared);
    return failed;
}

/* Sums of the gradient at the end of the chain; divided among the threads of the region that calls it. */
static void add_up_end(const Block *blocks, int64_t l, const Thread *t, int failed, const Shared *shared, const T *grad) {
    const Block *block = blocks + l;
    const Shape *s = &block->shape;
    int64_t C = s->channels, K = s->runs * C;
    Steps from = outer_steps(s), step = own_steps(s);
#pragma omp for schedule(static)
    for (int64_t unit = 0; unit < s->images * s->runs; unit++) {
        if (failed) continue;
        int64_t image = unit / s->runs, run = unit % s->runs;
        float *sum = shared->partial[l % 2] + 2 * image * K + run * C;
        memset(sum, 0, sizeof(float) * C);
        memset(sum + K, 0, sizeof(float) * C);
        Gate gate = gate_of(block, t->lines + l, run, image * places(s));
        const T *here = grad + image * high(s) * from.down + run * C;
        BLOCKS(C, add_up_gradients, here, 0, from, block->p + unit * area(s), step, high(s), broad(s), &gate, NULL, sum,
               sum + K);
    }
}

/* Returns 0, or 1 where memory ends. dx may be NULL. */
int backward_chain(const Block *blocks, int64_t count, const T *grad, const T *x, T *dx) {
    int64_t runs = blocks->shape.runs, images = blocks->shape.images;
    Shared shared;
    int failed = open_shared(blocks, count, 1, &shared);
    if (!failed) {
#pragma omp parallel reduction(| : failed)
        {
            Thread t;
            failed |= open_thread(blocks, count, &t);
            arrange_all(blocks, count, 1, &t, failed, &shared);
            for (int64_t l = 0; l < count; l++)
                if (!failed) take_statistics(blocks + l, t.lines + l);
            add_up_end(blocks, count - 1, &t, failed, &shared, grad);
            for (int64_t l = count - 1; l >= 0; l--) {
                const Block *block = blocks + l;
                int64_t last = l == count - 1, even = l % 2;
                Way way = {x,  last ? grad : shared.grads[even], !last, last ? outer_steps(&block->shape) : own_steps(&block->shape),
                           l ? shared.grads[!even] : dx, shared.partial[!even]};
                if (!failed)
                    find_slopes(block, shared.partial[even], images * places(&block->shape), images, t.total, t.lines + l,
                                omp_get_thread_num() == 0);
#pragma omp for schedule(static)
                for (int64_t item = 0; item < items_of(block); item++)
                    if (!failed) go_back_group(blocks, l, &t, shared.arranged[l], &way, item, shared.dsums[even]);
#pragma omp for schedule(static) nowait
                for (int64_t run = 0; run < runs; run++)
                    if (!failed) finish_run(block, run, shared.dsums[even], &t);
            }
            if (!failed) close_thread(blocks, count, &t);
        }
    }
    close_shared(count, &shared);
    return failed;
}

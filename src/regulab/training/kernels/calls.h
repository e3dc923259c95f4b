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
        FOR_MINE(run, blocks->shape.runs)
            if (!failed) arrange_run(blocks + l, run, turned, t, shared->arranged[l]);
    }
    threads.wait();
}

/* p of block l, and its statistics; divided among the threads of the team that calls it. */
static void take_block(const Block *blocks, int64_t l, Thread *t, int failed, const Shared *shared, const T *x) {
    const Block *block = blocks + l;
    const Shape *s = &block->shape;
    int64_t C = s->channels, K = s->runs * C;
    float *partial = shared->partial[l % 2];
    FOR_MINE(unit, s->images * s->runs) {
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
    threads.wait();
    if (!failed) {
        merge(partial, s->images * places(s), places(s), K, t->total, t->lines + l);
        find_line(block, t->lines + l);
    }
    if (!failed && threads.number() == 0) leave_statistics(block, t->lines + l, s->images * places(s));
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

/* A call of a chain, and what its threads share. */
typedef struct {
    const Block *blocks;
    int64_t count;
    int training;
    const T *x, *grad;
    T *y, *dx;
    Shared shared;
    int failed; /* of one thread or more: memory ended */
} ChainCall;

static int open_share(ChainCall *call, Thread *t) {
    int failed = open_thread(call->blocks, call->count, t);
    if (failed) __atomic_store_n(&call->failed, 1, __ATOMIC_RELAXED);
    return failed;
}

static void forward_chain_share(void *data) {
    ChainCall *call = data;
    const Block *blocks = call->blocks, *end = blocks + call->count - 1;
    const Shared *shared = &call->shared;
    int64_t count = call->count, runs = blocks->shape.runs;
    Thread t;
    int failed = open_share(call, &t);
    arrange_all(blocks, count, 0, &t, failed, shared);
    for (int64_t l = 0; l < count; l++)
        if (call->training) take_block(blocks, l, &t, failed, shared, call->x);
        else if (!failed) take_statistics(blocks + l, t.lines + l);
    FOR_MINE(unit, blocks->shape.images * runs) {
        if (failed) continue;
        if (call->training)
            leave_chain(end, t.lines + count - 1, end->p + unit * area(&end->shape), unit / runs, unit % runs, call->y);
        else infer(blocks, count, &t, shared, call->x, unit / runs, unit % runs, call->y);
    }
    if (!failed) close_thread(blocks, count, &t);
}

/* Returns 0, or 1 where memory ends. In training fills p, won, mean and variance of every block; in inference reads mean and
 * variance. */
int forward_chain(const Block *blocks, int64_t count, int training, const T *x, T *y) {
    ChainCall call = {.blocks = blocks, .count = count, .training = training, .x = x, .y = y};
    call.failed = open_shared(blocks, count, 0, &call.shared);
    if (!call.failed) in_parallel(forward_chain_share, &call);
    close_shared(count, &call.shared);
    return call.failed;
}

/* Sums of the gradient at the end of the chain; divided among the threads of the team that calls it. */
static void add_up_end(const Block *blocks, int64_t l, const Thread *t, int failed, const Shared *shared, const T *grad) {
    const Block *block = blocks + l;
    const Shape *s = &block->shape;
    int64_t C = s->channels, K = s->runs * C;
    Steps from = outer_steps(s), step = own_steps(s);
    FOR_MINE(unit, s->images * s->runs) {
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
    threads.wait();
}

/* Block l's way back, and the gradients of its weights. */
static void go_back_block(const ChainCall *call, int64_t l, Thread *t, int failed) {
    const Block *blocks = call->blocks, *block = blocks + l;
    const Shared *shared = &call->shared;
    int64_t last = l == call->count - 1, even = l % 2;
    int64_t runs = block->shape.runs, images = block->shape.images;
    Way way = {call->x,
               last ? call->grad : shared->grads[even],
               !last,
               last ? outer_steps(&block->shape) : own_steps(&block->shape),
               l ? shared->grads[!even] : call->dx,
               shared->partial[!even]};
    if (!failed)
        find_slopes(block, shared->partial[even], images * places(&block->shape), images, t->total, t->lines + l,
                    threads.number() == 0);
    FOR_MINE(item, items_of(block))
        if (!failed) go_back_group(blocks, l, t, shared->arranged[l], &way, item, shared->dsums[even]);
    threads.wait();
    FOR_MINE(run, runs)
        if (!failed) finish_run(block, run, shared->dsums[even], t);
}

static void backward_chain_share(void *data) {
    ChainCall *call = data;
    const Block *blocks = call->blocks;
    int64_t count = call->count;
    Thread t;
    int failed = open_share(call, &t);
    arrange_all(blocks, count, 1, &t, failed, &call->shared);
    for (int64_t l = 0; l < count; l++)
        if (!failed) take_statistics(blocks + l, t.lines + l);
    add_up_end(blocks, count - 1, &t, failed, &call->shared, call->grad);
    for (int64_t l = count - 1; l >= 0; l--) go_back_block(call, l, &t, failed);
    if (!failed) close_thread(blocks, count, &t);
}

/* Returns 0, or 1 where memory ends. dx may be NULL. */
int backward_chain(const Block *blocks, int64_t count, const T *grad, const T *x, T *dx) {
    ChainCall call = {.blocks = blocks, .count = count, .grad = grad, .x = x, .dx = dx};
    call.failed = open_shared(blocks, count, 1, &call.shared);
    if (!call.failed) in_parallel(backward_chain_share, &call);
    close_shared(count, &call.shared);
    return call.failed;
}

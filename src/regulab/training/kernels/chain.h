/* Blocks with their convolutions, one after another: what a thread does with one image of one run, and how the work divides.
 *
 * A block reads the map before the norm that the last one left (p), and normalizes it while it lays out what it convolves: y
 * is written behind the last block only. On the way back the gradient of a convolution's input passes ReLU and dropout of the
 * block before as it is read from the sums, and adds to the sums that this block's norm needs. Maps within a chain lie
 * (B, runs, H, W, channels); those that come and go, (B, H, W, runs x channels).
 */
#define GROUP 8                /* images whose weights' gradients are added as float */
#define MOST_DSUMS (4 << 20)   /* floats; more images are grouped where there would be more */

typedef struct { /* of one thread */
    Workspace *works; /* for each block but the first, if that is of images */
    Lines *lines;     /* for each block */
    float *vectors, *frame, *taps;
    double *total;
    int64_t laid; /* which images stand in the frame, or -1 */
    T *maps[2]; /* of one run of one image, in inference */
    uint8_t *won;
} Thread;

static int64_t high(const Shape *s) { return s->height / s->pool; }
static int64_t broad(const Shape *s) { return s->width / s->pool; }
static int64_t places(const Shape *s) { return high(s) * broad(s); }
static int64_t area(const Shape *s) { return places(s) * s->channels; } /* values of one run of an image's map */
static Steps own_steps(const Shape *s) { return (Steps){s->channels, broad(s) * s->channels}; }
static Steps outer_steps(const Shape *s) {
    int64_t K = s->runs * s->channels;
    return (Steps){K, broad(s) * K};
}
static Steps frame_steps(const Shape *s, int64_t stride) { return (Steps){stride, pitch(s) * stride}; }
static int64_t larger(int64_t a, int64_t b) { return a > b ? a : b; }

static int64_t weights_of(const Block *block) {
    const Shape *s = &block->shape;
    return OF_IMAGES(block) ? TAPS * s->inputs * s->channels : weight_sums(s);
}
static int64_t share(const Block *block) { return weights_of(block) + block->shape.channels; } /* the bias stands last */
static int64_t arranged_bytes(const Block *block) {
    return OF_IMAGES(block) ? (weights_of(block) * (int64_t)sizeof(float) + 63) / 64 * 64 : arranged_size(&block->shape);
}

static int64_t group_of(const Block *block) {
    const Shape *s = &block->shape;
    int64_t group = GROUP;
    while (group < s->images && s->images / group * s->runs * share(block) > MOST_DSUMS) group *= 2;
    return group;
}
static int64_t together_in(const Block *block) { return OF_IMAGES(block) ? together(&block->shape) : 1; }
static int64_t items_of(const Block *block) {
    const Shape *s = &block->shape;
    int64_t groups = (s->runs + together_in(block) - 1) / together_in(block);
    return groups * ((s->images + group_of(block) - 1) / group_of(block));
}
static int64_t parts_of(const Block *block) { return (block->shape.images + group_of(block) - 1) / group_of(block); }

static void close_thread(const Block *blocks, int64_t opened, Thread *t) {
    for (int64_t l = opened - 1; l >= 0; l--)
        if (!OF_IMAGES(blocks + l)) close_workspace(t->works + l);
    free(t->works), free(t->lines), free(t->vectors), free(t->frame), free(t->taps), free(t->total);
    free(t->maps[0]), free(t->maps[1]), free(t->won);
    *t = (Thread){0};
}

/* Returns 0, or 1 where memory ends. */
static int open_thread(const Block *blocks, int64_t count, Thread *t) {
    int64_t vectors = 0, taps = 0, total = 0, map = 0, opened = 0, failed = 0;
    for (const Block *block = blocks; block < blocks + count; block++) {
        const Shape *s = &block->shape;
        vectors += LINES * s->runs * s->channels;
        taps = larger(taps, TAPS * s->inputs * s->channels);
        total = larger(total, larger(2 * s->runs * s->channels, share(block)));
        map = larger(map, area(s));
    }
    const Shape *s = &blocks->shape;
    *t = (Thread){calloc(count, sizeof(Workspace)),
                  calloc(count, sizeof(Lines)),
                  malloc(vectors * sizeof(float)),
                  calloc(OF_IMAGES(blocks) ? frame_size(s) : 1, sizeof(float)),
                  malloc(taps * sizeof(float)),
                  malloc(total * sizeof(double)),
                  -1,
                  {malloc(map * sizeof(T)), malloc(map * sizeof(T))},
                  malloc(map)};
    failed = !t->works || !t->lines || !t->vectors || !t->frame || !t->taps || !t->total || !t->maps[0] ||
             !t->maps[1] || !t->won;
    for (float *at = t->vectors; !failed && opened < count; opened++) {
        const Shape *own = &blocks[opened].shape;
        t->lines[opened] = lines_at(at, own->runs * own->channels);
        at += LINES * own->runs * own->channels;
        if (!OF_IMAGES(blocks + opened) && open_workspace(own, t->works + opened)) {
            failed = 1;
            break;
        }
    }
    if (failed) close_thread(blocks, opened, t);
    return (int)failed;
}

/* One run's weights (channels, inputs, TAPS), rounded to the type of maps, as the convolution wants them. */
static void arrange_run(const Block *block, int64_t run, int turned, Thread *t, char *arranged) {
    const Shape *s = &block->shape;
    int64_t I = s->inputs, O = s->channels;
    const float *from = block->weight + run * O * I * TAPS;
    void *to = arranged + run * arranged_bytes(block);
    float *taps = OF_IMAGES(block) ? to : t->taps;
    for (int64_t out = 0; out < O; out++)
        for (int64_t in = 0; in < I; in++)
            for (int64_t tap = 0; tap < TAPS; tap++) taps[(tap * I + in) * O + out] = rounded(*from++);
    if (!OF_IMAGES(block)) arrange(s, taps, turned, to);
}

/* The backend's input of block l: the map x, or p of the block before behind its norm, ReLU and dropout. */
static void fill_input(const Block *blocks, int64_t l, const Thread *t, const T *x, const T *p, int64_t image,
                       int64_t run) {
    const Shape *s = &blocks[l].shape;
    Steps to = frame_steps(s, stride_in(s));
    E *input = t->works[l].input + to.down + to.right;
    if (l) {
        const Shape *last = &blocks[l - 1].shape;
        Gate gate = gate_of(blocks + l - 1, t->lines + l - 1, run, image * places(last));
        BLOCKS(s->inputs, normalize, p, own_steps(last), tall(s), wide(s), &gate, input, 1, to);
    } else {
        Steps from = {s->runs * s->inputs, wide(s) * s->runs * s->inputs};
        const T *here = x + image * tall(s) * from.down + run * s->inputs;
        BLOCKS(s->inputs, copy_map, here, from, tall(s), wide(s), input, to);
    }
}

/* Where the image of one run stands, laid out with those of its neighbours if it does not yet. */
static const float *image_of(const Shape *s, Thread *t, const T *x, int64_t image, int64_t run) {
    int64_t beside = run % together(s), which = image * s->runs + run - beside;
    if (t->laid != which) lay_images(s, x, image, run - beside, t->frame);
    t->laid = which;
    return t->frame + beside * s->inputs * frame_places(s);
}

/* A piece of a convolution of images, with inputs known to the compiler. */
#define OF_INPUTS(piece, ...)                                                                                      \
    do {                                                                                                           \
        if (s->inputs == 1) BLOCKS(s->channels, piece, __VA_ARGS__, 1);                                            \
        else BLOCKS(s->channels, piece, __VA_ARGS__, 3);                                                           \
    } while (0)

/* p of block l for one run of an image, from x or the p of the block before; its sums are added to `sum`. */
static void take_map(const Block *blocks, int64_t l, Thread *t, const char *arranged, const T *x, const T *before,
                     int64_t image, int64_t run, T *p, uint8_t *won, float *sum) {
    const Block *block = blocks + l;
    const Shape *s = &block->shape;
    const float *bias = block->bias ? block->bias + run * s->channels : NULL;
    const void *weights = arranged + run * arranged_bytes(block);
    Mask first = relu_first(s);
    if (OF_IMAGES(block)) {
        const float *frame = image_of(s, t, x, image, run), *taps = weights;
        if (s->pool == 2) OF_INPUTS(convolve_image, s, frame, taps, bias, p, won, sum, 2);
        else OF_INPUTS(convolve_image, s, frame, taps, bias, p, NULL, sum, 1);
        return;
    }
    fill_input(blocks, l, t, x, before, image, run);
    Ahead ahead = {0};
    if (l) expect(&ahead, 0, before + area(&blocks[l - 1].shape), area(&blocks[l - 1].shape) * sizeof(T));
    expect(&ahead, STREAMS - 1, p + area(s), area(s) * sizeof(T));
    convolve(s, t->works + l, weights, &ahead);
    Steps from = frame_steps(s, stride_out(s)), to = own_steps(s);
    const float *sums = t->works[l].sums + (1 - s->padding) * (from.down + from.right);
    if (s->pool == 2)
        BLOCKS(s->channels, take, sums, 1, from, 2, high(s), broad(s), bias, first, p, won, to, sum);
    else
        BLOCKS(s->channels, take, sums, 1, from, 1, high(s), broad(s), bias, first, p, NULL, to, sum);
}

/* y of the last block for one run of an image. */
static void leave_chain(const Block *block, const Lines *lines, const T *p, int64_t image, int64_t run, T *y) {
    const Shape *s = &block->shape;
    Steps to = outer_steps(s);
    Gate gate = gate_of(block, lines, run, image * places(s));
    T *here = y + image * high(s) * to.down + run * s->channels;
    BLOCKS(s->channels, normalize, p, own_steps(s), high(s), broad(s), &gate, here, 0, to);
}

/* The gradient at y of block l (grad, with steps `from`; `kept`: it has passed ReLU and dropout) to the frame of gradients. */
static void enter_frame(const Block *block, const Thread *t, int64_t l, const T *grad, int kept, Steps from, int64_t image,
                        int64_t run, float *dbias) {
    const Shape *s = &block->shape;
    int64_t at = (image * s->runs + run) * area(s);
    const T *p = block->p + at;
    const uint8_t *won = block->won + at;
    Gate gate = gate_of(block, t->lines + l, run, image * places(s));
    Steps to = frame_steps(s, stride_out(s)), step = own_steps(s);
    E *inside = t->works[l].grads + (2 - s->padding) * (to.down + to.right);
    int64_t h = high(s), w = broad(s), C = s->channels;
    if (s->pool == 2 && kept) BLOCKS(C, spread, grad, 1, from, p, won, step, h, w, &gate, inside, 1, to, 2, dbias);
    else if (s->pool == 2) BLOCKS(C, spread, grad, 0, from, p, won, step, h, w, &gate, inside, 1, to, 2, dbias);
    else if (kept) BLOCKS(C, spread, grad, 1, from, p, NULL, step, h, w, &gate, inside, 1, to, 1, dbias);
    else BLOCKS(C, spread, grad, 0, from, p, NULL, step, h, w, &gate, inside, 1, to, 1, dbias);
}

/* What a block's way back reads and writes. */
typedef struct {
    const T *x, *grad; /* grad: of all images; kept and steps as in enter_frame() */
    int kept;
    Steps from;
    T *before;      /* the gradient at y of the block before, past its ReLU and dropout; or of x, or NULL */
    float *partial; /* of it: sums of that and of its product with p - mean, for each image (2 K) */
} Way;

/* One run of an image back through block l: the weights' and the bias' share is added to dsums. */
static void go_back_through(const Block *blocks, int64_t l, Thread *t, const char *turned, const Way *way,
                            int64_t image, int64_t run, float *dsums) {
    const Block *block = blocks + l;
    const Shape *s = &block->shape, *last = l ? &blocks[l - 1].shape : NULL;
    int64_t at = (image * s->runs + run) * area(s);
    float *dbias = block->dbias ? dsums + weights_of(block) : NULL;
    const T *grad = way->grad + (way->kept ? at : image * high(s) * way->from.down + run * s->channels);
    if (OF_IMAGES(block)) {
        Gate gate = gate_of(block, t->lines + l, run, image * places(s));
        const float *frame = image_of(s, t, way->x, image, run);
        const T *p = block->p + at;
        if (s->pool == 2)
            OF_INPUTS(add_up_weights, s, frame, grad, way->kept, way->from, p, block->won + at, &gate, dsums, dbias, 2);
        else OF_INPUTS(add_up_weights, s, frame, grad, way->kept, way->from, p, NULL, &gate, dsums, dbias, 1);
        return;
    }
    int64_t before = last ? (image * s->runs + run) * area(last) : 0;
    Ahead ahead = {0};
    expect(&ahead, 0, block->p + at + s->runs * area(s), area(s) * sizeof(T));
    if (way->kept) expect(&ahead, 1, grad + s->runs * area(s), area(s) * sizeof(T));
    if (last) {
        int64_t next = before + s->runs * area(last);
        expect(&ahead, 2, blocks[l - 1].p + next, area(last) * sizeof(T));
        expect(&ahead, 3, way->before + next, area(last) * sizeof(T));
    }
    enter_frame(block, t, l, grad, way->kept, way->from, image, run, dbias);
    fill_input(blocks, l, t, way->x, last ? blocks[l - 1].p + before : NULL, image, run);
    go_back(s, t->works + l, turned + run * arranged_bytes(block), dsums, way->before != NULL, &ahead);
    Steps from = frame_steps(s, stride_in(s));
    if (last) {
        Gate gate = gate_of(block - 1, t->lines + l - 1, run, image * places(last));
        float *sum = way->partial + 2 * image * s->runs * s->inputs + run * s->inputs;
        float *product = sum + s->runs * s->inputs;
        memset(sum, 0, sizeof(float) * s->inputs);
        memset(product, 0, sizeof(float) * s->inputs);
        BLOCKS(s->inputs, add_up_gradients, t->works[l].sums, 1, from, blocks[l - 1].p + before, own_steps(last), tall(s),
               wide(s), &gate, way->before + before, sum, product);
    } else if (way->before) {
        Steps to = {s->runs * s->inputs, wide(s) * s->runs * s->inputs};
        T *here = way->before + image * tall(s) * to.down + run * s->inputs;
        BLOCKS(s->inputs, copy_sums, t->works[l].sums, from, tall(s), wide(s), here, to);
    }
}

/* Some images and runs back through block l. Images come first where runs share a frame, else runs, whose weights stay in the
 * first cache. */
static void go_back_group(const Block *blocks, int64_t l, Thread *t, const char *turned, const Way *way, int64_t item,
                          float *dsums) {
    const Block *block = blocks + l;
    const Shape *s = &block->shape;
    int64_t runs = together_in(block), groups = (s->runs + runs - 1) / runs, length = share(block);
    int64_t first = item / groups * group_of(block), run = item % groups * runs, end = least(s->runs, run + runs);
    float *own = dsums + (item / groups * s->runs + run) * length;
    memset(own, 0, (end - run) * length * sizeof(float));
    for (int64_t image = first; image < least(s->images, first + group_of(block)); image++)
        for (int64_t r = run; r < end; r++)
            go_back_through(blocks, l, t, turned, way, image, r, own + (r - run) * length);
}

/* One run's gradients of weights and bias from their parts, in their order. */
static void finish_run(const Block *block, int64_t run, const float *dsums, Thread *t) {
    const Shape *s = &block->shape;
    int64_t I = s->inputs, O = s->channels, size = share(block), weights = weights_of(block);
    memset(t->total, 0, size * sizeof(double));
    for (int64_t part = 0; part < parts_of(block); part++)
        for (int64_t i = 0; i < size; i++) t->total[i] += dsums[(part * s->runs + run) * size + i];
    if (OF_IMAGES(block))
        for (int64_t i = 0; i < weights; i++) t->taps[i] = (float)t->total[i];
    else finish_weights(s, t->total, t->taps);
    float *to = block->dweight + run * O * I * TAPS;
    for (int64_t out = 0; out < O; out++)
        for (int64_t in = 0; in < I; in++)
            for (int64_t tap = 0; tap < TAPS; tap++) *to++ = t->taps[(tap * I + in) * O + out];
    for (int64_t out = 0; block->dbias && out < O; out++) block->dbias[run * O + out] = (float)t->total[weights + out];
}

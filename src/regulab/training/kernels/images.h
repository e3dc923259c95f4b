/* The convolution of one run's image of one or three channels, pooled as it is computed, of which nothing else is written; and
 * the gradient of its weights, of which a window's winner gets all. The image stands in a frame of (height + 2) x (width + 2)
 * places of float, those of some runs side by side: where it is padded, with a border of 0. */
#define MOST_INPUTS 3
#define OF_IMAGES(block) ((block)->image)

#define TOGETHER 8 /* runs whose images stand in one frame, place by place: one by one they took four times as long to lay out */

static int64_t together(const Shape *s) { return least(s->runs, TOGETHER); }
static int64_t frame_size(const Shape *s) { return (s->height + 2) * (s->width + 2) * together(s) * s->inputs; }

/* An image (B, H, W, runs x inputs) of together(s) runs from `run` on into its frame, of which the border is 0 already. */
static void lay_images(const Shape *s, const T *x, int64_t image, int64_t run, float *frame) {
    int64_t I = s->inputs, right = s->runs * I, h = s->height + 2 - 2 * s->padding, w = s->width + 2 - 2 * s->padding;
    int64_t step = together(s) * I, some = least(together(s), s->runs - run) * I, whole = some == right;
    const T *from = x + image * h * w * right + run * I;
    for (int64_t row = 0; row < h; row++) {
        float *to = frame + ((row + s->padding) * (s->width + 2) + s->padding) * step;
        for (int64_t column = 0; column < w; column += whole ? w : 1, from += whole ? w * right : right, to += step)
            for (int64_t i = 0, count = whole ? w * right : some; i < count; i += LANES) {
                int n = (int)least(LANES, count - i);
                V v = load(from + i, n);
                WRITE(to + i, v);
            }
    }
}

/* As take() from the sums of a convolution with `taps` (TAPS, inputs, C), each of the four of a window a sum over them. */
INLINE void convolve_and_pool(const Shape *s, const float *frame, const float *taps, const float *bias, T *p,
                              uint8_t *won, float *sum, int inputs, int64_t k, int n) {
    int64_t C = s->channels, right = together(s) * inputs, down = (s->width + 2) * right;
    V total = floats(sum + k, n), added = {0}, row = {0}, w[TAPS * MOST_INPUTS];
    Mask first = relu_first(s);
    if (bias) added = floats(bias + k, n);
UNROLL
    for (int i = 0; i < TAPS * inputs; i++) w[i] = floats(taps + i * C + k, n);
    PLACES_OF(s->height / 2, s->width / 2) {
        const float *patch = frame + 2 * (y * down + x * right);
        V best = {0};
        Winners which = {0};
UNROLL
        for (int of = 0; of < 4; of++) {
            const float *seen = patch + (of / 2) * down + (of % 2) * right;
            V v = {0};
UNROLL
            for (int i = 0; i < TAPS * inputs; i++)
                v += w[i] * seen[(i / inputs / 3) * down + (i / inputs % 3) * right + i % inputs];
            Mask wins = of == 0 ? all_or_none(1) : above(v, best) | is_nan(v);
            which = mark(which, wins, of);
            best = choose(wins, v, best);
        }
        N narrowed = narrow(best + added);
        WRITE(p + place * C + k, narrowed);
        write_winners(won + place * C + k, which, n);
        row += rectified(widen(narrowed), first);
        if (x == s->width / 2 - 1) total += row, row = (V){0};
    }
    WRITE(sum + k, total);
}

/* As spread(), to the gradient of the taps: each value of it meets the places that its window's winner saw. grad has the
 * steps of p, or, where it has not passed ReLU and dropout (not `kept`), those that are given. */
INLINE void add_up_weights(const Shape *s, const float *frame, const T *grad, int kept, Steps from, const T *p,
                           const uint8_t *won, const Gate *gate_, float *dtaps, float *sum, int inputs, int64_t k, int n) {
    const Gate constants = *gate_, *gate = &constants;
    int64_t C = s->channels, right = together(s) * inputs, down = (s->width + 2) * right;
    V a = floats(gate->a + k, n), b = floats(gate->b + k, n), factor = floats(gate->scale + k, n), total = {0};
    V dw[TAPS * MOST_INPUTS];
    SLOPES;
UNROLL
    for (int i = 0; i < TAPS * inputs; i++) dw[i] = floats(dtaps + i * C + k, n);
    PLACES_OF(s->height / 2, s->width / 2) {
        V read = load(p + place * C + k, n), v = rectified(read, gate->first), g = load(grad + AT(from), n);
        if (!kept) g = let_through(g, v, gate, a, b, factor, place, k, n);
        g = THROUGH_NORM(g, v);
        g = past_relu(g, read, gate);
        total += g;
        Winners which = read_winners(won + place * C + k, n);
        const float *patch = frame + 2 * (y * down + x * right);
UNROLL
        for (int of = 0; of < 4; of++) {
            V own = where(won_by(which, of), g);
            const float *seen = patch + (of / 2) * down + (of % 2) * right;
UNROLL
            for (int i = 0; i < TAPS * inputs; i++)
                dw[i] += own * seen[(i / inputs / 3) * down + (i / inputs % 3) * right + i % inputs];
        }
    }
UNROLL
    for (int i = 0; i < TAPS * inputs; i++) WRITE(dtaps + i * C + k, dw[i]);
    if (!sum) return;
    total += floats(sum + k, n);
    WRITE(sum + k, total);
}

/* The convolution of one run's image of one or three channels, pooled as it is computed, so that nothing larger is written; and
 * the gradient of its weights, of which a window's winner gets all. The image stands in frames of (height + 2) x (width + 2)
 * places of float, one for each channel: where it is padded, with a border of 0. */
#define MOST_INPUTS 3
#define WINDOWS 16 /* whose gradients are taken at a time: all they need stays in the first cache */
#define OF_IMAGES(block) ((block)->image)

#define TOGETHER 8 /* runs whose images are laid out together: side by side, as they lie, it takes less than one by one */

static int64_t together(const Shape *s) { return least(s->runs, TOGETHER); }
static int64_t frame_places(const Shape *s) { return (s->height + 2) * (s->width + 2); }
static int64_t frame_size(const Shape *s) { return frame_places(s) * together(s) * s->inputs + 8; } /* see() reads on */

typedef float F4 __attribute__((vector_size(16)));
typedef int32_t I4 __attribute__((vector_size(16)));
#if defined(__clang__)
#define MIXED(a, b, i, j, k, l) __builtin_shufflevector(a, b, i, j, k, l)
#else
#define MIXED(a, b, i, j, k, l) __builtin_shuffle(a, b, (I4){i, j, k, l})
#endif

INLINE F4 four_of(const T *from) {
#ifdef BF16
    typedef uint16_t H4 __attribute__((vector_size(8)));
    typedef uint32_t U4 __attribute__((vector_size(16)));
    H4 four;
    memcpy(&four, from, sizeof four);
    return (F4)(__builtin_convertvector(four, U4) << 16);
#else
    F4 four;
    memcpy(&four, from, sizeof four);
    return four;
#endif
}

/* Four places of four channels to their frames. */
INLINE void lay_four(const T *from, int64_t right, float *to, int64_t apart) {
    F4 a = four_of(from), b = four_of(from + right), c = four_of(from + 2 * right), d = four_of(from + 3 * right);
    F4 ab = MIXED(a, b, 0, 4, 1, 5), ba = MIXED(a, b, 2, 6, 3, 7), cd = MIXED(c, d, 0, 4, 1, 5), dc = MIXED(c, d, 2, 6, 3, 7);
    F4 all[4] = {MIXED(ab, cd, 0, 1, 4, 5), MIXED(ab, cd, 2, 3, 6, 7), MIXED(ba, dc, 0, 1, 4, 5), MIXED(ba, dc, 2, 3, 6, 7)};
    for (int i = 0; i < 4; i++) memcpy(to + i * apart, &all[i], sizeof all[i]);
}

/* An image (B, H, W, runs x inputs) of together(s) runs from `run` on into their frames, of which the border is 0 already. */
static void lay_images(const Shape *s, const T *x, int64_t image, int64_t run, float *frame) {
    int64_t right = s->runs * s->inputs, h = s->height + 2 - 2 * s->padding, w = s->width + 2 - 2 * s->padding;
    int64_t count = least(together(s), s->runs - run) * s->inputs, apart = frame_places(s);
    const T *from = x + image * h * w * right + run * s->inputs;
    for (int64_t row = 0; row < h; row++, from += w * right) {
        float *to = frame + (row + s->padding) * (s->width + 2) + s->padding;
        for (int64_t c = 0, some = 0; c < count; c += some ? 4 : 1) {
            some = count - c >= 4 && w >= 4;
            for (int64_t column = 0; some && column < w; column += 4) {
                int64_t at = least(column, w - 4); /* the last four again, where fewer are left */
                lay_four(from + at * right + c, right, to + c * apart + at, apart);
            }
            for (int64_t column = 0; !some && column < w; column++)
                to[c * apart + column] = widened(from[column * right + c]);
        }
    }
}

/* As take() from the sums of a convolution with `taps` (TAPS, inputs, C): each of the four of a window (size 2), or the one
 * (size 1), is a sum over them. */
INLINE void convolve_image(const Shape *s, const float *frame, const float *taps, const float *bias, T *p, uint8_t *won,
                           float *sum, int size, int inputs, int64_t k, int n) {
    int64_t C = s->channels, down = s->width + 2, columns = s->width / size;
    V total = floats(sum + k, n), added = {0}, row = {0}, w[TAPS * MOST_INPUTS];
    Mask first = relu_first(s);
    if (bias) added = floats(bias + k, n);
UNROLL
    for (int i = 0; i < TAPS * inputs; i++) w[i] = floats(taps + i * C + k, n);
    PLACES_OF(s->height / size, columns) {
        V v[4] = {{0}};
UNROLL
        for (int c = 0; c < inputs; c++) {
            const float *seen = frame + c * frame_places(s) + size * (y * down + x);
UNROLL
            for (int i = 0; i < (size + 2) * (size + 2); i++) { /* a pixel at a time, for all that see it */
                int above = i / (size + 2), left = i % (size + 2);
                V pixel = seen[above * down + left] - (V){0};
UNROLL
                for (int of = 0; of < size * size; of++) {
                    int dy = above - of / 2, dx = left - of % 2;
                    if (dy >= 0 && dy < 3 && dx >= 0 && dx < 3) v[of] += w[(3 * dy + dx) * inputs + c] * pixel;
                }
            }
        }
        Winners which;
        N narrowed = narrow((size == 2 ? largest(v, &which) : v[0]) + added);
        WRITE(p + place * C + k, narrowed);
        if (size == 2) write_winners(won + place * C + k, which, n);
        row += rectified(widen(narrowed), first);
        if (x == columns - 1) total += row, row = (V){0};
    }
    WRITE(sum + k, total);
}

/* Of four floats, for each lane the one that it names. */
INLINE V pick(const float *four, I which) {
#if MASKS
    return (V)_mm512_permutevar_ps(_mm512_broadcast_f32x4(_mm_load_ps(four)), (__m512i)which);
#elif defined(__AVX__)
    return (V)_mm256_permutevar_ps(_mm256_broadcast_ps((const __m128 *)four), (__m256i)which);
#elif LANES == 4 && defined(__aarch64__)
    uint8x16_t bytes = vreinterpretq_u8_u32(vmlaq_n_u32(vdupq_n_u32(0x03020100), (uint32x4_t)which, 0x04040404));
    return (V)vqtbl1q_u8(vreinterpretq_u8_f32(vld1q_f32(four)), bytes);
#else
    I picked = {0};
UNROLL
    for (int i = 0; i < 4; i++) picked |= (which == i) & (I)(four[i] - (V){0});
    return (V)picked;
#endif
}

/* What every tap sees in each of the four places of `count` windows from one on, which begin at `seen`. */
typedef struct {
    float of[TAPS][WINDOWS][4];
} __attribute__((aligned(64))) Views;

static void see(const float *seen, int64_t down, int64_t count, Views *views) {
    for (int tap = 0; tap < TAPS; tap++) {
        const float *above = seen + tap / 3 * down + tap % 3;
        for (int64_t x = 0; x < count; x += 2) { /* of an odd count one more than there are */
            F4 a, b;
            memcpy(&a, above + 2 * x, sizeof a);
            memcpy(&b, above + 2 * x + down, sizeof b);
            F4 left = MIXED(a, b, 0, 1, 4, 5), right = MIXED(a, b, 2, 3, 6, 7);
            memcpy(views->of[tap][x], &left, sizeof left);
            memcpy(views->of[tap][x + 1], &right, sizeof right);
        }
    }
}

/* As spread(), to the gradient of the taps: each value of it meets what the taps saw in its window's winner, or its place.
 * grad has the steps of p, or, where it has not passed ReLU and dropout (not `kept`), those that are given. */
INLINE void add_up_weights(const Shape *s, const float *frame, const T *grad, int kept, Steps from, const T *p,
                           const uint8_t *won, const Gate *gate_, float *dtaps, float *sum, int size, int inputs,
                           int64_t k, int n) {
    const Gate constants = *gate_, *gate = &constants;
    int64_t C = s->channels, down = s->width + 2, columns = s->width / size;
    V a = floats(gate->a + k, n), b = floats(gate->b + k, n), factor = floats(gate->scale + k, n), total = {0};
    Views views;
    SLOPES;
    for (int64_t y = 0; y < s->height / size; y++)
        for (int64_t start = 0, count; count = least(columns - start, WINDOWS), start < columns; start += count) {
            V g[WINDOWS];
            I which[WINDOWS];
            for (int64_t i = 0, x = start; i < count; i++, x++) {
                int64_t place = y * columns + x;
                V read = load(p + place * C + k, n), v = rectified(read, gate->first), own = load(grad + AT(from), n);
                if (!kept) own = let_through(own, v, gate, a, b, factor, place, k, n);
                own = THROUGH_NORM(own, v);
                g[i] = past_relu(own, read, gate);
                total += g[i];
                if (size == 2) which[i] = numbers(read_winners(won + place * C + k, n));
            }
            for (int c = 0; c < inputs; c++) {
                const float *seen = frame + c * frame_places(s) + size * (y * down + start);
                if (size == 2) see(seen, down, count, &views);
                V dw[TAPS];
UNROLL
                for (int tap = 0; tap < TAPS; tap++) dw[tap] = floats(dtaps + (tap * inputs + c) * C + k, n);
                for (int64_t i = 0; i < count; i++)
UNROLL
                    for (int tap = 0; tap < TAPS; tap++)
                        if (size == 2) dw[tap] += g[i] * pick(views.of[tap][i], which[i]);
                        else dw[tap] += g[i] * seen[tap / 3 * down + tap % 3 + i];
UNROLL
                for (int tap = 0; tap < TAPS; tap++) WRITE(dtaps + (tap * inputs + c) * C + k, dw[tap]);
            }
        }
    if (!sum) return;
    total += floats(sum + k, n);
    WRITE(sum + k, total);
}

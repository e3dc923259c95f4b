/* 3x3 convolutions of one image of one run by vdpbf16ps: to each of 16 floats it adds two products of bfloat16. Of use where that
 * takes no longer than one product of floats (AMD, since Zen 4); Intel's processors without matrix units take four times as long.
 *
 * The rows of a frame are W + 1 places apart, so that the right border of a row is the left border of the next. Then an output
 * place q = y (W + 1) + x sees the places q + dy (W + 1) + dx, whatever row of the image it is in; what comes out for x = W
 * is left.
 *
 * Forward, the 16 floats are outputs, and the two products are of two inputs, which lie side by side: they are read as one
 * number of 32 bits, for all 16. One that is read serves three taps, of three places. The gradient of the input is the same with
 * the weights turned around. For the gradient of the weights the two products are of two places, after one another: gradients
 * in pairs (see pairs.h), the 16 floats outputs again, with two places of an input. Here, too, one pair of these serves three
 * taps, with the gradients of places m, m - 1 and m - 2: of even places, odd places, and even places.
 *
 * For a place of 16 channels to 16 each of the three takes 72 such instructions. One product of floats at a time it would be 144,
 * and by Winograd's way (floats.h) it is 64 and the transforms: the two are close where both instructions take the same time.
 */
#include "pairs.h"

#define NAME "pairs of bfloat16"
#define PLACES 14 /* of an image at a time, each with a register of sums; rows of 14 and of 7 make whole ones with their border */
#define INPUTS 8  /* whose weights' sums are taken at a time, of three taps */

typedef struct { /* of one thread */
    E *input, *grads;
    float *sums;
    T *pairs;  /* of a block of gradients: a row for each place from two before the first on */
    T *turned; /* of the input: apart() places for each channel */
} Workspace;

static int takes(const Shape *s) { return s->inputs >= 1 && s->inputs <= 64 && s->channels >= 1 && s->channels <= 64; }
static int64_t pitch(const Shape *s) { return wide(s) + 1; }
static int64_t stride_in(const Shape *s) { return BLOCKED(s->inputs) * WIDTH; }
static int64_t stride_out(const Shape *s) { return BLOCKED(s->channels) * WIDTH; }
static int64_t places_of(const Shape *s) { return (tall(s) * pitch(s) + PLACES - 1) / PLACES * PLACES; }
static int64_t room(const Shape *s) { return (places_of(s) + 2 * pitch(s) + 6 + 31) / 32 * 32; } /* of a frame */
static int64_t apart(const Shape *s) { return (room(s) / 32 | 1) * 32; } /* an odd number of lines: in all sets of a cache */

/* Returns 0, or 1 where memory ends. */
static int open_workspace(const Shape *s, Workspace *work) {
    int64_t in = stride_in(s), out = stride_out(s), most = in > out ? in : out, R = room(s);
    int64_t values = R * (in + out + 2 * WIDTH) + apart(s) * in;
    T *all = aligned_alloc(64, sizeof(T) * values + sizeof(float) * places_of(s) * most);
    if (!all) return 1;
    memset(all, 0, sizeof(T) * values);
    T *grads = all + R * in, *pairs = grads + R * out, *turned = pairs + R * 2 * WIDTH;
    *work = (Workspace){all, grads, (float *)(all + values), pairs, turned};
    return 0;
}

static void close_workspace(Workspace *work) { free(work->input); }

INLINE __m512bh vector_at(const T *p) { return (__m512bh)_mm512_load_si512(p); }
INLINE __m512bh pair_at(const T *p) { /* in all 16 lanes */
    int32_t two;
    memcpy(&two, p, sizeof two);
    __m512i all = _mm512_set1_epi32(two);
    __asm__("" : "+v"(all)); /* clang 16 ends with a segmentation fault where it sees what became bfloat16 */
    return (__m512bh)all;
}

static int64_t evened(int64_t channels) { return (channels + 1) / 2 * 2; }
static int64_t arranged_size(const Shape *s) {
    int64_t there = BLOCKED(s->channels) * evened(s->inputs), back = BLOCKED(s->inputs) * evened(s->channels);
    return (there > back ? there : back) * TAPS * WIDTH * (int64_t)sizeof(T);
}

/* For each block of what comes out, each dy and each pair of what goes in, a row for each dx: (a, b, a', b', ...), a and b of the
 * pair. Turned around weights carry gradients back: outputs become inputs, and the taps stand opposite. */
static void arrange(const Shape *s, const float *taps, int turned, void *to) {
    int64_t I = s->inputs, O = s->channels, from = turned ? O : I, into = turned ? I : O;
    T *row = to;
    for (int64_t block = 0; block < into; block += WIDTH)
        for (int dy = 0; dy < 3; dy++)
            for (int64_t pair = 0; pair < from; pair += 2)
                for (int tap = 3 * dy; tap < 3 * dy + 3; tap++, row += 2 * WIDTH) {
                    float values[2 * WIDTH] = {0};
                    for (int n = 0; n < 2 * WIDTH; n++) {
                        int64_t out = block + n / 2, in = pair + n % 2;
                        if (in < from && out < into)
                            values[n] = turned ? taps[((TAPS - 1 - tap) * I + out) * O + in] : taps[(tap * I + in) * O + out];
                    }
                    __m512bh narrowed = _mm512_cvtne2ps_pbh(_mm512_loadu_ps(values + WIDTH), _mm512_loadu_ps(values));
                    memcpy(row, &narrowed, 64);
                }
}

/* PLACES outputs of 16 channels from the first of the places that they see. */
INLINE void multiply(const T *frame, int64_t P, int64_t stride, int64_t channels, const T *weights, float *sums, int64_t into) {
    __m512 sum[PLACES];
UNROLL
    for (int x = 0; x < PLACES; x++) sum[x] = _mm512_setzero_ps();
    for (int dy = 0; dy < 3; dy++)
        for (int64_t c = 0; c < channels; c += 2, weights += 3 * 2 * WIDTH) {
            const T *seen = frame + dy * P * stride + c;
            __m512bh left = vector_at(weights), middle = vector_at(weights + 2 * WIDTH), right = vector_at(weights + 4 * WIDTH);
UNROLL
            for (int x = 0; x < PLACES + 2; x++) {
                __m512bh pair = pair_at(seen + x * stride);
                if (x < PLACES) sum[x] = _mm512_dpbf16_ps(sum[x], left, pair);
                if (x > 0 && x <= PLACES) sum[x - 1] = _mm512_dpbf16_ps(sum[x - 1], middle, pair);
                if (x > 1) sum[x - 2] = _mm512_dpbf16_ps(sum[x - 2], right, pair);
            }
        }
UNROLL
    for (int x = 0; x < PLACES; x++) _mm512_store_ps(sums + x * into, sum[x]);
}

static void multiply_all(const Shape *s, const T *frame, int64_t stride, int64_t channels, const T *weights, float *sums,
                         int64_t into) {
    for (int64_t c = 0; c < into; c += WIDTH, weights += 3 * evened(channels) / 2 * 3 * 2 * WIDTH)
        for (int64_t q = 0; q < places_of(s); q += PLACES) {
            float *to = sums + q * into + c;
            if (stride == WIDTH && into == WIDTH) multiply(frame + q * WIDTH, pitch(s), WIDTH, channels, weights, to, WIDTH);
            else multiply(frame + q * stride, pitch(s), stride, channels, weights, to, into);
        }
}

static void convolve(const Shape *s, const Workspace *work, const void *arranged, const Ahead *ahead) {
    multiply_all(s, work->input, stride_in(s), s->inputs, arranged, work->sums, stride_out(s));
}

/* Adds to INPUTS x 3 sums of 16 outputs: a row of taps. */
INLINE void multiply_taps(const T *pairs, int64_t steps, const T *turned, int64_t R, float *sums) {
    __m512 sum[3 * INPUTS];
    __m512bh second = vector_at(pairs); /* that of m - 2 */
UNROLL
    for (int i = 0; i < 3 * INPUTS; i++) sum[i] = _mm512_loadu_ps(sums + i * WIDTH);
    for (int64_t step = 0; step < steps; step++, pairs += 4 * WIDTH, turned += 2) {
        __m512bh first = vector_at(pairs + 2 * WIDTH), here = vector_at(pairs + 4 * WIDTH);
UNROLL
        for (int i = 0; i < INPUTS; i++) {
            __m512bh seen = pair_at(turned + i * R);
            sum[3 * i] = _mm512_dpbf16_ps(sum[3 * i], here, seen);
            sum[3 * i + 1] = _mm512_dpbf16_ps(sum[3 * i + 1], first, seen);
            sum[3 * i + 2] = _mm512_dpbf16_ps(sum[3 * i + 2], second, seen);
        }
        second = here;
    }
UNROLL
    for (int i = 0; i < 3 * INPUTS; i++) _mm512_storeu_ps(sums + i * WIDTH, sum[i]);
}

static void go_back(const Shape *s, const Workspace *work, const void *turned, float *dsums, int wants_input,
                    const Ahead *ahead) {
    int64_t P = pitch(s), J = tall(s) * P, in = stride_in(s), out = stride_out(s), A = apart(s), I = s->inputs;
    for (int64_t c = 0; c < in; c += WIDTH)
        for (int64_t q = 0; q < room(s); q += 32) {
            if (in == WIDTH) turn(work->input + q * WIDTH, WIDTH, work->turned + q, A);
            else turn(work->input + q * in + c, in, work->turned + c * A + q, A);
        }
    for (int64_t c = 0; c < out; c += WIDTH) {
        const T *before = work->grads + (P - 1) * out + c; /* two places before the first */
        for (int64_t q = 0; q < J + 4; q++)
            _mm512_store_si512(work->pairs + q * 2 * WIDTH, paired(two_places(before + q * out, out)));
        for (int64_t i = 0; i < I; i += INPUTS)
            for (int dy = 0; dy < 3; dy++, dsums += 3 * INPUTS * WIDTH)
                multiply_taps(work->pairs, (J + 3) / 2, work->turned + i * A + dy * P, A, dsums);
    }
    if (wants_input) multiply_all(s, work->grads, out, s->channels, turned, work->sums, in);
}

/* For each block of outputs, INPUTS inputs and dy (INPUTS, dx, 16 outputs). */
static int64_t rounds(const Shape *s) { return (s->inputs + INPUTS - 1) / INPUTS; }
static int64_t weight_sums(const Shape *s) { return BLOCKED(s->channels) * rounds(s) * TAPS * INPUTS * WIDTH; }

static void finish_weights(const Shape *s, const double *dsums, float *dtaps) {
    for (int64_t tap = 0; tap < TAPS; tap++)
        for (int64_t in = 0; in < s->inputs; in++)
            for (int64_t out = 0; out < s->channels; out++) {
                int64_t round = (out / WIDTH * rounds(s) + in / INPUTS) * 3 + tap / 3;
                int64_t at = ((round * INPUTS + in % INPUTS) * 3 + tap % 3) * WIDTH + out % WIDTH;
                dtaps[(tap * s->inputs + in) * s->channels + out] = (float)dsums[at];
            }
}

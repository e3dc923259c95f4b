/* What is done to rows: each a loop over rows from one on, for a block of n channels from k on, whose constants and sums stay
 * in registers. A row is one place of the pooled map: K values, C of each run.
 */
#include "vectors.h"

#define MOST_INPUTS 3

/* Where rows from, from + 1, ... lie in a map of which a row's step to the right, below and to the next image are given. */
INLINE void find(const Shape *s, int64_t from, int64_t to, int64_t right, int64_t down, int64_t next, int64_t *places) {
    int64_t h = s->height / s->pool, w = s->width / s->pool, image = from / (h * w);
    int64_t y = from % (h * w) / w, x = from % w; /* once a strip: divisions for every row took a fifth of the backward pass */
    for (int64_t r = from; r < to; r++) {
        places[r - from] = image * next + y * down + x * right;
        if (++x < w) continue;
        x = 0;
        if (++y < h) continue;
        y = 0, image++;
    }
}

/* In the map before pooling: the upper left of their windows. */
static void find_windows(const Shape *s, int64_t from, int64_t to, int64_t *places) {
    int64_t K = s->runs * s->channels, row = s->width * K;
    find(s, from, to, s->pool * K, s->pool * row, s->height * row, places);
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

/* The upper left of the 4x4 places of the image that their windows see. */
static void find_patches(const Shape *s, int64_t from, int64_t to, int64_t *places) {
    int64_t right = s->runs * s->inputs, row = (s->width + 2) * right;
    find(s, from, to, 2 * right, 2 * row, (s->height + 2) * row, places);
}

/* As pool(), of a convolution of one run's image: each of the four of a window is a sum over TAPS and inputs. */
INLINE void convolve_and_pool(const float *image, const int64_t *places, int64_t rows, int64_t right, int64_t down,
                              const float *weight, int64_t C, int64_t K, T *pooled, uint8_t *won, float *sum,
                              int inputs, int64_t k, int n) {
    V total = floats(sum + k, n), w[TAPS * MOST_INPUTS];
UNROLL
    for (int i = 0; i < TAPS * inputs; i++) w[i] = floats(weight + i * C + k, n);
    for (int64_t r = 0; r < rows; r++) {
        const float *patch = image + places[r];
        V best = {0};
        I which = {0};
UNROLL
        for (int place = 0; place < 4; place++) {
            const float *seen = patch + (place / 2) * down + (place % 2) * right;
            V v = {0};
UNROLL
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

INLINE void add_up(const T *p, int64_t rows, int64_t K, I first, float *sum, int64_t k, int n) {
    V total = floats(sum + k, n);
    for (int64_t r = 0; r < rows; r++) total += rectified(load(p + r * K + k, n), first);
    WRITE(sum + k, total);
}

INLINE void add_up_squares(const T *p, int64_t rows, int64_t K, I first, const float *mean, float *sum, int64_t k,
                           int n) {
    V total = floats(sum + k, n), center = floats(mean + k, n);
    for (int64_t r = 0; r < rows; r++) {
        V d = rectified(load(p + r * K + k, n), first) - center;
        total += d * d;
    }
    WRITE(sum + k, total);
}

/* Where ReLU stands before the norm: all lanes or none. */
INLINE I relu_first(const Shape *s) { return (I){0} - (int32_t)s->before; }

/* One run's channels: max(0, a p + b), or a max(0, p) + b, times scale where the draw is not below low. */
INLINE void normalize(const T *p, int64_t rows, int64_t K, I first, const float *a, const float *b,
                      const int16_t *draw, int64_t C, int16_t low, const float *scale, T *y, int64_t k, int n) {
    V as = floats(a + k, n), bs = floats(b + k, n), factor = {0};
    if (draw) factor = floats(scale + k, n);
    for (int64_t r = 0; r < rows; r++) {
        V v = rectified(rectified(load(p + r * K + k, n), first) * as + bs, ~first);
        if (draw) {
            READ(S, d, draw + r * C + k);
            v = (V)((I)(v * factor) & ~__builtin_convertvector(d < low, I));
        }
        store(y + r * K + k, v, n);
    }
}

/* The way back: what normalize() did to each of K channels, and from pass to pass what is taken off, see backward(). */
typedef struct {
    const float *a, *b, *scale, *mean, *outer, *slope, *shift;
    const int16_t *const *draws; /* for each run; NULL without dropout */
    const int16_t *low;
    I first;
} Way;

/* One run's part of it, from a row on. */
typedef struct {
    const float *a, *b, *scale, *mean, *outer, *slope, *shift;
    const int16_t *draw;
    int64_t C;
    int16_t low;
    I first;
} Gate;

INLINE Gate gate_of(const Way *w, int64_t C, int64_t run, int64_t row) {
    int64_t at = run * C;
    return (Gate){w->a + at,     w->b + at,     w->scale + at, w->mean + at,
                  w->outer + at, w->slope + at, w->shift + at, w->draws ? w->draws[run] + row * C : NULL,
                  C,             w->draws ? w->low[run] : 0, w->first};
}

/* The gradient behind ReLU and dropout in row r: that of y, where both let the value through. Input and draws say where; y
 * itself need not be kept for that, and runs share their draws. */
INLINE V let_through(V g, V p, const Gate *gate, V a, V b, V factor, int64_t r, int64_t k, int n) {
    I open = (p * a + b > 0) | gate->first; /* a ReLU before the norm is behind this */
    if (gate->draw) {
        READ(S, d, gate->draw + r * gate->C + k);
        open &= ~__builtin_convertvector(d < gate->low, I);
    }
    return (V)((I)(g * factor) & open);
}

/* Sums of that gradient, and of its product with p - mean. */
INLINE void add_up_gradients(const T *grad, const T *p, int64_t rows, int64_t K, const Gate *gate, float *sum,
                             float *product, int64_t k, int n) {
    V a = floats(gate->a + k, n), b = floats(gate->b + k, n), factor = floats(gate->scale + k, n);
    V center = floats(gate->mean + k, n), total = floats(sum + k, n), weighted = floats(product + k, n);
    for (int64_t r = 0; r < rows; r++) {
        V v = rectified(load(p + r * K + k, n), gate->first);
        V g = let_through(load(grad + r * K + k, n), v, gate, a, b, factor, r, k, n);
        total += g;
        weighted += g * (v - center);
    }
    WRITE(sum + k, total);
    WRITE(product + k, weighted);
}

/* The gradient of p, of row r where places say: at the winner of its window, with 0 for the others, or alone. */
INLINE void spread_gradients(const T *grad, const T *p, const uint8_t *won, const int64_t *places, int64_t rows,
                             int64_t K, int64_t right, int64_t down, const Gate *gate, T *dx, int64_t k, int n) {
    V a = floats(gate->a + k, n), b = floats(gate->b + k, n), factor = floats(gate->scale + k, n);
    V center = floats(gate->mean + k, n), outer = floats(gate->outer + k, n);
    V slope = floats(gate->slope + k, n), shift = floats(gate->shift + k, n);
    for (int64_t r = 0; r < rows; r++) {
        V seen = load(p + r * K + k, n), v = rectified(seen, gate->first);
        V g = let_through(load(grad + r * K + k, n), v, gate, a, b, factor, r, k, n);
        g = outer * (g - shift - (v - center) * slope);
        g = (V)((I)g & ~((seen <= 0) & gate->first));
        T *here = dx + places[r] + k;
        if (!won) {
            store(here, g, n);
            continue;
        }
        READ(B, winner, won + r * K + k);
        M which = __builtin_convertvector(winner, M);
        N narrowed = narrow(g);
        store_where(here, narrowed, which == 0, n);
        store_where(here + right, narrowed, which == 1, n);
        store_where(here + down, narrowed, which == 2, n);
        store_where(here + down + right, narrowed, which == 3, n);
    }
}

/* The gradient of the first block's weights: each value of g meets the places that its window's winner saw. */
INLINE void add_up_weights(const T *grad, const T *p, const uint8_t *won, const float *image, const int64_t *places,
                           int64_t rows, int64_t right, int64_t down, int64_t C, int64_t K, const Gate *gate,
                           float *dweight, int inputs, int64_t k, int n) {
    V a = floats(gate->a + k, n), b = floats(gate->b + k, n), factor = floats(gate->scale + k, n);
    V center = floats(gate->mean + k, n), outer = floats(gate->outer + k, n);
    V slope = floats(gate->slope + k, n), shift = floats(gate->shift + k, n), dw[TAPS * MOST_INPUTS];
UNROLL
    for (int i = 0; i < TAPS * inputs; i++) dw[i] = floats(dweight + i * C + k, n);
    for (int64_t r = 0; r < rows; r++) {
        V v = load(p + r * K + k, n), g = let_through(load(grad + r * K + k, n), v, gate, a, b, factor, r, k, n);
        g = outer * (g - shift - (v - center) * slope);
        READ(B, winner, won + r * K + k);
        I which = __builtin_convertvector(winner, I);
UNROLL
        for (int place = 0; place < 4; place++) {
            V own = (V)((I)g & (which == place));
            const float *seen = image + places[r] + (place / 2) * down + (place % 2) * right;
UNROLL
            for (int i = 0; i < TAPS * inputs; i++)
                dw[i] += own * seen[(i / inputs / 3) * down + (i / inputs % 3) * right + i % inputs];
        }
    }
UNROLL
    for (int i = 0; i < TAPS * inputs; i++) WRITE(dweight + i * C + k, dw[i]);
}

/* 3x3 convolutions of one image of one run in float arithmetic, on any processor: Winograd's F(2x2, 3x3), which takes 16
 * products where 36 would be. An output of 2x2 places, a tile, sees 4x4 of the input, and with small matrices A, B and G
 *
 *     V = B' d B    U = G g G'    M = sum over inputs of V U    y = A' M A
 *
 * for each of the 16 elements of V, U and M alone: products of matrices (tiles x inputs) and (inputs x channels). The way
 * back is its adjoint, so that one transform of the gradient serves both of its products:
 *
 *     N = A dy A'   dU += V' N      dV = N U'      dx += B dV B'     and at the end of a step dg = G' dU G
 *
 * The signs of the last column of B and A are turned around (both, so that it makes no difference), which saves negations.
 * Source: Lavin & Gray 2015 (arXiv 1509.09308).
 *
 * Rounding: results differ from those of double by at most 7e-7 of the largest (measured: 8 to 64 channels, 2x2 to 14x14
 * places). An infinity among the inputs comes out as NaN, and at all places of the tiles that see it: a run that diverges is
 * seen to, but not the first place where it did; finite runs are no different.
 */
#include "products.h"

#define NAME "vectors"
#define ELEMENTS 16
#define ROW 4 /* of them: transformed and multiplied at a time, so that both stay in the first cache */
/* At a time, at least. With AVX-512 all 49 tiles of 14x14 places took 5 % longer: M left the first cache. */
#define STRIP_TILES (MOST == 16 ? 14 : 24)

typedef float E;
typedef struct { /* of one thread */
    E *input, *grads;
    float *sums;
    float *row, *all; /* of V and N: (ROW, lines of channels, tiles of a strip, LINE); of M or dV: (ELEMENTS, …) */
} Workspace;

typedef V Packed;
INLINE Packed pack(V v) { return v; }
INLINE Packed pack_where(Mask mask, Packed v) { return where(mask, v); }
INLINE void put(E *to, Packed v, int n) { WRITE(to, v); }

static int64_t stride_in(const Shape *s) { return lines_of(s->inputs) * LINE; }
static int64_t stride_out(const Shape *s) { return lines_of(s->channels) * LINE; }

/* Tiles of an image: how many below and beside one another, and below one another in a strip. */
typedef struct {
    int64_t down, across, strip;
} Tiles;

static Tiles tiles_of(const Shape *s) {
    int64_t down = (tall(s) + 1) / 2, across = (wide(s) + 1) / 2, most = (STRIP_TILES + across - 1) / across;
    int64_t strips = (down + most - 1) / most;
    return (Tiles){down, across, (down + strips - 1) / strips};
}

/* Maps may be odd: where tiles reach beyond them, there is one more place of the frame. */
static int64_t pitch(const Shape *s) { return 2 * tiles_of(s).across + 2; }

static int takes(const Shape *s) {
    return s->inputs >= 1 && s->inputs <= 64 && s->channels >= 1 && s->channels <= 64;
}

static int open_workspace(const Shape *s, Workspace *work) {
    int64_t in = stride_in(s), out = stride_out(s), wider = in > out ? in : out;
    Tiles t = tiles_of(s);
    int64_t places = pitch(s) * (2 * t.down + 2), tiles = t.strip * t.across;
    size_t bytes = sizeof(float) * (places * (in + out + wider) + tiles * (ROW * (in + out) + ELEMENTS * wider));
    float *all = aligned_alloc(64, (bytes + 63) / 64 * 64); /* macOS gives nothing of other sizes */
    if (!all) return 1;
    memset(all, 0, bytes);
    float *grads = all + places * in, *sums = grads + places * out, *row = sums + places * wider;
    *work = (Workspace){all, grads, sums + (pitch(s) + 1) * in, row, row + ROW * tiles * (in + out)};
    return 0;
}

static void close_workspace(Workspace *work) { free(work->input); }

/* G of Winograd: three taps to four elements. */
static void four_of_three(const float *tap, int64_t apart, float *element) {
    float a = tap[0], b = tap[apart], c = tap[2 * apart];
    element[0] = a, element[1] = (a + b + c) / 2, element[2] = (a - b + c) / 2, element[3] = c;
}

static int64_t weight_sums(const Shape *s) { return ELEMENTS * stride_in(s) * stride_out(s); }
static int64_t arranged_size(const Shape *s) {
    int64_t there = s->inputs * stride_out(s), back = s->channels * stride_in(s);
    return (int64_t)sizeof(float) * ELEMENTS * (there > back ? there : back);
}

/* U of one run: (ELEMENTS, lines of what comes out, what goes in, LINE). */
static void arrange(const Shape *s, const float *taps, int turned, void *arranged) {
    int64_t step = s->inputs * s->channels, in = turned ? s->channels : s->inputs;
    int64_t out = turned ? stride_in(s) : stride_out(s);
    memset(arranged, 0, arranged_size(s));
    for (int64_t i = 0; i < s->inputs; i++)
        for (int64_t o = 0; o < s->channels; o++) {
            const float *tap = taps + i * s->channels + o;
            int64_t to = turned ? i : o, from = turned ? o : i;
            float *u = (float *)arranged + (to / LINE * in + from) * LINE + to % LINE;
            float rows[3][4], column[4];
            for (int y = 0; y < 3; y++) four_of_three(tap + 3 * y * step, step, rows[y]);
            for (int x = 0; x < 4; x++) {
                four_of_three(&rows[0][x], 4, column);
                for (int y = 0; y < 4; y++) u[(4 * y + x) * in * out] = column[y];
            }
        }
}

/* One run's (TAPS, inputs, channels) from the sums of dU: G' dU G. */
static void finish_weights(const Shape *s, const double *dsums, float *dweight) {
    int64_t in = lines_of(s->inputs), out = lines_of(s->channels), step = s->inputs * s->channels;
    for (int64_t i = 0; i < s->inputs; i++)
        for (int64_t o = 0; o < s->channels; o++) {
            const double *du = dsums + ((i / LINE * out + o / LINE) * LINE + i % LINE) * LINE + o % LINE;
            double taps[3][4];
            for (int x = 0; x < 4; x++) {
                double e[4];
                for (int y = 0; y < 4; y++) e[y] = du[(4 * y + x) * in * out * LINE * LINE];
                taps[0][x] = e[0] + (e[1] + e[2]) / 2, taps[1][x] = (e[1] - e[2]) / 2, taps[2][x] = (e[1] + e[2]) / 2 + e[3];
            }
            for (int y = 0; y < 3; y++) {
                const double *e = taps[y];
                float *to = dweight + 3 * y * step + i * s->channels + o;
                to[0] = (float)(e[0] + (e[1] + e[2]) / 2);
                to[step] = (float)((e[1] - e[2]) / 2);
                to[2 * step] = (float)((e[1] + e[2]) / 2 + e[3]);
            }
        }
}

/* Element e of the four that B' makes of four places a step apart; here of the two that it looks at. */
INLINE F seen(const float *first, int64_t step, int e) {
    F a = get(first + (e == 0 ? 0 : e == 2 ? 2 : 1) * step), b = get(first + (e == 0 || e == 1 ? 2 : e == 2 ? 1 : 3) * step);
    return e == 0 ? a - b : e == 1 ? a + b : e == 2 ? a - b : b - a;
}

/* Row e of V of a row of tiles. */
INLINE void transform_row(const float *from, int64_t right, int64_t down, int64_t across, float *v, int64_t apart, int e) {
    F a = seen(from, down, e), b = seen(from + right, down, e);
    for (int64_t x = 0; x < across; x++, from += 2 * right, v += LINE) {
        F c = seen(from + 2 * right, down, e), d = seen(from + 3 * right, down, e);
        set(v, a - c);
        set(v + apart, b + c);
        set(v + 2 * apart, c - b);
        set(v + 3 * apart, d - b);
        a = c, b = d;
    }
}

/* Row e of V = B' d B of some rows of tiles. */
INLINE void transform_input(const float *from, int64_t channel_lines, int64_t pitch, int64_t rows, int64_t across, float *v,
                            int e) {
    int64_t right = channel_lines * LINE, down = pitch * right, tiles = rows * across, apart = channel_lines * tiles * LINE;
    for (int64_t line = 0; line < channel_lines; line++)
        for (int64_t y = 0; y < rows; y++)
            for (int part = 0; part < PER_LINE; part++)
                transform_row(from + 2 * y * down + line * LINE + part * WIDE, right, down, across,
                              v + (line * tiles + y * across) * LINE + part * WIDE, apart, e);
}

/* Element e of the four that A makes of two places. */
INLINE F spread_two(const float *first, int64_t step, int e) {
    F a = get(first), b = get(first + step);
    return e == 0 ? a : e == 1 ? a + b : e == 2 ? a - b : b;
}

/* Row e of N = A dy A' of some rows of tiles. */
INLINE void transform_grads(const float *from, int64_t channel_lines, int64_t pitch, int64_t rows, int64_t across, float *n,
                            int e) {
    int64_t right = channel_lines * LINE, down = pitch * right, tiles = rows * across, apart = channel_lines * tiles * LINE;
    for (int64_t line = 0; line < channel_lines; line++)
        for (int64_t y = 0; y < rows; y++)
            for (int64_t x = 0; x < across; x++)
                for (int part = 0; part < PER_LINE; part++) {
                    const float *here = from + 2 * y * down + 2 * x * right + line * LINE + part * WIDE;
                    float *to = n + (line * tiles + y * across + x) * LINE + part * WIDE;
                    F left = spread_two(here, down, e), beside = spread_two(here + right, down, e);
                    set(to, left);
                    set(to + apart, left + beside);
                    set(to + 2 * apart, left - beside);
                    set(to + 3 * apart, beside);
                }
}

/* y = A' M A of some rows of tiles. */
static void transform_sums(const float *m, int64_t channel_lines, int64_t pitch, int64_t rows, int64_t across, float *to) {
    int64_t right = channel_lines * LINE, down = pitch * right, tiles = rows * across, apart = channel_lines * tiles * LINE;
    for (int64_t line = 0; line < channel_lines; line++)
        for (int64_t y = 0; y < rows; y++)
            for (int64_t x = 0; x < across; x++)
                for (int part = 0; part < PER_LINE; part++) {
                    const float *from = m + (line * tiles + y * across + x) * LINE + part * WIDE;
                    float *here = to + 2 * y * down + 2 * x * right + line * LINE + part * WIDE;
                    F above[4], below[4];
UNROLL
                    for (int i = 0; i < 4; i++) {
                        F a = get(from + i * apart), b = get(from + (4 + i) * apart), c = get(from + (8 + i) * apart);
                        above[i] = a + (b + c), below[i] = (b - c) + get(from + (12 + i) * apart);
                    }
                    set(here, above[0] + (above[1] + above[2]));
                    set(here + right, (above[1] - above[2]) + above[3]);
                    set(here + down, below[0] + (below[1] + below[2]));
                    set(here + down + right, (below[1] - below[2]) + below[3]);
                }
}

/* A finished column of four places, from what B makes of its four elements: the upper two add to the row of tiles above,
 * unless it is the first. */
INLINE void set_column(float *to, int64_t down, const F *e, int first) {
    F middle = e[1] - e[2], a = e[0], b = middle - e[3];
    if (!first) a += get(to), b += get(to + down);
    set(to, a);
    set(to + down, b);
    set(to + 2 * down, -(e[0] - e[1] - e[2]));
    set(to + 3 * down, e[3]);
}

/* dx = B dV B' of a row of tiles: each reaches over two columns of the next. */
INLINE void spread_row(const float *v, int64_t apart, int64_t right, int64_t down, int64_t across, float *to, int first) {
    F next[4] = {0}, after[4] = {0};
    for (int64_t x = 0; x < across; x++, to += 2 * right, v += LINE) {
        F now[4], beside[4];
UNROLL
        for (int i = 0; i < 4; i++) {
            const float *row = v + 4 * i * apart;
            F a = get(row), b = get(row + apart), c = get(row + 2 * apart), d = get(row + 3 * apart);
            now[i] = next[i] + a, beside[i] = after[i] + ((b - c) - d);
            next[i] = (b + c) - a, after[i] = d;
        }
        set_column(to, down, now, first);
        set_column(to + right, down, beside, first);
    }
    set_column(to, down, next, first);
    set_column(to + right, down, after, first);
}

/* The same of some rows of tiles, of which the first may be that of the image. */
static void spread_tiles(const float *v, int64_t channel_lines, int64_t pitch, int64_t rows, int64_t across, float *to, int first) {
    int64_t right = channel_lines * LINE, down = pitch * right, tiles = rows * across, apart = channel_lines * tiles * LINE;
    for (int64_t line = 0; line < channel_lines; line++)
        for (int64_t y = 0; y < rows; y++)
            for (int part = 0; part < PER_LINE; part++) {
                const float *from = v + (line * tiles + y * across) * LINE + part * WIDE;
                float *here = to + 2 * y * down + line * LINE + part * WIDE;
                if (first && y == 0) spread_row(from, apart, right, down, across, here, 1);
                else spread_row(from, apart, right, down, across, here, 0);
            }
}

/* n tiles of a row of elements: from v (ROW, lines of inputs, tiles, LINE) on to m (ROW, lines of out, tiles, LINE). */
INLINE void multiply_part(const float *v, const float *u, int64_t tiles, int64_t inputs, int64_t out_lines, float *m, int n) {
    for (int element = 0; element < ROW; element++, v += lines_of(inputs) * tiles * LINE)
        for (int64_t line = 0; line < out_lines; line++, u += inputs * LINE, m += tiles * LINE)
            multiply(v, tiles * LINE, u, inputs, m, n);
}

/* A row of elements, m = v u, the parts outermost: n is looked up once, and not for every element. */
static void multiply_row(const float *v, const float *u, int64_t tiles, int64_t inputs, int64_t out_lines, float *m) {
    EQUAL_PARTS(tiles) { OF(n, multiply_part, v + at * LINE, u, tiles, inputs, out_lines, m + at * LINE) }
}

/* n inputs of a row of elements, all lines of channels. */
INLINE void multiply_weights_part(const float *v, int64_t next, const float *grads, int64_t tiles, int64_t out_lines, float *du,
                                  int64_t next_du, int n) {
    for (int element = 0; element < ROW; element++, v += next, du += next_du)
        for (int64_t o = 0; o < out_lines; o++, grads += tiles * LINE)
            multiply_turned(v, grads, tiles, du + o * LINE * LINE, n);
}

/* A row of elements: du (ROW, lines of inputs, lines of channels, LINE inputs, LINE) += v' n. */
static void multiply_weights(const Shape *s, const float *v, const float *grads, int64_t tiles, float *du) {
    int64_t in = lines_of(s->inputs), out = lines_of(s->channels), area = out * LINE * LINE;
    for (int64_t i = 0; i < in; i++, v += tiles * LINE, du += area) {
        int64_t inputs = least(LINE, s->inputs - i * LINE);
        EQUAL_PARTS(inputs) {
            OF(n, multiply_weights_part, v + at, in * tiles * LINE, grads, tiles, out, du + at * LINE, in * area)
        }
    }
}

/* The strips of an image: their first rows of tiles, and how many. */
#define STRIPS_OF(t) for (int64_t y = 0, rows; y < (t).down && (rows = least((t).strip, (t).down - y), 1); y += (t).strip)

/* piece(..., e) for every row e of elements, known to the compiler. */
#define ROW_OF_ELEMENTS(e, piece, ...)                                                                             \
    switch (e) {                                                                                                   \
    case 0: piece(__VA_ARGS__, 0); break;                                                                          \
    case 1: piece(__VA_ARGS__, 1); break;                                                                          \
    case 2: piece(__VA_ARGS__, 2); break;                                                                          \
    default: piece(__VA_ARGS__, 3);                                                                                \
    }

static void convolve(const Shape *s, const Workspace *work, const void *arranged, const Ahead *ahead) {
    Tiles t = tiles_of(s);
    int64_t in = lines_of(s->inputs), out = lines_of(s->channels), P = pitch(s);
    STRIPS_OF(t) {
        int64_t tiles = rows * t.across;
        for (int e = 0; e < ROW; e++) {
            fetch(ahead, ROW * y + e * rows, ROW * y + (e + 1) * rows, ROW * t.down);
            const float *u = (const float *)arranged + e * ROW * s->inputs * out * LINE;
            ROW_OF_ELEMENTS(e, transform_input, work->input + 2 * y * P * in * LINE, in, P, rows, t.across, work->row);
            multiply_row(work->row, u, tiles, s->inputs, out, work->all + e * ROW * out * tiles * LINE);
        }
        transform_sums(work->all, out, P, rows, t.across, work->sums + 2 * y * P * out * LINE);
    }
}

static void go_back(const Shape *s, const Workspace *work, const void *turned, float *dsums, int wants_input,
                    const Ahead *ahead) {
    Tiles t = tiles_of(s);
    int64_t in = lines_of(s->inputs), out = lines_of(s->channels), P = pitch(s);
    STRIPS_OF(t) {
        int64_t tiles = rows * t.across, corner = 2 * y * P * in * LINE;
        float *n = work->row + ROW * in * tiles * LINE;
        for (int e = 0; e < ROW; e++) {
            fetch(ahead, ROW * y + e * rows, ROW * y + (e + 1) * rows, ROW * t.down);
            const float *u = (const float *)turned + e * ROW * s->channels * in * LINE;
            ROW_OF_ELEMENTS(e, transform_input, work->input + corner, in, P, rows, t.across, work->row);
            ROW_OF_ELEMENTS(e, transform_grads, work->grads + (2 * y * P + P + 1) * out * LINE, out, P, rows, t.across, n);
            multiply_weights(s, work->row, n, tiles, dsums + e * ROW * in * out * LINE * LINE);
            if (wants_input) multiply_row(n, u, tiles, s->channels, in, work->all + e * ROW * in * tiles * LINE);
        }
        if (wants_input)
            spread_tiles(work->all, in, P, rows, t.across, work->sums - (P + 1) * in * LINE + corner, y == 0);
    }
}

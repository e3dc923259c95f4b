/* 3x3 convolutions of one image of one run on the matrix units of AMX processors, by blocks of 16 channels.
 *
 * The rows of a frame are W + 1 places apart, so that the right border of a row is the left border of the next. Then an output
 * place q = y (W + 1) + x sees the places q + dy (W + 1) + dx, and 16 places after one another fill the rows of a tile
 * whatever row of the image they are in; what comes out for x = W is left. For the products a row holds a place and its right
 * neighbour, channel by channel: (a, b, a', b', ...). That is two taps in one product of 32, and it is also how tiles want
 * the second factor where places are summed over. And such a row is one cache line, where rows that begin every 32 bytes would
 * cross lines. Products are bfloat16, sums float. Fetching the next image ahead brought nothing (1.58 and 1.60 ms:
 * docs/log.md).
 */
#include "pairs.h"

#include <sys/syscall.h>
#include <unistd.h>

#define NAME "matrix units"
#define PLACES 64  /* of an image at a time: four tiles */
#define PAIRS 6    /* of taps: for each of three dy, dx 0 with 1, and 2 with nothing */
#define TILE 512   /* bfloat16 values */
#define SUMS 256   /* floats of a tile of sums */
#define FENCE __asm__ volatile("" ::: "memory") /* the compiler does not know what tiles read and write */

typedef struct { /* of one thread */
    E *input, *grads;
    float *sums;
    T *pairs;        /* of a frame: for each block of channels a row for each place */
    T *turned;       /* gradients: room() places for each of 16 channels, for each block */
    char before[64]; /* the configuration of tiles that it found */
} Workspace;

/* Asks the system for tiles; 0 where it gives them. */
int tiles_refused(void) { return (int)syscall(SYS_arch_prctl, 0x1023 /* ARCH_REQ_XCOMP_PERM */, 18 /* tile data */); }

static int takes(const Shape *s) {
    return s->inputs >= 1 && s->inputs <= 64 && s->channels >= 1 && s->channels <= 64 && tiles_refused() == 0;
}

static int64_t pitch(const Shape *s) { return wide(s) + 1; }
static int64_t stride_in(const Shape *s) { return BLOCKED(s->inputs) * WIDTH; }
static int64_t stride_out(const Shape *s) { return BLOCKED(s->channels) * WIDTH; }
static int64_t places_of(const Shape *s) { return (tall(s) * pitch(s) + PLACES - 1) / PLACES * PLACES; }
static int64_t room(const Shape *s) { return (places_of(s) + 2 * pitch(s) + 4 + 31) / 32 * 32; }

/* Returns 0, or 1 where memory ends. */
static int open_workspace(const Shape *s, Workspace *work) {
    int64_t in = stride_in(s), out = stride_out(s), most = in > out ? in : out, R = room(s);
    size_t values = R * (in + 2 * out + 2 * most);
    T *all = aligned_alloc(64, sizeof(T) * values + sizeof(float) * places_of(s) * most);
    if (!all) return 1;
    memset(all, 0, sizeof(T) * values);
    T *grads = all + R * in, *turned = grads + R * out, *pairs = turned + R * out;
    *work = (Workspace){all, grads, (float *)(all + values), pairs, turned, {0}};
    struct {
        uint8_t palette, start, zero[14];
        uint16_t bytes[16];
        uint8_t rows[16];
    } tiles = {.palette = 1};
    for (int i = 0; i < 8; i++) tiles.bytes[i] = 64, tiles.rows[i] = WIDTH;
    FENCE;
    _tile_storeconfig(work->before);
    _tile_loadconfig(&tiles);
    return 0;
}

static void close_workspace(Workspace *work) {
    FENCE;
    if (work->before[0])
        _tile_loadconfig(work->before); /* other libraries may think that theirs is still there */
    else
        _tile_release();
    free(work->input);
}

/* Every block of a frame in pairs; the rows of border above and below are 0 already. */
static void lay_out(const Shape *s, const E *frame, int64_t stride, T *pairs) {
    int64_t P = pitch(s), R = room(s), end = (tall(s) + 1) * P;
    for (int64_t c = 0; c < stride; c += WIDTH, pairs += R * 2 * WIDTH)
        for (int64_t q = P; q < end; q++)
            _mm512_store_si512(pairs + q * 2 * WIDTH, paired(two_places(frame + q * stride + c, stride)));
}

static int64_t arranged_size(const Shape *s) { return BLOCKED(s->inputs) * BLOCKED(s->channels) * PAIRS * TILE * sizeof(T); }

/* For each block of what comes out and each of what goes in, PAIRS tiles; a row is what goes in of two taps. Turned around
 * weights carry gradients back: outputs become inputs, and the taps stand opposite. */
static void arrange(const Shape *s, const float *taps, int turned, void *to) {
    int64_t I = s->inputs, O = s->channels, from = turned ? O : I, into = turned ? I : O;
    T *tiles = to;
    for (int64_t block = 0; block < BLOCKED(from) * BLOCKED(into); block++)
        for (int pair = 0; pair < PAIRS; pair++)
            for (int row = 0; row < WIDTH; row++, tiles += 2 * WIDTH) {
                int64_t in = block % BLOCKED(from) * WIDTH + row;
                float values[2 * WIDTH] = {0};
                for (int n = 0; n < 2 * WIDTH; n++) {
                    int64_t out = block / BLOCKED(from) * WIDTH + n / 2;
                    int dx = 2 * (pair % 2) + n % 2, tap = 3 * (pair / 2) + dx;
                    if (dx < 3 && in < from && out < into)
                        values[n] = turned ? taps[((TAPS - 1 - tap) * I + out) * O + in] : taps[(tap * I + in) * O + out];
                }
                __m512bh narrowed = _mm512_cvtne2ps_pbh(_mm512_loadu_ps(values + WIDTH), _mm512_loadu_ps(values));
                memcpy(tiles, &narrowed, 64);
            }
}

/* PLACES outputs of 16 channels from the first of their pairs, of which `blocks` lie R places apart. */
INLINE void multiply(const T *pairs, int64_t P, int64_t R, int64_t blocks, const T *tiles, float *sums, int64_t stride) {
    FENCE;
    _tile_zero(0);
    _tile_zero(1);
    _tile_zero(2);
    _tile_zero(3);
    for (int64_t block = 0; block < blocks; block++, pairs += R * 2 * WIDTH, tiles += PAIRS * TILE) {
UNROLL
        for (int pair = 0; pair < PAIRS; pair++) {
            const T *seen = pairs + (pair / 2 * P + 2 * (pair % 2)) * 2 * WIDTH;
            _tile_loadd(7, tiles + pair * TILE, 64);
            _tile_loadd(4, seen, 64);
            _tile_dpbf16ps(0, 4, 7);
            _tile_loadd(5, seen + TILE, 64);
            _tile_dpbf16ps(1, 5, 7);
            _tile_loadd(6, seen + 2 * TILE, 64);
            _tile_dpbf16ps(2, 6, 7);
            _tile_loadd(4, seen + 3 * TILE, 64);
            _tile_dpbf16ps(3, 4, 7);
        }
    }
    _tile_stored(0, sums, 4 * stride);
    _tile_stored(1, sums + WIDTH * stride, 4 * stride);
    _tile_stored(2, sums + 2 * WIDTH * stride, 4 * stride);
    _tile_stored(3, sums + 3 * WIDTH * stride, 4 * stride);
    FENCE;
}

static void multiply_all(const Shape *s, const T *pairs, const T *tiles, int64_t from, int64_t into, float *sums) {
    int64_t P = pitch(s), R = room(s), blocks = from / WIDTH, end = places_of(s);
    for (int64_t c = 0; c < into; c += WIDTH, tiles += blocks * PAIRS * TILE)
        for (int64_t at = 0; at < end; at += PLACES) {
            const T *here = pairs + at * 2 * WIDTH;
            if (blocks == 1 && into == WIDTH) multiply(here, P, R, 1, tiles, sums + at * WIDTH, WIDTH);
            else multiply(here, P, R, blocks, tiles, sums + at * into + c, into);
        }
}

static void convolve(const Shape *s, const Workspace *work, const void *arranged, const Ahead *ahead) {
    lay_out(s, work->input, stride_in(s), work->pairs);
    multiply_all(s, work->pairs, arranged, stride_in(s), stride_out(s), work->sums);
}

/* Adds the products of taps first ... first + 3, and of a fifth if first is 0, to their sums (TAPS, 16 out, 16 in). Eight
 * tiles hold no more, and with fewer a sum would wait for its last product. */
#define GET(tile) _tile_loadd(tile, sums + (first + tile) * SUMS, 64)
#define PUT(tile) _tile_stored(tile, sums + (first + tile) * SUMS, 64)
#define TAP(tile)                                                                                                  \
    _tile_loadd(7, seen + ((first + tile) / 3 * P + (first + tile) % 3) * 2 * WIDTH, 128);                         \
    _tile_dpbf16ps(tile, 6, 7)
INLINE void multiply_taps(const T *turned, int64_t apart, const T *pairs, int64_t P, int64_t steps, float *sums,
                          int first) {
    FENCE;
    GET(0);
    GET(1);
    GET(2);
    GET(3);
    if (first == 0) GET(4);
    for (int64_t step = 0; step < steps; step++) {
        const T *seen = pairs + step * 2 * TILE;
        _tile_loadd(6, turned + 32 * step, 2 * apart);
        TAP(0);
        TAP(1);
        TAP(2);
        TAP(3);
        if (first == 0) {
            TAP(4);
        }
    }
    PUT(0);
    PUT(1);
    PUT(2);
    PUT(3);
    if (first == 0) PUT(4);
    FENCE;
}

static void go_back(const Shape *s, const Workspace *work, const void *turned, float *dsums, int wants_input,
                    const Ahead *ahead) {
    int64_t P = pitch(s), R = room(s), steps = (tall(s) * P + 31) / 32, in = stride_in(s), out = stride_out(s);
    for (int64_t c = 0; c < out; c += WIDTH)
        for (int64_t q = 0; q < 32 * steps; q += 32) {
            const T *from = work->grads + (P + 1 + q) * out + c;
            if (out == WIDTH) turn(from, WIDTH, work->turned + q, R);
            else turn(from, out, work->turned + c * R + q, R);
        }
    lay_out(s, work->input, in, work->pairs);
    for (int64_t c = 0; c < out; c += WIDTH)
        for (int64_t d = 0; d < in; d += WIDTH, dsums += TAPS * SUMS) {
            multiply_taps(work->turned + c * R, R, work->pairs + d * 2 * R, P, steps, dsums, 0);
            multiply_taps(work->turned + c * R, R, work->pairs + d * 2 * R, P, steps, dsums, 5);
        }
    if (!wants_input) return;
    lay_out(s, work->grads, out, work->pairs);
    multiply_all(s, work->pairs, turned, out, in, work->sums);
}

/* For each block of outputs and each of inputs (TAPS, 16 out, 16 in). */
static int64_t weight_sums(const Shape *s) { return BLOCKED(s->inputs) * BLOCKED(s->channels) * TAPS * SUMS; }

static void finish_weights(const Shape *s, const double *dsums, float *dtaps) {
    for (int64_t tap = 0; tap < TAPS; tap++)
        for (int64_t in = 0; in < s->inputs; in++)
            for (int64_t out = 0; out < s->channels; out++) {
                int64_t block = out / WIDTH * BLOCKED(s->inputs) + in / WIDTH;
                int64_t at = (block * TAPS + tap) * SUMS + out % WIDTH * WIDTH + in % WIDTH;
                dtaps[(tap * s->inputs + in) * s->channels + out] = (float)dsums[at];
            }
}

/* 3x3 convolutions of 16 channels to 16, padding 1, of one image of one run, on the matrix units of AMX processors.
 *
 * The image is laid out with a border of 0, its rows W + 1 places apart, so that the right border of a row is the left
 * border of the next. Then an output place q = y (W + 1) + x sees the places q + dy (W + 1) + dx, and 16 places after one
 * another fill the rows of a tile whatever row of the image they are in; what comes out for x = W is left. A row holds a
 * place and its right neighbour, channel by channel: (a, b, a', b', ...). That is two taps in one product of 32, and it is
 * also how tiles want the second factor where places are summed over. And such a row is one cache line, where rows that
 * begin every 32 bytes would cross lines. Products are bfloat16, sums float. Fetching the next image ahead brought nothing
 * (1.58 and 1.60 ms: docs/log.md).
 */
#include <immintrin.h>
#include <sys/syscall.h>
#include <unistd.h>

#define WIDTH 16   /* channels, rows of a tile, and floats or pairs of bfloat16 in such a row */
#define PLACES 64  /* of an image at a time: four tiles */
#define PAIRS 6    /* of taps: for each of three dy, dx 0 with 1, and 2 with nothing */
#define TILE 512   /* bfloat16 values */
#define SUMS 256   /* floats of a tile of sums */
#define GROUP 8    /* images whose weights' gradients are added as float */
#define BY_TILES(s) ((s)->inputs == WIDTH)
#define FENCE __asm__ volatile("" ::: "memory") /* the compiler does not know what tiles read and write */

typedef struct { /* of one thread */
    T *pairs;  /* of an image, or of gradients: a row for each place */
    T *grads;  /* gradients of the convolution's output: 16 for each place */
    T *turned; /* the same: room() places for each of 16 channels */
    float *sums;
    char before[64]; /* the configuration of tiles that it found */
} Workspace;

/* Asks the system for tiles; 0 where it gives them. */
int tiles_refused(void) { return (int)syscall(SYS_arch_prctl, 0x1023 /* ARCH_REQ_XCOMP_PERM */, 18 /* tile data */); }

static int64_t pitch(const Shape *s) { return s->width + 1; }
static int64_t places_of(const Shape *s) { return (s->height * pitch(s) + PLACES - 1) / PLACES * PLACES; }
static int64_t room(const Shape *s) { return (places_of(s) + 2 * pitch(s) + 4 + 31) / 32 * 32; }

/* Returns 0, or 1 where memory ends. */
static int open_workspace(const Shape *s, Workspace *work) {
    size_t values = room(s) * WIDTH;
    T *all = aligned_alloc(64, sizeof(T) * 4 * values + sizeof(float) * places_of(s) * WIDTH);
    if (!all) return 1;
    memset(all, 0, sizeof(T) * 4 * values);
    *work = (Workspace){all, all + 2 * values, all + 3 * values, (float *)(all + 4 * values), {0}};
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
    free(work->pairs);
}

/* Two places of 16 channels, (a, a', a'', ...) and (b, b', ...), as (a, b, a', b', ...). */
static __m512i paired(__m512i two) {
    static const T order[32] __attribute__((aligned(64))) = {0, 16, 1, 17, 2,  18, 3,  19, 4,  20, 5,  21, 6,  22, 7,  23,
                                                             8, 24, 9, 25, 10, 26, 11, 27, 12, 28, 13, 29, 14, 30, 15, 31};
    return _mm512_permutexvar_epi16(_mm512_load_si512(order), two);
}

/* Lays out one image of one run; the border above and below is 0 already. */
static void lay_out(const Shape *s, const T *map, int64_t image, int64_t run, T *pairs) {
    int64_t K = s->runs * WIDTH;
    for (int64_t y = 0; y < s->height; y++) {
        const T *from = map + (image * s->height + y) * s->width * K + run * WIDTH;
        T *to = pairs + (y + 1) * pitch(s) * 2 * WIDTH;
        __m256i left = _mm256_setzero_si256();
        for (int64_t x = 0; x <= s->width; x++) {
            __m256i right = _mm256_setzero_si256();
            if (x < s->width) right = _mm256_loadu_si256((const __m256i *)(from + x * K));
            __m512i both = _mm512_inserti64x4(_mm512_castsi256_si512(left), right, 1);
            _mm512_store_si512(to + x * 2 * WIDTH, paired(both));
            left = right;
        }
    }
}

/* Weights (TAPS, 16 in, 16 out) of a run as PAIRS tiles; a row is an input of two taps. Turned around they carry gradients
 * back: outputs become inputs, and the taps stand opposite. */
static void arrange(const float *weight, int turned, T *tiles) {
    for (int pair = 0; pair < PAIRS; pair++)
        for (int in = 0; in < WIDTH; in++) {
            float values[2 * WIDTH] = {0};
            for (int n = 0; n < 2 * WIDTH; n++) {
                int out = n / 2, dx = 2 * (pair % 2) + n % 2, tap = 3 * (pair / 2) + dx;
                if (dx < 3)
                    values[n] = turned ? weight[((TAPS - 1 - tap) * WIDTH + out) * WIDTH + in]
                                       : weight[(tap * WIDTH + in) * WIDTH + out];
            }
            __m512bh narrowed = _mm512_cvtne2ps_pbh(_mm512_loadu_ps(values + WIDTH), _mm512_loadu_ps(values));
            memcpy(tiles + pair * TILE + in * 2 * WIDTH, &narrowed, 64);
        }
}

static T *arrange_all(const Shape *s, const float *weight, int turned) {
    T *tiles = aligned_alloc(64, sizeof(T) * s->runs * PAIRS * TILE);
    for (int64_t run = 0; tiles && run < s->runs; run++)
        arrange(weight + run * TAPS * SUMS, turned, tiles + run * PAIRS * TILE);
    return tiles;
}

/* PLACES outputs from the first of their pairs. */
static void multiply(const T *pairs, int64_t P, const T *tiles, float *sums) {
    FENCE;
    _tile_zero(0);
    _tile_zero(1);
    _tile_zero(2);
    _tile_zero(3);
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
    _tile_stored(0, sums, 64);
    _tile_stored(1, sums + SUMS, 64);
    _tile_stored(2, sums + 2 * SUMS, 64);
    _tile_stored(3, sums + 3 * SUMS, 64);
    FENCE;
}

static void multiply_all(const Shape *s, const T *pairs, const T *tiles, float *sums) {
    for (int64_t at = 0; at < places_of(s); at += PLACES)
        multiply(pairs + at * 2 * WIDTH, pitch(s), tiles, sums + at * WIDTH);
}

/* 32 places of 16 channels to 16 channels of 32 places; these stand `apart`. */
static void turn(const T *from, T *to, int64_t apart) {
    __m512i r[16], t[16];
    for (int i = 0; i < 16; i++) r[i] = paired(_mm512_loadu_si512(from + 2 * i * WIDTH));
    for (int i = 0; i < 8; i++) {
        t[2 * i] = _mm512_unpacklo_epi32(r[2 * i], r[2 * i + 1]);
        t[2 * i + 1] = _mm512_unpackhi_epi32(r[2 * i], r[2 * i + 1]);
    }
    for (int i = 0; i < 16; i += 4) {
        r[i] = _mm512_unpacklo_epi64(t[i], t[i + 2]);
        r[i + 1] = _mm512_unpackhi_epi64(t[i], t[i + 2]);
        r[i + 2] = _mm512_unpacklo_epi64(t[i + 1], t[i + 3]);
        r[i + 3] = _mm512_unpackhi_epi64(t[i + 1], t[i + 3]);
    }
    for (int c = 0; c < 4; c++) {
        __m512i a = _mm512_shuffle_i32x4(r[c], r[4 + c], 0x88), b = _mm512_shuffle_i32x4(r[8 + c], r[12 + c], 0x88);
        __m512i d = _mm512_shuffle_i32x4(r[c], r[4 + c], 0xdd), e = _mm512_shuffle_i32x4(r[8 + c], r[12 + c], 0xdd);
        _mm512_store_si512(to + c * apart, _mm512_shuffle_i32x4(a, b, 0x88));
        _mm512_store_si512(to + (4 + c) * apart, _mm512_shuffle_i32x4(d, e, 0x88));
        _mm512_store_si512(to + (8 + c) * apart, _mm512_shuffle_i32x4(a, b, 0xdd));
        _mm512_store_si512(to + (12 + c) * apart, _mm512_shuffle_i32x4(d, e, 0xdd));
    }
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

/* Takes the gradient in work->grads back through the convolution of one image of one run: adds the weights' share to
 * sums (TAPS, 16 out, 16 in), and leaves the gradient of the input x in work->sums. */
static void go_back(const Shape *s, const Workspace *work, const T *x, int64_t image, int64_t run, const T *tiles,
                    float *sums) {
    int64_t P = pitch(s), R = room(s), steps = (s->height * P + 31) / 32;
    for (int64_t q = 0; q < 32 * steps; q += 32) turn(work->grads + (P + 1 + q) * WIDTH, work->turned + q, R);
    lay_out(s, x, image, run, work->pairs);
    multiply_taps(work->turned, R, work->pairs, P, steps, sums, 0);
    multiply_taps(work->turned, R, work->pairs, P, steps, sums, 5);
    for (int64_t q = P; q < (s->height + 1) * P; q++)
        _mm512_store_si512(work->pairs + q * 2 * WIDTH, paired(_mm512_loadu_si512(work->grads + q * WIDTH)));
    multiply_all(s, work->pairs, tiles, work->sums);
}

/* Where element i of (..., 16 out, 16 in) lies in (..., 16 in, 16 out). */
static int64_t transposed(int64_t i) { return i / SUMS * SUMS + i % WIDTH * WIDTH + i / WIDTH % WIDTH; }

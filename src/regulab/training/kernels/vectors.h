/* LANES values at a time: how they are read and written, and the shapes and blocks that all kernels speak of. T is float, or with -DBF16
 * bfloat16; arithmetic is float.
 */
#include <math.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

/* As many as a register holds: gcc makes single values of wider vectors (for a place of 16 channels the first block took 343 ns
 * with AVX2 and vectors of 16, with vectors of 8 it takes 18: docs/log.md). */
#if defined(__AVX512BW__) && defined(__AVX512VL__)
#include <immintrin.h>
#define MASKS 1
#define LANES 16
#elif defined(__AVX2__)
#include <immintrin.h>
#define MASKS 0
#define LANES 8
#else
#define MASKS 0
#define LANES 4
#endif
#if defined(__aarch64__)
#include <arm_neon.h>
#endif
#define TAPS 9 /* of a 3x3 convolution */
#define INLINE static inline __attribute__((always_inline))

/* Before a loop of a length that the compiler knows: written out, so that arrays which it indexes stay in registers. clang
 * does not know gcc's word for it: the first block took it 3.0 ms forward and gcc 1.4. */
#ifdef __clang__
#define UNROLL _Pragma("clang loop unroll(full)")
#else
#define UNROLL _Pragma("GCC unroll 64")
#endif

typedef float V __attribute__((vector_size(4 * LANES)));
typedef int32_t I __attribute__((vector_size(4 * LANES)));
typedef uint32_t U __attribute__((vector_size(4 * LANES)));
typedef int16_t S __attribute__((vector_size(2 * LANES)));
typedef uint16_t H __attribute__((vector_size(2 * LANES)));
typedef uint8_t B __attribute__((vector_size(LANES)));

/* Some lanes of memory, of 4, 2 or 1 bytes. Where a processor has masks, in one instruction: memcpy of a length that the
 * compiler does not know is a call, and a map of 10 channels took 3.4 times as long as one of 16. */
#if MASKS
INLINE void read_part(void *to, const void *from, int n, int bytes) {
    uint16_t mask = (uint16_t)((1u << n) - 1);
    if (bytes == 4) _mm512_storeu_ps(to, _mm512_maskz_loadu_ps(mask, from));
    else if (bytes == 2) _mm256_storeu_si256(to, _mm256_maskz_loadu_epi16(mask, from));
    else _mm_storeu_si128(to, _mm_maskz_loadu_epi8(mask, from));
}
INLINE void write_part(void *to, const void *from, int n, int bytes) {
    uint16_t mask = (uint16_t)((1u << n) - 1);
    if (bytes == 4) _mm512_mask_storeu_ps(to, mask, _mm512_loadu_ps(from));
    else if (bytes == 2) _mm256_mask_storeu_epi16(to, mask, _mm256_loadu_si256(from));
    else _mm_mask_storeu_epi8(to, mask, _mm_loadu_si128(from));
}
#else
INLINE void read_part(void *to, const void *from, int n, int bytes) { memcpy(to, from, bytes * n); }
INLINE void write_part(void *to, const void *from, int n, int bytes) { memcpy(to, from, bytes * n); }
#endif

/* n lanes of memory: all LANES where n says so, and then in one instruction. */
#define READ(type, name, source)                                                                                   \
    type name = {0};                                                                                               \
    if (n == LANES) memcpy(&name, source, sizeof(type));                                                           \
    else read_part(&name, source, n, sizeof(type) / LANES)
#define WRITE(target, name)                                                                                        \
    do {                                                                                                           \
        if (n == LANES) memcpy(target, &name, sizeof(name));                                                       \
        else write_part(target, &name, n, sizeof(name) / LANES);                                                   \
    } while (0)

#include "lanes.h"

INLINE V floats(const float *p, int n) {
    READ(V, v, p);
    return v;
}

#ifdef BF16
typedef uint16_t T;
INLINE V load(const T *p, int n) {
    READ(H, h, p);
    return (V)(from_halves(h) << 16);
}
typedef H N; /* LANES values as memory holds them */
INLINE N narrow(V v) { /* rounds to nearest, ties to even; a NaN stays one */
#if MASKS && defined(__AVX512BF16__)
    return (H)_mm512_cvtneps_pbh((__m512)v);
#else
    U bits = (U)v;
    U rounded = (bits + 0x7fffu + ((bits >> 16) & 1u)) >> 16;
    I nan = v != v;
    return to_halves((U)((nan & 0x7fc0) | (~nan & (I)rounded)));
#endif
}
INLINE float widened(T value) {
    uint32_t bits = (uint32_t)value << 16;
    float wide;
    memcpy(&wide, &bits, sizeof wide);
    return wide;
}
#else
typedef float T;
INLINE float widened(T value) { return value; }
INLINE V load(const T *p, int n) { return floats(p, n); }
typedef V N;
INLINE N narrow(V v) { return v; }
#endif

typedef struct {
    int64_t images, height, width, runs, channels; /* of the map before pooling; channels of one run */
    int64_t pool;                                  /* 1: none, 2: windows of 2x2 */
    int64_t inputs;                                /* of a block with its convolution: channels of one run; else 0 */
    int64_t before;                                /* 1: ReLU stands before the norm */
    int64_t padding;                               /* of the convolution: 0 or 1 */
} Shape;

/* Convolution (or none), pooling, batch norm, ReLU, dropout. Vectors have K = runs x channels values, float. */
typedef struct {
    Shape shape;
    int64_t image;              /* 1: convolves images of 1 or 3 channels, which get no gradient: see images.h */
    const float *weight, *bias; /* (runs, channels, inputs, TAPS) and K, or NULL */
    const float *gamma, *beta;
    float *mean, *variance;      /* biased; in inference the running ones, which are read */
    float *running_mean, *running_variance; /* brought up to date in training, or NULL */
    T *p;                        /* the map before the norm; in training */
    uint8_t *won;                /* which of each window's four p is */
    const int16_t *const *draws; /* for each run, (B, H, W, channels); NULL without dropout */
    const int16_t *low;          /* for each run: what lies below it is dropped */
    const float *scale;          /* what is kept is multiplied with it */
    float *dweight, *dbias, *dgamma, *dbeta;
    double eps, momentum;
} Block;

/* To the type of maps and back. */
INLINE float rounded(float value) {
    V v = {value};
    N narrowed = narrow(v);
    T first;
    memcpy(&first, &narrowed, sizeof first);
    return widened(first);
}

INLINE void store(T *p, V v, int n) {
    N narrowed = narrow(v);
    WRITE(p, narrowed);
}
INLINE V widen(N narrowed) { return load((const T *)&narrowed, LANES); }
INLINE N narrow_where(Mask mask, N narrowed) { /* else 0 */
#if MASKS && defined(BF16)
    return (N)_mm256_maskz_mov_epi16(mask, (__m256i)narrowed);
#elif defined(BF16)
    return (N)((S)narrowed & to_shorts(mask));
#else
    return where(mask, narrowed);
#endif
}

/* Which of each window's four won, from memory and to it. */
INLINE Winners read_winners(const uint8_t *p, int n) {
    READ(B, winners, p);
#if MASKS
    return winners;
#else
    return from_bytes(winners);
#endif
}
INLINE void write_winners(uint8_t *p, Winners which, int n) {
#if MASKS
    B winners = which;
#else
    B winners = to_bytes(which);
#endif
    WRITE(p, winners);
}

INLINE int64_t least(int64_t a, int64_t b) { return a < b ? a : b; }

/* Calls piece(..., k, n) for every block of channels, with n known to the compiler for all but the last. */
#define BLOCKS(K, piece, ...)                                                                                      \
    do {                                                                                                           \
        int64_t k = 0;                                                                                             \
        for (; k + LANES <= (K); k += LANES) piece(__VA_ARGS__, k, LANES);                                         \
        if (k < (K)) piece(__VA_ARGS__, k, (int)((K)-k));                                                          \
    } while (0)

/* Where ReLU stands before the norm: all lanes or none. */
INLINE Mask relu_first(const Shape *s) { return all_or_none((int)s->before); }

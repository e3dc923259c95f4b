/* LANES values at a time: how they are read and written, and the shapes that all kernels speak of. T is float, or with -DBF16
 * bfloat16; arithmetic is float.
 */
#include <math.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#ifdef __AVX512BF16__
#include <immintrin.h>
#endif

#define TAPS 9 /* of a 3x3 convolution */
#define LANES 16
#define INLINE static inline __attribute__((always_inline))

typedef float V __attribute__((vector_size(4 * LANES)));
typedef int32_t I __attribute__((vector_size(4 * LANES)));
typedef uint32_t U __attribute__((vector_size(4 * LANES)));
typedef int16_t S __attribute__((vector_size(2 * LANES)));
typedef uint16_t H __attribute__((vector_size(2 * LANES)));
typedef uint8_t B __attribute__((vector_size(LANES)));

/* n lanes of memory: all LANES where n says so, and then in one instruction. */
#define READ(type, name, source)                                                                                   \
    type name = {0};                                                                                               \
    memcpy(&name, source, n == LANES ? sizeof(type) : sizeof(type) / LANES * n)
#define WRITE(target, name) memcpy(target, &name, n == LANES ? sizeof(name) : sizeof(name) / LANES * n)

INLINE V choose(I where, V yes, V no) { return (V)((where & (I)yes) | (~where & (I)no)); }

INLINE V floats(const float *p, int n) {
    READ(V, v, p);
    return v;
}

#ifdef BF16
typedef uint16_t T;
INLINE V load(const T *p, int n) {
    READ(H, h, p);
    return (V)(__builtin_convertvector(h, U) << 16);
}
typedef H N; /* LANES values as memory holds them */
typedef S M; /* a mask for them */
INLINE N narrow(V v) { /* rounds to nearest, ties to even; a NaN stays one */
#ifdef __AVX512BF16__
    return (H)_mm512_cvtneps_pbh((__m512)v);
#else
    U bits = (U)v;
    U rounded = (bits + 0x7fffu + ((bits >> 16) & 1u)) >> 16;
    I nan = v != v;
    return __builtin_convertvector((U)((nan & 0x7fc0) | (~nan & (I)rounded)), H);
#endif
}
#else
typedef float T;
INLINE V load(const T *p, int n) { return floats(p, n); }
typedef V N;
typedef I M;
INLINE N narrow(V v) { return v; }
#endif

typedef struct {
    int64_t images, height, width, runs, channels; /* of the map before pooling; channels of one run */
    int64_t pool;                                  /* 1: none, 2: windows of 2x2 */
    int64_t inputs;                                /* of a block with its convolution: channels of one run; else 0 */
} Shape;

typedef struct { /* of a convolution */
    const void *image;   /* (B, H + 2, W + 2, runs x inputs) float, with a border of 0; or by tiles (B, H, W, runs x 16) T */
    const float *weight; /* (runs, TAPS, inputs, channels) */
    float *dweight;      /* of the same shape */
} Convolution;

INLINE void store(T *p, V v, int n) {
    N narrowed = narrow(v);
    WRITE(p, narrowed);
}
INLINE void store_where(T *p, N v, M where, int n) {
    N kept = (N)((M)v & where);
    WRITE(p, kept);
}

INLINE int64_t least(int64_t a, int64_t b) { return a < b ? a : b; }


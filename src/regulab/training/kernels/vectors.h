/* LANES values at a time: how they are read and written, and the shapes that all kernels speak of. T is float, or with -DBF16
 * bfloat16; arithmetic is float.
 */
#include <math.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#if defined(__AVX512BF16__) || (defined(__AVX512BW__) && defined(__AVX512VL__))
#include <immintrin.h>
#endif

#define TAPS 9 /* of a 3x3 convolution */
#define LANES 16
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
#if defined(__AVX512BW__) && defined(__AVX512VL__)
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

INLINE V choose(I where, V yes, V no) { return (V)((where & (I)yes) | (~where & (I)no)); }

/* max(0, v) where a mask says so; a NaN passes. */
INLINE V rectified(V v, I where) { return (V)((I)v & ~((v < 0) & where)); }

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
    int64_t before;                                /* 1: ReLU stands before the norm, without pooling or convolution */
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


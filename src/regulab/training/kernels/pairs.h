/* bfloat16 in pairs, as the products of dots.h and tiles.h take them: of two neighbouring places channel by channel, in rows of one
 * cache line.
 */
#include <immintrin.h>

#define WIDTH 16 /* channels of a block, rows of a tile, and floats or pairs of bfloat16 in such a row */

typedef T E;
typedef N Packed;
INLINE Packed pack(V v) { return narrow(v); }
INLINE Packed pack_where(Mask mask, Packed v) { return narrow_where(mask, v); }
INLINE void put(E *to, Packed v, int n) { WRITE(to, v); }

/* Two places of 16 channels, (a, a', a'', ...) and (b, b', ...), as (a, b, a', b', ...). */
static __m512i paired(__m512i two) {
    static const T order[32] __attribute__((aligned(64))) = {0, 16, 1, 17, 2,  18, 3,  19, 4,  20, 5,  21, 6,  22, 7,  23,
                                                             8, 24, 9, 25, 10, 26, 11, 27, 12, 28, 13, 29, 14, 30, 15, 31};
    return _mm512_permutexvar_epi16(_mm512_load_si512(order), two);
}

/* 16 channels of a place and of the next. */
INLINE __m512i two_places(const T *from, int64_t stride) {
    if (stride == WIDTH) return _mm512_loadu_si512(from);
    __m512i first = _mm512_castsi256_si512(_mm256_loadu_si256((const __m256i *)from));
    return _mm512_inserti64x4(first, _mm256_loadu_si256((const __m256i *)(from + stride)), 1);
}

/* 32 places of 16 channels to 16 channels of 32 places; these stand `apart`. */
INLINE void turn(const T *from, int64_t stride, T *to, int64_t apart) {
    __m512i r[16], t[16];
    for (int i = 0; i < 16; i++) r[i] = paired(two_places(from + 2 * i * stride, stride));
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

/* What compilers make slow of LANES values: conversions, for which gcc 12 takes registers apart, bytes one by one (the gradient
 * of the first block's weights took 1.7 ms for 0.8: docs/log.md), and choices.
 */
#if MASKS
INLINE I from_bytes(B b) { return (I)_mm512_cvtepu8_epi32((__m128i)b); }
INLINE I from_shorts(S s) { return (I)_mm512_cvtepi16_epi32((__m256i)s); }
INLINE U from_halves(H h) { return (U)_mm512_cvtepu16_epi32((__m256i)h); }
INLINE B to_bytes(I i) { return (B)_mm512_cvtepi32_epi8((__m512i)i); }
INLINE H to_halves(U u) { return (H)_mm512_cvtepi32_epi16((__m512i)u); }
#elif defined(__AVX2__)
INLINE I from_bytes(B b) { return (I)_mm256_cvtepu8_epi32(_mm_cvtsi64_si128((long long)b)); }
INLINE I from_shorts(S s) { return (I)_mm256_cvtepi16_epi32((__m128i)s); }
INLINE U from_halves(H h) { return (U)_mm256_cvtepu16_epi32((__m128i)h); }
INLINE H to_halves(U u) {
    return (H)_mm_packus_epi32(_mm256_castsi256_si128((__m256i)u), _mm256_extracti128_si256((__m256i)u, 1));
}
INLINE B to_bytes(I i) {
    __m128i halves = (__m128i)to_halves((U)i);
    return (B)_mm_cvtsi128_si64(_mm_packus_epi16(halves, halves));
}
#else
INLINE I from_bytes(B b) { return __builtin_convertvector(b, I); }
INLINE I from_shorts(S s) { return __builtin_convertvector(s, I); }
INLINE U from_halves(H h) { return __builtin_convertvector(h, U); }
INLINE B to_bytes(I i) { return __builtin_convertvector(i, B); }
INLINE H to_halves(U u) { return __builtin_convertvector(u, H); }
#endif

INLINE V choose(I where, V yes, V no) { return (V)((where & (I)yes) | (~where & (I)no)); }

/* max(0, v) where a mask says so, for all lanes or none; a NaN passes. */
INLINE V rectified(V v, I where) {
#if MASKS
    return (V)_mm512_mask_max_ps((__m512)v, _mm512_movepi32_mask((__m512i)where), _mm512_setzero_ps(), (__m512)v);
#else
    return (V)((I)v & ~((v < 0) & where));
#endif
}

/* The largest of four, and which it is: the first of equal ones; a NaN, if there is one. */
INLINE V largest(const V *v, B *winner) {
#if MASKS
    __m512 a = (__m512)v[0], b = (__m512)v[1], c = (__m512)v[2], d = (__m512)v[3];
    __mmask16 second = _mm512_cmp_ps_mask(b, a, _CMP_GT_OQ), fourth = _mm512_cmp_ps_mask(d, c, _CMP_GT_OQ);
    __m512 ab = _mm512_max_ps(a, b), cd = _mm512_max_ps(c, d);
    __mmask16 below = _mm512_cmp_ps_mask(cd, ab, _CMP_GT_OQ);
    __mmask16 nan = _mm512_cmp_ps_mask(a, b, _CMP_UNORD_Q) | _mm512_cmp_ps_mask(c, d, _CMP_UNORD_Q);
    __mmask16 right = (second & ~below) | (fourth & below);
    __m128i which = _mm_maskz_set1_epi8(right, 1);
    *winner = (B)_mm_mask_add_epi8(which, below, which, _mm_set1_epi8(2));
    return (V)_mm512_mask_add_ps(_mm512_max_ps(ab, cd), nan, _mm512_add_ps(a, b), _mm512_add_ps(c, d));
#elif defined(__AVX2__)
    __m256 a = (__m256)v[0], b = (__m256)v[1], c = (__m256)v[2], d = (__m256)v[3];
    __m256 second = _mm256_cmp_ps(b, a, _CMP_GT_OQ), fourth = _mm256_cmp_ps(d, c, _CMP_GT_OQ);
    __m256 ab = _mm256_max_ps(a, b), cd = _mm256_max_ps(c, d), below = _mm256_cmp_ps(cd, ab, _CMP_GT_OQ);
    __m256 nan = _mm256_or_ps(_mm256_cmp_ps(a, b, _CMP_UNORD_Q), _mm256_cmp_ps(c, d, _CMP_UNORD_Q));
    *winner = to_bytes(((I)_mm256_blendv_ps(second, fourth, below) & 1) | ((I)below & 2));
    return (V)_mm256_blendv_ps(_mm256_max_ps(ab, cd), _mm256_add_ps(_mm256_add_ps(a, b), _mm256_add_ps(c, d)), nan);
#else
    V best = v[0];
    I which = {0};
#pragma GCC unroll 3
    for (int i = 1; i < 4; i++) {
        I wins = (v[i] > best) | (v[i] != v[i]);
        which = (wins & i) | (~wins & which);
        best = choose(wins, v[i], best);
    }
    *winner = to_bytes(which);
    return best;
#endif
}

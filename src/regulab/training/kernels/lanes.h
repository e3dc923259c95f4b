/* What compilers make slow of LANES values. Conversions: gcc 12 takes registers apart for them, and bytes one by one (the gradient
 * of the first block's weights took 1.7 ms for 0.8). And masks: it widens them half by half and puts them together again
 * (three times as long: docs/log.md).
 */
#if MASKS
INLINE I from_bytes(B b) { return (I)_mm512_cvtepu8_epi32((__m128i)b); }
INLINE U from_halves(H h) { return (U)_mm512_cvtepu16_epi32((__m256i)h); }
INLINE H to_halves(U u) { return (H)_mm512_cvtepi32_epi16((__m512i)u); }
#elif defined(__AVX2__)
INLINE I from_bytes(B b) { return (I)_mm256_cvtepu8_epi32(_mm_cvtsi64_si128((long long)b)); }
INLINE I from_shorts(S s) { return (I)_mm256_cvtepi16_epi32((__m128i)s); }
INLINE U from_halves(H h) { return (U)_mm256_cvtepu16_epi32((__m128i)h); }
INLINE __m128i lower(I i) { return _mm256_castsi256_si128((__m256i)i); }
INLINE __m128i upper(I i) { return _mm256_extracti128_si256((__m256i)i, 1); }
INLINE S to_shorts(I i) { return (S)_mm_packs_epi32(lower(i), upper(i)); }
INLINE H to_halves(U u) { return (H)_mm_packus_epi32(lower((I)u), upper((I)u)); }
INLINE B to_bytes(I i) {
    __m128i shorts = (__m128i)to_shorts(i);
    return (B)_mm_cvtsi128_si64(_mm_packus_epi16(shorts, shorts));
}
#else
INLINE I from_bytes(B b) { return __builtin_convertvector(b, I); }
INLINE I from_shorts(S s) { return __builtin_convertvector(s, I); }
INLINE U from_halves(H h) { return __builtin_convertvector(h, U); }
INLINE S to_shorts(I i) { return __builtin_convertvector(i, S); }
INLINE H to_halves(U u) { return __builtin_convertvector(u, H); }
INLINE B to_bytes(I i) { return __builtin_convertvector(i, B); }
#endif

/* For each lane yes or no; and which of four won. */
#if MASKS
typedef __mmask16 Mask;
INLINE Mask all_or_none(int all) { return (Mask)(all ? 0xffff : 0); }
INLINE Mask above(V a, V b) { return _mm512_cmp_ps_mask((__m512)a, (__m512)b, _CMP_GT_OQ); }
INLINE Mask is_nan(V a) { return _mm512_cmp_ps_mask((__m512)a, (__m512)a, _CMP_UNORD_Q); }
INLINE Mask at_least(const int16_t *p, int16_t low, int n) { /* lanes behind n are none */
    return _mm256_mask_cmpge_epi16_mask((__mmask16)((1u << n) - 1), _mm256_maskz_loadu_epi16((__mmask16)((1u << n) - 1), p),
                                        _mm256_set1_epi16(low));
}
INLINE V where(Mask mask, V v) { return (V)_mm512_maskz_mov_ps(mask, (__m512)v); } /* else 0 */
INLINE V choose(Mask mask, V yes, V no) { return (V)_mm512_mask_blend_ps(mask, (__m512)no, (__m512)yes); }
INLINE V rectified(V v, Mask mask) { /* max(0, v) where a mask says so; a NaN passes */
    return (V)_mm512_mask_max_ps((__m512)v, mask, _mm512_setzero_ps(), (__m512)v);
}
typedef B Winners; /* which of four won, lane by lane */
INLINE Winners mark(Winners which, Mask wins, int i) {
    return (Winners)_mm_mask_mov_epi8((__m128i)which, wins, _mm_set1_epi8((char)i));
}
INLINE I numbers(Winners which) { return from_bytes(which); }
INLINE Mask won_by(Winners which, int i) { return _mm_cmpeq_epi8_mask((__m128i)which, _mm_set1_epi8((char)i)); }
#else
typedef I Mask;
INLINE Mask all_or_none(int all) { return (I){0} - all; }
INLINE Mask above(V a, V b) { return a > b; }
INLINE Mask is_nan(V a) { return a != a; }
INLINE Mask at_least(const int16_t *p, int16_t low, int n) {
    READ(S, s, p);
    return from_shorts(s >= low);
}
INLINE V where(Mask mask, V v) { return (V)(mask & (I)v); }
INLINE V choose(Mask mask, V yes, V no) { return (V)((mask & (I)yes) | (~mask & (I)no)); }
INLINE V rectified(V v, Mask mask) { /* max(0, v) where a mask says so; a NaN passes */
#ifdef __AVX2__ /* where two are equal or one is NaN, the second comes out */
    V least_value = (V)(~mask & (I)((V){0} - INFINITY));
    return (V)_mm256_max_ps((__m256)least_value, (__m256)v);
#else
    return (V)((I)v & ~((v < 0) & mask));
#endif
}
typedef I Winners;
INLINE Winners mark(Winners which, Mask wins, int i) { return (wins & i) | (~wins & which); }
INLINE I numbers(Winners which) { return which; }
INLINE Mask won_by(Winners which, int i) { return which == i; }
#endif

/* The largest of four, and which it is: the first of equal ones; a NaN, if there is one. */
INLINE V largest(const V *v, Winners *which) {
#if MASKS
    __m512 a = (__m512)v[0], b = (__m512)v[1], c = (__m512)v[2], d = (__m512)v[3];
    __mmask16 second = _mm512_cmp_ps_mask(b, a, _CMP_GT_OQ), fourth = _mm512_cmp_ps_mask(d, c, _CMP_GT_OQ);
    __m512 ab = _mm512_max_ps(a, b), cd = _mm512_max_ps(c, d);
    __mmask16 below = _mm512_cmp_ps_mask(cd, ab, _CMP_GT_OQ);
    __mmask16 nan = _mm512_cmp_ps_mask(a, b, _CMP_UNORD_Q) | _mm512_cmp_ps_mask(c, d, _CMP_UNORD_Q);
    __m128i right = _mm_maskz_set1_epi8((second & ~below) | (fourth & below), 1);
    *which = (B)_mm_mask_add_epi8(right, below, right, _mm_set1_epi8(2));
    return (V)_mm512_mask_add_ps(_mm512_max_ps(ab, cd), nan, _mm512_add_ps(a, b), _mm512_add_ps(c, d));
#elif defined(__AVX2__)
    __m256 a = (__m256)v[0], b = (__m256)v[1], c = (__m256)v[2], d = (__m256)v[3];
    __m256 second = _mm256_cmp_ps(b, a, _CMP_GT_OQ), fourth = _mm256_cmp_ps(d, c, _CMP_GT_OQ);
    __m256 ab = _mm256_max_ps(a, b), cd = _mm256_max_ps(c, d), below = _mm256_cmp_ps(cd, ab, _CMP_GT_OQ);
    __m256 nan = _mm256_or_ps(_mm256_cmp_ps(a, b, _CMP_UNORD_Q), _mm256_cmp_ps(c, d, _CMP_UNORD_Q));
    *which = ((I)_mm256_blendv_ps(second, fourth, below) & 1) | ((I)below & 2);
    return (V)_mm256_blendv_ps(_mm256_max_ps(ab, cd), _mm256_add_ps(_mm256_add_ps(a, b), _mm256_add_ps(c, d)), nan);
#else
    V best = v[0];
    *which = (I){0};
    for (int i = 1; i < 4; i++) {
        Mask wins = above(v[i], best) | is_nan(v[i]);
        *which = mark(*which, wins, i);
        best = choose(wins, v[i], best);
    }
    return best;
#endif
}

/* Products of matrices of channels, for floats.h, in float arithmetic.
 *
 * Channels are taken by lines of 16 floats, one cache line, the last filled up with what is not looked at. A line is as many
 * vectors as the processor needs for it, 1 (AVX-512) to 4 (NEON): wider ones than it has would be taken apart through memory.
 */
#if defined(__AVX512F__)
#define WIDE 16
#define MOST 16 /* sums of lines in registers at a time */
#elif defined(__AVX__)
#define WIDE 8
#define MOST 6
#elif defined(__aarch64__)
#define WIDE 4
#define MOST 5 /* the sixth line is spilled by gcc */
#else
#define WIDE 4
#define MOST 2
#endif
#define LINE 16
#define PER_LINE (LINE / WIDE)
typedef float F __attribute__((vector_size(4 * WIDE)));

static int64_t lines_of(int64_t channels) { return (channels + LINE - 1) / LINE; }

INLINE F get(const float *p) {
    F v;
    memcpy(&v, p, sizeof v);
    return v;
}
INLINE void set(float *p, F v) { memcpy(p, &v, sizeof v); }

/* Calls piece(..., n), with n known to the compiler, for 1 <= n <= MOST. */
#define CASE(n, piece, ...)                                                                                        \
    case n: piece(__VA_ARGS__, n); break;
#if MOST == 16
#define MORE(piece, ...)                                                                                           \
    CASE(3, piece, __VA_ARGS__) CASE(4, piece, __VA_ARGS__) CASE(5, piece, __VA_ARGS__) CASE(6, piece, __VA_ARGS__)         \
    CASE(7, piece, __VA_ARGS__) CASE(8, piece, __VA_ARGS__) CASE(9, piece, __VA_ARGS__) CASE(10, piece, __VA_ARGS__)        \
    CASE(11, piece, __VA_ARGS__) CASE(12, piece, __VA_ARGS__) CASE(13, piece, __VA_ARGS__) CASE(14, piece, __VA_ARGS__)     \
    CASE(15, piece, __VA_ARGS__) CASE(16, piece, __VA_ARGS__)
#elif MOST >= 5
#define MORE(piece, ...)                                                                                           \
    CASE(3, piece, __VA_ARGS__) CASE(4, piece, __VA_ARGS__) CASE(5, piece, __VA_ARGS__) CASE(6, piece, __VA_ARGS__)
#else
#define MORE(piece, ...)
#endif
#define OF(n, piece, ...)                                                                                          \
    switch (n) { CASE(1, piece, __VA_ARGS__) CASE(2, piece, __VA_ARGS__) MORE(piece, __VA_ARGS__) }

/* n lines (rows of c): sums over inputs of a (lines of inputs, tiles, LINE) and b (inputs, LINE). */
INLINE void multiply(const float *a, int64_t next, const float *b, int64_t inputs, float *c, int n) {
    F sum[MOST][PER_LINE];
    UNROLL
    for (int i = 0; i < n; i++)
        UNROLL
        for (int part = 0; part < PER_LINE; part++) sum[i][part] = (F){0};
    do {
        int64_t count = least(inputs, LINE), k = 0;
        do {
            F factor[PER_LINE];
            UNROLL
            for (int part = 0; part < PER_LINE; part++) factor[part] = get(b + part * WIDE);
            UNROLL
            for (int i = 0; i < n; i++)
                UNROLL
                for (int part = 0; part < PER_LINE; part++) sum[i][part] += factor[part] * a[i * LINE + k];
            b += LINE;
        } while (++k < count);
        a += next, inputs -= LINE;
    } while (inputs > 0);
    UNROLL
    for (int i = 0; i < n; i++)
        UNROLL
        for (int part = 0; part < PER_LINE; part++) set(c + i * LINE + part * WIDE, sum[i][part]);
}

/* Adds to n rows of c (inputs, LINE) their sums over tiles of a (tiles, inputs) and b (tiles, LINE). */
INLINE void multiply_turned(const float *a, const float *b, int64_t tiles, float *c, int n) {
    F sum[MOST][PER_LINE];
    UNROLL
    for (int i = 0; i < n; i++)
        UNROLL
        for (int part = 0; part < PER_LINE; part++) sum[i][part] = get(c + i * LINE + part * WIDE);
    do {
        F factor[PER_LINE];
        UNROLL
        for (int part = 0; part < PER_LINE; part++) factor[part] = get(b + part * WIDE);
        UNROLL
        for (int i = 0; i < n; i++)
            UNROLL
            for (int part = 0; part < PER_LINE; part++) sum[i][part] += factor[part] * a[i];
        a += LINE, b += LINE;
    } while (--tiles);
    UNROLL
    for (int i = 0; i < n; i++)
        UNROLL
        for (int part = 0; part < PER_LINE; part++) set(c + i * LINE + part * WIDE, sum[i][part]);
}

/* For every part of `all` that has at most MOST, all of nearly the same size: where it begins and how many it has. */
#define EQUAL_PARTS(all)                                                                                           \
    for (int64_t count = ((all) + MOST - 1) / MOST, part = 0, at = 0, n; part < count && (n = ((all)-at) / (count - part), 1); \
         part++, at += n)

/* Memory that the next image of the same run will ask for, fetched into the second cache while this one is multiplied: a batch's
 * maps lie in the third. A few lines at a time: with AVX2 a step's kernels took 4 % less; all at once, none.
 */
#define STREAMS 4

typedef struct {
    const char *from[STREAMS]; /* the last is to be written */
    int64_t bytes[STREAMS];
} Ahead;

INLINE void expect(Ahead *ahead, int stream, const void *from, int64_t bytes) {
    ahead->from[stream] = from;
    ahead->bytes[stream] = bytes;
}

/* Parts first ... end - 1 of some. Nothing is read: addresses behind the last image do no harm. */
INLINE void fetch(const Ahead *ahead, int64_t first, int64_t end, int64_t parts) {
    for (int i = 0; i < STREAMS; i++) {
        const char *at = ahead->from[i] + ahead->bytes[i] * first / parts, *stop = ahead->from[i] + ahead->bytes[i] * end / parts;
        for (; at < stop; at += 64)
            if (i == STREAMS - 1) __builtin_prefetch(at, 1, 2);
            else __builtin_prefetch(at, 0, 2);
    }
}

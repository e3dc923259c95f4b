/* What is done to rows of a map: each a loop over `rows` of `columns` places, for a block of n channels from k on, whose
 * constants and sums stay in registers. Sums are taken row by row first, so that float holds those of large maps.
 */
typedef struct { /* from a place to its right neighbour and to the one below, in values */
    int64_t right, down;
} Steps;

#define PLACES_OF(rows, columns)                                                                                   \
    for (int64_t y = 0, place = 0; y < (rows); y++)                                                                \
        for (int64_t x = 0; x < (columns); x++, place++)
#define AT(step) (y * (step).down + x * (step).right + k)

/* A value of a map, or of a backend's float sums. */
INLINE V value(const void *from, int64_t at, int sums, int n) {
    return sums ? floats((const float *)from + at, n) : load((const T *)from + at, n);
}

/* From a map or the sums of a convolution, with its bias: p, pooled (size 2) or not, which of four won (the first of the
 * largest, a NaN before all), and the sums of what is normalized. */
INLINE void take(const void *from, int sums, Steps step, int size, int64_t rows, int64_t columns, const float *bias,
                 Mask first, T *p, uint8_t *won, Steps to, float *sum, int64_t k, int n) {
    V total = floats(sum + k, n), added = {0}, row = {0};
    if (bias) added = floats(bias + k, n);
    PLACES_OF(rows, columns) {
        int64_t here = size * (y * step.down + x * step.right) + k;
        V v[4];
        Winners which;
UNROLL
        for (int i = 0; i < size * size; i++)
            v[i] = value(from, here + i / 2 * step.down + i % 2 * step.right, sums, n);
        N narrowed = narrow((size == 2 ? largest(v, &which) : v[0]) + added);
        WRITE(p + AT(to), narrowed);
        if (size == 2) write_winners(won + AT(to), which, n);
        row += rectified(widen(narrowed), first);
        if (x == columns - 1) total += row, row = (V){0};
    }
    WRITE(sum + k, total);
}

INLINE void add_up(const T *p, Steps step, int64_t rows, int64_t columns, Mask first, float *sum, int64_t k, int n) {
    V total = floats(sum + k, n), row = {0};
    PLACES_OF(rows, columns) {
        row += rectified(load(p + AT(step), n), first);
        if (x == columns - 1) total += row, row = (V){0};
    }
    WRITE(sum + k, total);
}

/* About the mean that a sum of `length` values makes. */
INLINE void add_up_squares(const T *p, Steps step, int64_t rows, int64_t columns, Mask first, const float *sum,
                           float length, float *square, int64_t k, int n) {
    V total = floats(square + k, n), center = floats(sum + k, n) / length, row = {0};
    PLACES_OF(rows, columns) {
        V d = rectified(load(p + AT(step), n), first) - center;
        row += d * d;
        if (x == columns - 1) total += row, row = (V){0};
    }
    WRITE(square + k, total);
}

/* What stands between p and y, for one run from a row on; and for the way back what is taken off, see find_slopes(). */
typedef struct {
    const float *a, *b, *scale, *mean, *outer, *slope, *shift;
    const int16_t *draw; /* C values a place; NULL without dropout */
    int64_t C;
    int16_t low;
    Mask first;
} Gate;

static Gate gate_of(const Block *block, const Lines *lines, int64_t run, int64_t place) {
    int64_t C = block->shape.channels, at = run * C;
    const int16_t *draw = block->draws ? block->draws[run] + place * C : NULL;
    return (Gate){lines->a + at,      lines->b + at,     block->scale + at, lines->mean + at,
                  lines->outer + at,  lines->slope + at, lines->shift + at, draw,
                  C,                  draw ? block->low[run] : 0,           relu_first(&block->shape)};
}

/* y = max(0, a p + b), or a max(0, p) + b, times scale where the draw is not below low: into a map or a backend's input. */
INLINE void normalize(const T *p, Steps step, int64_t rows, int64_t columns, const Gate *gate_, void *y_, int input,
                      Steps to, int64_t k, int n) {
    const Gate own = *gate_, *gate = &own; /* what is written might else change it, for all that a compiler knows */
    V a = floats(gate->a + k, n), b = floats(gate->b + k, n), factor = floats(gate->scale + k, n);
    Mask first = gate->first;
    PLACES_OF(rows, columns) {
        V v = rectified(rectified(load(p + AT(step), n), first) * a + b, ~first);
        if (gate->draw) v = where(at_least(gate->draw + place * gate->C + k, gate->low, n), v * factor);
        if (input) put((E *)y_ + AT(to), pack(v), n);
        else store((T *)y_ + AT(to), v, n);
    }
}

/* A map as it is into a backend's input; or sums into a map. */
INLINE void copy_map(const T *from, Steps step, int64_t rows, int64_t columns, E *to, Steps target, int64_t k, int n) {
    PLACES_OF(rows, columns) put(to + AT(target), pack(load(from + AT(step), n)), n);
}
INLINE void copy_sums(const float *from, Steps step, int64_t rows, int64_t columns, T *to, Steps target, int64_t k,
                      int n) {
    PLACES_OF(rows, columns) store(to + AT(target), floats(from + AT(step), n), n);
}

/* The gradient behind ReLU and dropout: that of y, where both let the value through. p and draws say where; y itself need not
 * be kept for that, and runs share their draws. */
INLINE V let_through(V g, V p, const Gate *gate, V a, V b, V factor, int64_t place, int64_t k, int n) {
    Mask open = above(p * a + b, (V){0}) | gate->first; /* a ReLU before the norm is behind this */
    if (gate->draw) open &= at_least(gate->draw + place * gate->C + k, gate->low, n);
    return where(open, g * factor);
}

/* Sums of that gradient, and of its product with p - mean. It comes as a map, or as a backend's sums: then it is kept. */
INLINE void add_up_gradients(const void *grad, int sums, Steps from, const T *p, Steps step, int64_t rows,
                             int64_t columns, const Gate *gate_, T *kept, float *sum, float *product, int64_t k,
                             int n) {
    const Gate own = *gate_, *gate = &own;
    V a = floats(gate->a + k, n), b = floats(gate->b + k, n), factor = floats(gate->scale + k, n), row = {0};
    V center = floats(gate->mean + k, n), total = floats(sum + k, n), weighted = floats(product + k, n), both = {0};
    PLACES_OF(rows, columns) {
        V v = rectified(load(p + AT(step), n), gate->first);
        V g = let_through(value(grad, AT(from), sums, n), v, gate, a, b, factor, place, k, n);
        if (sums) {
            N narrowed = narrow(g);
            WRITE(kept + AT(step), narrowed);
            g = widen(narrowed);
        }
        row += g;
        both += g * (v - center);
        if (x == columns - 1) total += row, weighted += both, row = both = (V){0};
    }
    WRITE(sum + k, total);
    WRITE(product + k, weighted);
}

/* Constants of the way back through the norm, and what it makes of a gradient that ReLU and dropout let through. */
#define SLOPES                                                                                                     \
    V center = floats(gate->mean + k, n), outer = floats(gate->outer + k, n);                                      \
    V slope = floats(gate->slope + k, n), shift = floats(gate->shift + k, n)
#define THROUGH_NORM(g, v) (outer * ((g)-shift - ((v)-center) * slope))
/* And through a ReLU before the norm. */
INLINE V past_relu(V g, V p, const Gate *gate) { return where(above(p, (V){0}) | is_nan(p) | ~gate->first, g); }

/* The gradient of p to where it came from, in a map or in a backend's frame of gradients: at the winner of its window, with 0
 * for the others (size 2), or alone; and its sums. `kept`: it has passed ReLU and dropout already. */
INLINE void spread(const T *grad, int kept, Steps from, const T *p, const uint8_t *won, Steps step, int64_t rows,
                   int64_t columns, const Gate *gate_, void *to_, int input, Steps to, int size, float *sum, int64_t k,
                   int n) {
    const Gate constants = *gate_, *gate = &constants;
    V a = floats(gate->a + k, n), b = floats(gate->b + k, n), factor = floats(gate->scale + k, n), total = {0};
    SLOPES;
    PLACES_OF(rows, columns) {
        V seen = load(p + AT(step), n), v = rectified(seen, gate->first), g = load(grad + AT(from), n);
        if (!kept) g = let_through(g, v, gate, a, b, factor, place, k, n);
        g = THROUGH_NORM(g, v);
        g = past_relu(g, seen, gate);
        total += g;
        int64_t here = size * (y * to.down + x * to.right) + k;
        Winners which = {0};
        if (size == 2) which = read_winners(won + AT(step), n);
        Packed packed = pack(g);
        N narrowed = narrow(g);
UNROLL
        for (int i = 0; i < size * size; i++) {
            int64_t at = here + i / 2 * to.down + i % 2 * to.right;
            Mask own = size == 2 ? won_by(which, i) : all_or_none(1);
            N kept_here = narrow_where(own, narrowed);
            if (input) put((E *)to_ + at, pack_where(own, packed), n);
            else WRITE((T *)to_ + at, kept_here);
        }
    }
    if (!sum) return;
    total += floats(sum + k, n);
    WRITE(sum + k, total);
}

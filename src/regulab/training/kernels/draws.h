/* SFC64, the generator of every stream of draws, as numpy has it: a step's streams at once, several on the threads.
 *
 * numpy calls a function for every number and holds Python's lock meanwhile: 0.7 of the 13 ms of a step of four runs.
 * Source: Chris Doty-Humphrey, PractRand (2013); the state is that of numpy's sfc64.h: a, b, c and a counter.
 */
#define FEW 16384 /* numbers that are drawn sooner than another thread begins */

static void draw_stream(uint64_t *state, int64_t count, uint64_t *out) {
    uint64_t a = state[0], b = state[1], c = state[2], counter = state[3];
    for (int64_t i = 0; i < count; i++) {
        uint64_t sum = a + b + counter++;
        a = b ^ (b >> 11);
        b = c + (c << 3);
        c = ((c << 24) | (c >> 40)) + sum;
        out[i] = sum;
    }
    state[0] = a, state[1] = b, state[2] = c, state[3] = counter;
}

typedef struct {
    int64_t streams;
    uint64_t *const *states;
    const int64_t *counts;
    uint64_t *const *outs;
} Drawing;

/* Stream by stream in turn: of streams that come by length, every thread gets long ones and short ones. */
static void draw_share(void *data) {
    const Drawing *d = data;
    for (int64_t k = threads.number(); k < d->streams; k += threads.count()) draw_stream(d->states[k], d->counts[k], d->outs[k]);
}

/* The next counts[k] numbers of each stream. */
void draw(int64_t streams, uint64_t *const *states, const int64_t *counts, uint64_t *const *outs) {
    Drawing drawing = {streams, states, counts, outs};
    int64_t total = 0;
    for (int64_t k = 0; k < streams; k++) total += counts[k];
    if (streams > 1 && total > FEW) in_parallel(draw_share, &drawing);
    else
        for (int64_t k = 0; k < streams; k++) draw_stream(states[k], counts[k], outs[k]);
}

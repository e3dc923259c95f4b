/* 3x3 convolutions in float, of any number of channels: the plain way, place by place. */
typedef float E;
typedef struct {
    E *input, *grads;
    float *sums;
} Workspace;

#define NAME "vectors"
typedef V Packed;
INLINE Packed pack(V v) { return v; }
INLINE Packed pack_where(Mask mask, Packed v) { return where(mask, v); }
INLINE void put(E *to, Packed v, int n) { WRITE(to, v); }

static int takes(const Shape *s) { return s->inputs >= 1 && s->inputs <= 64 && s->channels >= 1 && s->channels <= 64; }
static int64_t pitch(const Shape *s) { return wide(s) + 1; }
static int64_t stride_in(const Shape *s) { return s->inputs; }
static int64_t stride_out(const Shape *s) { return s->channels; }

static int open_workspace(const Shape *s, Workspace *work) {
    int64_t places = (tall(s) + 2) * pitch(s) + 2, in = places * s->inputs, out = places * s->channels;
    float *all = calloc(in + out + (in > out ? in : out), sizeof(float));
    if (!all) return 1;
    *work = (Workspace){all, all + in, all + in + out};
    return 0;
}

static void close_workspace(Workspace *work) { free(work->input); }

static int64_t weight_sums(const Shape *s) { return TAPS * s->inputs * s->channels; }
static int64_t arranged_size(const Shape *s) { return (weight_sums(s) * (int64_t)sizeof(float) + 63) / 64 * 64; }

/* Turned around weights carry gradients back: outputs become inputs, and the taps stand opposite. */
static void arrange(const Shape *s, const float *taps, int turned, void *to) {
    float *w = to;
    int64_t I = s->inputs, O = s->channels;
    for (int64_t tap = 0; tap < TAPS; tap++)
        for (int64_t in = 0; in < I; in++)
            for (int64_t out = 0; out < O; out++) {
                float value = taps[(tap * I + in) * O + out];
                if (turned) w[((TAPS - 1 - tap) * O + out) * I + in] = value;
                else w[(tap * I + in) * O + out] = value;
            }
}

/* Of every place `from` values to `to` others. */
INLINE void multiply(const Shape *s, const float *frame, const float *w, int64_t from, int64_t to, float *sums,
                     int64_t k, int n) {
    for (int64_t y = 0; y < tall(s); y++)
        for (int64_t x = 0; x < wide(s); x++) {
            V sum = {0};
            for (int64_t tap = 0; tap < TAPS; tap++) {
                const float *seen = frame + ((y + tap / 3) * pitch(s) + x + tap % 3) * from;
                for (int64_t c = 0; c < from; c++) sum += seen[c] * floats(w + (tap * from + c) * to + k, n);
            }
            WRITE(sums + (y * pitch(s) + x) * to + k, sum);
        }
}

static void convolve(const Shape *s, const Workspace *work, const void *arranged) {
    BLOCKS(s->channels, multiply, s, work->input, arranged, s->inputs, s->channels, work->sums);
}

INLINE void multiply_taps(const Shape *s, const Workspace *work, float *dsums, int64_t k, int n) {
    int64_t I = s->inputs, O = s->channels;
    for (int64_t y = 0; y < tall(s); y++)
        for (int64_t x = 0; x < wide(s); x++) {
            V g = floats(work->grads + ((y + 1) * pitch(s) + x + 1) * O + k, n);
            for (int64_t tap = 0; tap < TAPS; tap++) {
                const float *seen = work->input + ((y + tap / 3) * pitch(s) + x + tap % 3) * I;
                for (int64_t in = 0; in < I; in++) {
                    float *at = dsums + (tap * I + in) * O + k;
                    V sum = floats(at, n) + g * seen[in];
                    WRITE(at, sum);
                }
            }
        }
}

static void go_back(const Shape *s, const Workspace *work, const void *turned, float *dsums, int wants_input) {
    BLOCKS(s->channels, multiply_taps, s, work, dsums);
    if (wants_input) BLOCKS(s->inputs, multiply, s, work->grads, turned, s->channels, s->inputs, work->sums);
}

static void finish_weights(const Shape *s, const double *dsums, float *dtaps) {
    for (int64_t i = 0; i < weight_sums(s); i++) dtaps[i] = (float)dsums[i];
}

/* 3x3 convolutions of one image of one run, by one of several backends: that which this compilation has.
 *
 *   tiles.h   matrix units of AMX processors; products bfloat16        -DBF16 and a processor with AMX; not with -DNO_TILES
 *   dots.h    sums of two products of bfloat16                         -DBF16 -DDOTS and a processor with AVX-512 BF16
 *   floats.h  vectors of float; maps of either type                    everywhere else
 *
 * Frames. A convolution's input stands in a frame with a border of 0, its rows pitch(s) places apart, so that place (y, x) is
 * place (y + 1) pitch + x + 1 of the frame; the border on a row's right may be that on the left of the next. Backends
 * convolve with padding 1 and know of no other: without padding, whoever calls them takes of the results the inner ones, and
 * hands them gradients that are 0 around these. A place has stride_in(s) or stride_out(s) values, of which those behind
 * the channels stay 0.
 *
 * Every backend gives
 *   E                    the type of inputs and gradients that it reads
 *   Packed, pack(v), pack_where(mask, packed), put(to, packed, n)   LANES of them from floats; 0 where the mask has none;
 *                        and n of these to memory
 *   Workspace            of one thread: E *input and E *grads, frames; float *sums; and what else it needs
 *   NAME                 what a person calls it
 *   takes(s)             whether it convolves this shape, 1 to 64 channels
 *   pitch(s), stride_in(s), stride_out(s)
 *   open_workspace(s, work), close_workspace(work)   0, or 1 where memory ends; all frames 0. Closed in the reverse order
 *   arranged_size(s)     bytes of one run's weights as it wants them, a multiple of 64
 *   arrange(s, taps, turned, to)   one run's weights (TAPS, inputs, channels), for the way there or (turned) back
 *   convolve(s, work, arranged, ahead)    input to sums: stride_out(s) values for place (y, x) at y pitch + x
 *   go_back(s, work, turned, dsums, wants_input, ahead)   from input and grads: adds the weights' share to dsums, and leaves
 *                                  the gradient of the input in sums, where it is wanted: stride_in(s) values a place.
 *                                  Both may fetch meanwhile what the next image asks for; only floats.h won by it
 *   weight_sums(s)       floats of one run's dsums
 *   finish_weights(s, dsums, dtaps)  one run's, added up as double, to (TAPS, inputs, channels)
 * Rows of inputs: tall(s) and wide(s), below; s->height and s->width are those of what comes out. Sums are added in an order
 * that depends on nothing but the shape; a NaN comes out as such, an infinity as one or as NaN.
 */
INLINE int64_t tall(const Shape *s) { return s->height + 2 - 2 * s->padding; }
INLINE int64_t wide(const Shape *s) { return s->width + 2 - 2 * s->padding; }

#include "ahead.h"

#define BLOCKED(x) (((x) + LANES - 1) / LANES) /* blocks of channels */

#if defined(BF16) && defined(__AVX512BF16__) && defined(DOTS)
#include "dots.h"
#elif defined(BF16) && (defined(__AMX_BF16__) || defined(__AMXBF16__)) && !defined(NO_TILES) /* the latter: clang below 16 */
#include "tiles.h"
#else
#include "floats.h"
#endif

/* For whom a person asks. */
const char *backend(void) { return NAME; }
int convolves(const Shape *s) { return s->padding <= 1 && s->padding >= 0 && tall(s) > 0 && wide(s) > 0 && takes(s); }

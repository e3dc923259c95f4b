/* The threads that work together: those of the OpenMP library that torch has loaded, called through pointers. Compilers
 * write calls of their own for `#pragma omp`, clang such as torch's library on Linux does not know; a second library would
 * have a second set of threads, which wait spinning while the first work. Called so, kernels need no header, no flag and no
 * library where they are compiled. Before use_threads() there is one thread.
 */
#include <stdint.h>

typedef struct {
    void (*in_parallel)(void (*work)(void *), void *data, unsigned count, unsigned flags); /* count 0: as many as may be */
    void (*wait)(void);
    int (*number)(void); /* of this thread in its team, from 0 */
    int (*count)(void);  /* of threads in its team */
    int (*most)(void);   /* threads that in_parallel would have */
} Threads;

static void alone(void (*work)(void *), void *data, unsigned count, unsigned flags) {
    (void)count, (void)flags;
    work(data);
}
static void no_wait(void) {}
static int number_alone(void) { return 0; }
static int count_alone(void) { return 1; }
static Threads threads = {alone, no_wait, number_alone, count_alone, count_alone};

void use_threads(const Threads *given) { threads = *given; }

/* Every thread of a team calls work(data); in_parallel returns when all have. */
static inline void in_parallel(void (*work)(void *), void *data) { threads.in_parallel(work, data, 0, 0); }

/* A loop over those of `things` that fall to this thread of the team: as many to each, in their order. Nobody waits at its
 * end: threads.wait() does, for all that the loops before have written. */
static inline int64_t first_of(int64_t things, int64_t thread) { return things * thread / threads.count(); }
#define FOR_MINE(i, things)                                                                                        \
    for (int64_t i = first_of(things, threads.number()), i##_end = first_of(things, threads.number() + 1); i < i##_end; i++)

/* Under which key this was compiled (recipes.py): of a library with another key nothing is called. */
#ifdef KEY
#define TEXT(word) #word
#define TEXT_OF(macro) TEXT(macro)
const char regulab_key[] = "regulab kernels " TEXT_OF(KEY);
#endif

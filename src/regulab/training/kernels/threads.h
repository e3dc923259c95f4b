/* The threads that work together: those of the OpenMP library that torch has loaded, called through pointers. Compilers
 * write calls of their own for `#pragma omp`, clang such as torch's library on Linux does not know; a second library would
 * have a second set of threads, which wait spinning while the first work. Called so, kernels need no header, no flag and no
 * library where they are compiled. Before use_threads() there is one thread.
 */
#include <stdint.h>

typedef struct {
    void (*in_parallel)(void (*work)(void *), void *data, unsigned threads, unsigned flags); /* 0 threads: as many as may be */
    void (*wait)(void);
    int (*number)(void); /* of this thread in its team, from 0 */
    int (*count)(void);  /* of threads in its team */
    int (*most)(void);   /* threads that in_parallel would have */
} Threads;

static void alone(void (*work)(void *), void *data, unsigned threads, unsigned flags) {
    (void)threads, (void)flags;
    work(data);
}
static void no_wait(void) {}
static int zero(void) { return 0; }
static int one(void) { return 1; }
static Threads threads = {alone, no_wait, zero, one, one};

void use_threads(const Threads *given) { threads = *given; }

/* Every thread of a team calls work(data); in_parallel returns when all have. */
static inline void in_parallel(void (*work)(void *), void *data) { threads.in_parallel(work, data, 0, 0); }

/* Of things 0 ... count - 1 those of one thread: as many for each, and in order. */
static inline int64_t share(int64_t count, int64_t thread) { return count * thread / threads.count(); }
#define FOR_MINE(i, things)                                                                                        \
    for (int64_t i = share(things, threads.number()), i##_end = share(things, threads.number() + 1); i < i##_end; i++)

/* Under which key this was compiled (recipes.py): of a library with another key nothing is called. */
#ifdef KEY
#define TEXT(word) #word
#define TEXT_OF(macro) TEXT(macro)
const char regulab_key[] = "regulab kernels " TEXT_OF(KEY);
#endif

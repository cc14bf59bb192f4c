/*
 * Whether somebody else uses the core that this thread runs on. A virtual CPU is a hardware thread; while another guest
 * runs on its sibling, a loop of multiply-adds keeps its rate, as one thread alone cannot use more than the two units,
 * but real kernels share front end, reorder buffer and caches, and lose 5 to 8 % of the peak. Nothing that this machine
 * can ask tells of it. What does is the rate of a loop that wants the whole width of the core: independent additions and
 * no-ops, in cycles that a chain of dependent multiplications counts.
 *
 * None of these functions knows what is timed: which samples count is decided by the gauge alone.
 */
#ifndef CORE_CONTENTION_H
#define CORE_CONTENTION_H

#include <stdint.h>

/*
 * Below this many instructions a cycle the core is shared. On Zen 5 the loop comes to 6.0 on a core of its own and to 4.2
 * to 4.8 beside a busy sibling; windows of half a millisecond in which the sibling comes or goes lie between. 5.3 is the
 * middle of the gap. Another microarchitecture has another number: the environment variable GATUN_BENCH_UNDISTURBED takes
 * the constant's place.
 */
#define CONTENTION_UNDISTURBED 5.3

/* How long a look takes. */
#define CONTENTION_SECONDS 0.0005

/* So many undisturbed samples are enough to leave the disturbed ones out. */
#define CONTENTION_ENOUGH 5

/* Instructions a cycle in the loop above, over about so many seconds; NaN where it is not written for the CPU. */
double contention_instructions_a_cycle(double seconds);

/* CONTENTION_UNDISTURBED, or what the environment says. */
double contention_threshold(void);

/* Keeps the calling thread on a CPU; 0, or -1 if the system does not allow it. */
int contention_pin(int cpu);

/*
 * Gauges the CPUs that the calling thread was allowed at its first call here, and keeps it on the least disturbed one;
 * it stays where it is unless another is clearly better. Returns whether the thread now runs on another CPU than before.
 * Of many CPUs it looks at some only. Does nothing where there is no gauge, or no way to choose.
 */
int contention_settle(double seconds);

/* Gives the calling thread back the CPUs that it had before contention_settle. */
void contention_unpin(void);

/*
 * Which of count samples stand for all: the undisturbed ones if there are at least CONTENTION_ENOUGH, or wanted if that
 * is less; else all. Moves those of x to its front, in their order, and returns how many they are.
 */
int contention_select(double *x, const unsigned char *undisturbed, int count, int wanted);

/* How many of count samples are undisturbed. */
int contention_count(const unsigned char *undisturbed, int count);

/* Whether another sample is to be taken: until wanted are there, and on to twice that while too few are undisturbed. */
int contention_wants_more(const unsigned char *undisturbed, int count, int wanted);

#endif /* CORE_CONTENTION_H */

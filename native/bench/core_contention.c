#define _GNU_SOURCE
#include "core_contention.h"

#include <math.h>
#include <sched.h>
#include <stdlib.h>
#include <time.h>

/* Another CPU has to be better by so much to be worth cold caches. */
#define CLEARLY 1.05

enum { MOST_CPUS = 16 };

#if defined(__x86_64__)

static double now(void) {
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + (double)t.tv_nsec * 1e-9;
}

/* 3 cycles each, whoever else uses the core. */
static void chain(int64_t rounds) {
    uint64_t x = 1;
    for (int64_t i = 0; i < rounds; i++)
        __asm__ volatile(".rept 16\n\timul %0, %0\n\t.endr" : "+r"(x));
}

/* 96 instructions a round: six additions that wait for nothing but their own predecessor, and two that do nothing. */
static void width(int64_t rounds) {
    for (int64_t i = 0; i < rounds; i++)
        __asm__ volatile(".rept 12\n\t"
                         "add $1, %%rax\n\tadd $1, %%rcx\n\tadd $1, %%rdx\n\tadd $1, %%rsi\n\t"
                         "add $1, %%r8\n\tadd $1, %%r9\n\tnop\n\tnop\n\t.endr" ::
                             : "rax", "rcx", "rdx", "rsi", "r8", "r9", "cc");
}

double contention_instructions_a_cycle(double seconds) {
    /*
     * Turns of both, as the clock may change in between. Of the chain the shortest counts: it cannot be too fast, and one
     * that was interrupted would make the loop seem wider than the core. The lengths suppose some GHz, which decides
     * nothing else.
     */
    enum { TURNS = 8 };
    const int64_t chains = (int64_t)(seconds / TURNS * 0.25 * 3.5e9 / 48) + 1,
                  widths = (int64_t)(seconds / TURNS * 0.75 * 3.5e9 / 18) + 1;
    double chain_seconds = INFINITY, width_seconds = 0;
    for (int i = 0; i < TURNS; i++) {
        const double begin = now();
        chain(chains);
        const double middle = now();
        width(widths);
        chain_seconds = fmin(chain_seconds, middle - begin);
        width_seconds += now() - middle;
    }
    const double cycles_a_second = (double)(chains * 48) / chain_seconds;
    return (double)(TURNS * widths * 96) / width_seconds / cycles_a_second;
}

#else

double contention_instructions_a_cycle(double seconds) {
    (void)seconds;
    return (double)NAN;
}

#endif

double contention_threshold(void) {
    const char *text = getenv("GATUN_BENCH_UNDISTURBED");
    const double value = text != NULL ? atof(text) : 0;
    return value > 0 ? value : CONTENTION_UNDISTURBED;
}

int contention_count(const unsigned char *undisturbed, int count) {
    int sum = 0;
    for (int i = 0; i < count; i++)
        sum += undisturbed[i] != 0;
    return sum;
}

static int enough(const unsigned char *undisturbed, int count, int wanted) {
    return contention_count(undisturbed, count) >= (wanted < CONTENTION_ENOUGH ? wanted : CONTENTION_ENOUGH);
}

int contention_select(double *x, const unsigned char *undisturbed, int count, int wanted) {
    if (!enough(undisturbed, count, wanted))
        return count;
    int kept = 0;
    for (int i = 0; i < count; i++)
        if (undisturbed[i])
            x[kept++] = x[i];
    return kept;
}

int contention_wants_more(const unsigned char *undisturbed, int count, int wanted) {
    return count < wanted || (count < 2 * wanted && !enough(undisturbed, count, wanted));
}

#if defined(__linux__)

static _Thread_local cpu_set_t allowed;
static _Thread_local int is_known;

int contention_pin(int cpu) {
    if (cpu < 0 || cpu >= CPU_SETSIZE)
        return -1;
    cpu_set_t one;
    CPU_ZERO(&one);
    CPU_SET(cpu, &one);
    return sched_setaffinity(0, sizeof one, &one); /* 0: the calling thread, not its process */
}

void contention_unpin(void) {
    if (is_known)
        sched_setaffinity(0, sizeof allowed, &allowed);
    is_known = 0;
}

int contention_settle(double seconds) {
    if (!is_known) {
        if (sched_getaffinity(0, sizeof allowed, &allowed) != 0)
            return 0;
        is_known = 1;
    }
    const int before = sched_getcpu();
    double most = contention_instructions_a_cycle(seconds);
    if (before < 0 || isnan(most))
        return 0;
    int best = before;
    most *= CLEARLY;
    for (int i = 1, seen = 1; i < CPU_SETSIZE && seen < MOST_CPUS; i++) {
        const int cpu = (before + i) % CPU_SETSIZE;
        if (!CPU_ISSET(cpu, &allowed) || contention_pin(cpu) != 0)
            continue;
        seen++;
        const double rate = contention_instructions_a_cycle(seconds);
        if (rate > most) {
            most = rate;
            best = cpu;
        }
    }
    if (contention_pin(best) != 0)
        contention_unpin();
    return best != before;
}

#else

int contention_pin(int cpu) {
    (void)cpu;
    return -1;
}

void contention_unpin(void) {
}

int contention_settle(double seconds) {
    (void)seconds;
    return 0;
}

#endif

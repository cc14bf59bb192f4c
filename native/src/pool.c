/*
 * The pool: threads - 1 workers that help callers with their tasks.
 *
 * A call is a job on its caller's stack, in a list under a lock. Its tasks are divided among the slots, the caller's and
 * each helper's: neighbors to the same thread, since they read the same and write side by side, and so that a thread
 * knows what comes next. Whoever has run out takes from the end of another's, so nothing waits for a helper that came
 * late or not at all. The caller leaves when no task is left and the helpers of its own job are done with the one they
 * hold: it never waits for another caller's job, and with all workers busy it does everything itself.
 *
 * Idle workers look for a job for IDLE_NS, then sleep. To wake one takes the caller some microseconds, 35 on a virtual
 * machine, and it comes after 50 to 100, when a short call is over. So they are woken for WAKE_NS of work: of one call, or of
 * several that follow each other within IDLE_NS, between which they would stay awake.
 */
#define _GNU_SOURCE
#include "internal.h"

#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum {
    IDLE_NS = 100 * 1000,  /* a worker looks for the next call before it sleeps */
    WAIT_NS = 1000 * 1000, /* a caller waits for a helper's last task before it sleeps */
    WAKE_NS = 100 * 1000,  /* work of one thread that is worth waking others for */
    WORKER_STACK_BYTES = 1 << 20,
    SHARES_MOST = 32
};

/* Grains that are left of a slot's share: the first in the low half, the end in the high one. */
typedef struct share {
    _Alignas(64) _Atomic uint64_t left;
} share;

typedef struct job {
    gatun__pool_function function;
    void *argument;
    int64_t tasks, grain;   /* tasks that are claimed together: 1 unless there are 2^31 */
    int32_t shares;         /* slots beyond them have the share of slot % shares */
    int32_t helpers_wanted; /* guarded by the pool's lock, like all below but the shares */
    int32_t helpers_joined;
    int taken;                      /* no task is left, so that no helper may join */
    _Atomic int32_t helpers_active; /* also read without the lock, as a hint */
    int64_t helped;
    int waiting;
    struct job *previous_job, *next_job;
    share share[SHARES_MOST];
} job;

struct gatun__pool {
    pthread_mutex_t lock;
    pthread_cond_t wake; /* a job was opened, or stop */
    pthread_cond_t done; /* some job's last helper left */
    job *first;
    _Atomic int32_t open_slots; /* helpers that open jobs still want; read without the lock */
    int32_t sleeping, busy;     /* workers; the others look for work */
    int64_t alone_ns;           /* work of calls in a row for which nobody was woken */
    int64_t last_end;           /* of a call, on the clock of gatun__nanoseconds() */
    _Atomic int stop;
    _Atomic uint64_t helped; /* tasks that workers ran */
    int32_t workers;
    pthread_t threads[];
};

static inline void relax(void) {
#if defined(__x86_64__)
    __builtin_ia32_pause();
#elif defined(__aarch64__)
    __asm__ volatile("yield");
#endif
}

static uint64_t grains(uint64_t first, uint64_t end) {
    return end << 32 | first;
}

/* Takes a grain from the front of the own share or from the back of another; *next is what would follow, or -1. */
static int64_t claim(share *s, int own, int64_t *next) {
    uint64_t left = atomic_load_explicit(&s->left, memory_order_relaxed), first, end;
    do {
        first = left & UINT32_MAX;
        end = left >> 32;
        if (first >= end)
            return -1;
    } while (!atomic_compare_exchange_weak_explicit(&s->left, &left,
        own ? grains(first + 1, end) : grains(first, end - 1), memory_order_relaxed, memory_order_relaxed));
    *next = first + 1 == end ? -1 : (int64_t)(own ? first + 1 : end - 2);
    return (int64_t)(own ? first : end - 1);
}

static int64_t run_tasks(job *j, int32_t slot) {
    gatun__turn turn = {.slot = slot, .previous = -1};
    const int32_t own = slot % j->shares;
    int64_t count = 0;
    for (int32_t i = 0; i < j->shares;) {
        int64_t next, grain = claim(&j->share[(own + i) % j->shares], i == 0, &next);
        if (grain < 0) {
            i++;
            continue;
        }
        const int64_t begin = grain * j->grain, end = j->tasks - begin < j->grain ? j->tasks : begin + j->grain;
        for (turn.index = begin; turn.index < end; turn.index++) {
            turn.next = turn.index + 1 < end ? turn.index + 1 : next < 0 ? -1 : next * j->grain;
            j->function(j->argument, &turn);
            turn.previous = turn.index;
        }
        count += end - begin;
    }
    return count;
}

static void divide(job *j, int32_t slots, int64_t grain) {
    j->shares = slots < SHARES_MOST ? slots : SHARES_MOST;
    j->grain = grain;
    const int64_t all = gatun__divide_up(j->tasks, j->grain), each = all / j->shares, more = all % j->shares;
    for (int32_t i = 0; i < j->shares; i++) {
        int64_t first = i * each + (i < more ? i : more);
        atomic_init(&j->share[i].left, grains((uint64_t)first, (uint64_t)(first + each + (i < more))));
    }
}

static job *job_to_help(gatun__pool *pool) {
    for (job *j = pool->first; j != NULL; j = j->next_job) {
        if (j->helpers_joined < j->helpers_wanted && !j->taken)
            return j;
    }
    return NULL;
}

/* All tasks are taken: no other helper joins. */
static void close_slots(gatun__pool *pool, job *j) {
    if (j->taken)
        return;
    j->taken = 1;
    atomic_fetch_sub_explicit(&pool->open_slots, j->helpers_wanted - j->helpers_joined, memory_order_relaxed);
}

/* With the lock: how many workers to wake for a job that wants so many helpers. Awake idle workers join without a signal. */
static int32_t to_wake(gatun__pool *pool, int32_t helpers, int64_t work_ns) {
    const int32_t missing = helpers - (pool->workers - pool->sleeping - pool->busy);
    if (pool->sleeping == 0 || missing <= 0) {
        pool->alone_ns = 0;
        return 0;
    }
    if (gatun__nanoseconds() - pool->last_end > IDLE_NS)
        pool->alone_ns = 0;
    pool->alone_ns += work_ns < WAKE_NS ? work_ns : WAKE_NS;
    if (pool->alone_ns < WAKE_NS)
        return 0;
    pool->alone_ns = 0;
    return missing < pool->sleeping ? missing : pool->sleeping;
}

/* Between looks at the clock. */
static void relax_some(void) {
    for (int i = 0; i < 8; i++)
        relax();
}

/* Without the lock: an idle worker must not slow the callers down. */
static void look_for_slots(gatun__pool *pool, int64_t until) {
    while (atomic_load_explicit(&pool->open_slots, memory_order_relaxed) == 0 &&
           !atomic_load_explicit(&pool->stop, memory_order_relaxed) && gatun__nanoseconds() < until)
        relax_some();
}

/* Returns with the lock: a job, or NULL for the end. */
static job *next_job(gatun__pool *pool) {
    for (int64_t until = gatun__nanoseconds() + IDLE_NS;;) {
        look_for_slots(pool, until);
        pthread_mutex_lock(&pool->lock);
        job *j = job_to_help(pool);
        if (j != NULL || atomic_load_explicit(&pool->stop, memory_order_relaxed))
            return j;
        /* Too late for this slot; while time is left there may be another. */
        if (gatun__nanoseconds() >= until) {
            pool->sleeping++;
            pthread_cond_wait(&pool->wake, &pool->lock);
            pool->sleeping--;
            j = job_to_help(pool);
            if (j != NULL || atomic_load_explicit(&pool->stop, memory_order_relaxed))
                return j;
            until = gatun__nanoseconds() + IDLE_NS;
        }
        pthread_mutex_unlock(&pool->lock);
    }
}

static void *worker(void *argument) {
    gatun__pool *pool = argument;
    for (;;) {
        job *j = next_job(pool);
        if (j == NULL) {
            pthread_mutex_unlock(&pool->lock);
            return NULL;
        }
        int32_t slot = ++j->helpers_joined;
        pool->busy++;
        atomic_fetch_sub_explicit(&pool->open_slots, 1, memory_order_relaxed);
        atomic_fetch_add_explicit(&j->helpers_active, 1, memory_order_relaxed);
        pthread_mutex_unlock(&pool->lock);
        int64_t count = run_tasks(j, slot);
        pthread_mutex_lock(&pool->lock);
        pool->busy--;
        close_slots(pool, j);
        j->helped += count;
        if (atomic_fetch_sub_explicit(&j->helpers_active, 1, memory_order_relaxed) == 1 && j->waiting)
            pthread_cond_broadcast(&pool->done);
        pthread_mutex_unlock(&pool->lock);
    }
}

/* A helper's last task usually ends before a sleeping caller could be woken. The lock that is taken afterwards makes the
 * helper's results visible, and keeps the job alive until the helper has let go of it. */
static void wait_awake(const job *j) {
    const int64_t begin = gatun__nanoseconds();
    int64_t waited = 0;
    while (atomic_load_explicit(&j->helpers_active, memory_order_relaxed) > 0 && waited < WAIT_NS) {
        relax_some();
        waited = gatun__nanoseconds() - begin;
        if (waited > IDLE_NS)
            sched_yield(); /* to a helper that has no CPU of its own */
    }
}

int64_t gatun__pool_run(
    gatun__pool *pool, int32_t threads, int64_t tasks, int64_t work_ns, gatun__pool_function function, void *argument) {
    const int64_t grain = gatun__divide_up(tasks, INT32_MAX);
    return gatun__pool_run_grains(pool, threads, tasks, grain, work_ns, function, argument);
}

int64_t gatun__pool_run_grains(gatun__pool *pool, int32_t threads, int64_t tasks, int64_t grain, int64_t work_ns,
    gatun__pool_function function, void *argument) {
    int32_t workers = pool == NULL ? 0 : pool->workers;
    int32_t helpers = threads - 1 < workers ? threads - 1 : workers;
    if (helpers > tasks - 1)
        helpers = (int32_t)(tasks - 1);
    if (helpers <= 0) {
        for (int64_t index = 0; index < tasks; index++) {
            const gatun__turn turn = {
                .index = index, .previous = index - 1, .next = index + 1 < tasks ? index + 1 : -1, .slot = 0};
            function(argument, &turn);
        }
        return 0;
    }
    job j;
    memset(&j, 0, offsetof(job, share));
    j.function = function;
    j.argument = argument;
    j.tasks = tasks;
    j.helpers_wanted = helpers;
    divide(&j, helpers + 1, grain);
    pthread_mutex_lock(&pool->lock);
    j.next_job = pool->first;
    if (pool->first != NULL)
        pool->first->previous_job = &j;
    pool->first = &j;
    const int32_t signals = to_wake(pool, helpers, work_ns);
    atomic_fetch_add_explicit(&pool->open_slots, helpers, memory_order_relaxed);
    pthread_mutex_unlock(&pool->lock);
    /* After unlocking: a woken worker needs the lock. */
    for (int32_t i = 0; i < signals; i++)
        pthread_cond_signal(&pool->wake);

    run_tasks(&j, 0);

    pthread_mutex_lock(&pool->lock);
    close_slots(pool, &j);
    if (atomic_load_explicit(&j.helpers_active, memory_order_relaxed) > 0) {
        pthread_mutex_unlock(&pool->lock);
        wait_awake(&j);
        pthread_mutex_lock(&pool->lock);
        j.waiting = 1;
        while (atomic_load_explicit(&j.helpers_active, memory_order_relaxed) > 0)
            pthread_cond_wait(&pool->done, &pool->lock);
    }
    /* Until here the pool is in use, and cannot be destroyed. */
    if (j.previous_job != NULL)
        j.previous_job->next_job = j.next_job;
    else
        pool->first = j.next_job;
    if (j.next_job != NULL)
        j.next_job->previous_job = j.previous_job;
    atomic_fetch_add_explicit(&pool->helped, (uint64_t)j.helped, memory_order_relaxed);
    pool->last_end = gatun__nanoseconds();
    pthread_mutex_unlock(&pool->lock);
    return j.helped;
}

uint64_t gatun__pool_helped(const gatun__pool *pool) {
    return pool == NULL ? 0 : atomic_load_explicit(&pool->helped, memory_order_relaxed);
}

static void stop_workers(gatun__pool *pool) {
    pthread_mutex_lock(&pool->lock);
    atomic_store(&pool->stop, 1);
    pthread_cond_broadcast(&pool->wake);
    pthread_mutex_unlock(&pool->lock);
    for (int32_t i = 0; i < pool->workers; i++)
        pthread_join(pool->threads[i], NULL);
    pthread_cond_destroy(&pool->done);
    pthread_cond_destroy(&pool->wake);
    pthread_mutex_destroy(&pool->lock);
    free(pool);
}

/* The process's asynchronous signals belong to its own threads (a JVM's above all); faults stay open so that a crash is
 * reported where it is. */
static void block_asynchronous_signals(sigset_t *old) {
    sigset_t set;
    sigfillset(&set);
    const int faults[] = {SIGSEGV, SIGBUS, SIGILL, SIGFPE, SIGTRAP, SIGABRT};
    for (size_t i = 0; i < sizeof faults / sizeof faults[0]; i++)
        sigdelset(&set, faults[i]);
    pthread_sigmask(SIG_SETMASK, &set, old);
}

int32_t gatun__pool_create(int32_t threads, gatun__pool **result) {
    *result = NULL;
    if (threads <= 1)
        return GATUN_OK;
    gatun__pool *pool = calloc(1, sizeof *pool + (size_t)(threads - 1) * sizeof(pthread_t));
    if (pool == NULL)
        return GATUN_E_MEMORY;
    pthread_mutex_init(&pool->lock, NULL);
    pthread_cond_init(&pool->wake, NULL);
    pthread_cond_init(&pool->done, NULL);
    pthread_attr_t attributes;
    pthread_attr_init(&attributes);
    pthread_attr_setstacksize(&attributes, WORKER_STACK_BYTES);
    sigset_t old;
    block_asynchronous_signals(&old);
    int failed = 0;
    while (!failed && pool->workers < threads - 1) {
        pthread_t *thread = &pool->threads[pool->workers];
        failed = pthread_create(thread, &attributes, worker, pool);
        if (!failed) {
            char name[24]; /* the system takes 15 characters */
            snprintf(name, sizeof name, "gatun-%d", (int)++pool->workers);
            pthread_setname_np(*thread, name);
        }
    }
    pthread_sigmask(SIG_SETMASK, &old, NULL);
    pthread_attr_destroy(&attributes);
    if (failed) {
        stop_workers(pool);
        return GATUN_E_THREAD;
    }
    *result = pool;
    return GATUN_OK;
}

int32_t gatun__pool_destroy(gatun__pool *pool) {
    if (pool == NULL)
        return GATUN_OK;
    pthread_mutex_lock(&pool->lock);
    int busy = pool->first != NULL;
    pthread_mutex_unlock(&pool->lock);
    if (busy)
        return GATUN_E_STATE;
    stop_workers(pool);
    return GATUN_OK;
}

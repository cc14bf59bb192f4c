/*
 * The pool: threads - 1 workers that help whoever calls.
 *
 * A call is a job on its caller's stack, in a list under a lock. Its tasks are claimed by an atomic counter, by the
 * caller from the start and by each worker that finds the job. The caller leaves when the counter has run out and the
 * helpers of its own job are done with the task they hold: it never waits for another caller's job, and with all
 * workers busy it does everything itself. Idle workers look for a job for some ten microseconds, then sleep.
 */
#define _GNU_SOURCE
#include "internal.h"

#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>

enum { SPINS = 4000, WORKER_STACK_BYTES = 1 << 20 };

typedef struct job {
    gatun__pool_function function;
    void *argument;
    int64_t tasks;
    _Atomic int64_t next;
    int32_t helpers_wanted; /* guarded by the pool's lock, like all below */
    int32_t helpers_joined;
    _Atomic int32_t helpers_active; /* also read without the lock, as a hint */
    int64_t helped;
    int waiting;
    struct job *previous_job, *next_job;
} job;

struct gatun__pool {
    pthread_mutex_t lock;
    pthread_cond_t wake; /* a job was opened, or stop */
    pthread_cond_t done; /* some job's last helper left */
    job *first;
    _Atomic int32_t open_jobs;
    int32_t sleeping;
    _Atomic int stop;
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

static int64_t run_tasks(job *j, int32_t slot) {
    int64_t count = 0;
    for (;;) {
        int64_t index = atomic_fetch_add_explicit(&j->next, 1, memory_order_relaxed);
        if (index >= j->tasks)
            return count;
        j->function(j->argument, index, slot);
        count++;
    }
}

static job *job_to_help(gatun__pool *pool) {
    for (job *j = pool->first; j != NULL; j = j->next_job) {
        if (j->helpers_joined < j->helpers_wanted && atomic_load_explicit(&j->next, memory_order_relaxed) < j->tasks)
            return j;
    }
    return NULL;
}

static void *worker(void *argument) {
    gatun__pool *pool = argument;
    int spins = 0;
    for (;;) {
        /* Without the lock: an idle worker must not slow the callers down. */
        if (atomic_load_explicit(&pool->open_jobs, memory_order_relaxed) == 0 &&
            !atomic_load_explicit(&pool->stop, memory_order_relaxed) && spins < SPINS) {
            spins++;
            relax();
            continue;
        }
        pthread_mutex_lock(&pool->lock);
        job *j = job_to_help(pool);
        while (j == NULL && !atomic_load_explicit(&pool->stop, memory_order_relaxed)) {
            pool->sleeping++;
            pthread_cond_wait(&pool->wake, &pool->lock);
            pool->sleeping--;
            j = job_to_help(pool);
        }
        if (j == NULL) {
            pthread_mutex_unlock(&pool->lock);
            return NULL;
        }
        int32_t slot = ++j->helpers_joined;
        atomic_fetch_add_explicit(&j->helpers_active, 1, memory_order_relaxed);
        pthread_mutex_unlock(&pool->lock);
        int64_t count = run_tasks(j, slot);
        pthread_mutex_lock(&pool->lock);
        j->helped += count;
        if (atomic_fetch_sub_explicit(&j->helpers_active, 1, memory_order_relaxed) == 1 && j->waiting)
            pthread_cond_broadcast(&pool->done);
        pthread_mutex_unlock(&pool->lock);
        spins = 0;
    }
}

int64_t gatun__pool_run(
    gatun__pool *pool, int32_t threads, int64_t tasks, gatun__pool_function function, void *argument) {
    int32_t workers = pool == NULL ? 0 : pool->workers;
    int32_t helpers = threads - 1 < workers ? threads - 1 : workers;
    if (helpers > tasks - 1)
        helpers = (int32_t)(tasks - 1);
    if (helpers <= 0) {
        for (int64_t index = 0; index < tasks; index++)
            function(argument, index, 0);
        return 0;
    }
    job j = {.function = function, .argument = argument, .tasks = tasks, .helpers_wanted = helpers};
    pthread_mutex_lock(&pool->lock);
    j.next_job = pool->first;
    if (pool->first != NULL)
        pool->first->previous_job = &j;
    pool->first = &j;
    atomic_fetch_add_explicit(&pool->open_jobs, 1, memory_order_relaxed);
    for (int32_t i = 0; i < pool->sleeping && i < helpers; i++)
        pthread_cond_signal(&pool->wake);
    pthread_mutex_unlock(&pool->lock);

    run_tasks(&j, 0);

    pthread_mutex_lock(&pool->lock);
    if (j.previous_job != NULL)
        j.previous_job->next_job = j.next_job;
    else
        pool->first = j.next_job;
    if (j.next_job != NULL)
        j.next_job->previous_job = j.previous_job;
    atomic_fetch_sub_explicit(&pool->open_jobs, 1, memory_order_relaxed);
    pthread_mutex_unlock(&pool->lock);

    /* A helper's last task usually ends within microseconds: look a while before going to sleep. The lock taken
       afterwards is what makes the helper's results visible, and keeps the job alive until the helper has let go of it.
     */
    for (int i = 0; i < SPINS && atomic_load_explicit(&j.helpers_active, memory_order_relaxed) > 0; i++)
        relax();
    pthread_mutex_lock(&pool->lock);
    j.waiting = 1;
    while (atomic_load_explicit(&j.helpers_active, memory_order_relaxed) > 0)
        pthread_cond_wait(&pool->done, &pool->lock);
    pthread_mutex_unlock(&pool->lock);
    return j.helped;
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

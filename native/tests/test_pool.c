/* The pool alone, which is linked into this program a second time: which thread runs which task, and who waits for whom. */
#define _GNU_SOURCE
#include <pthread.h>
#include <sched.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "../src/internal.h"
#include "suites.h"

enum { SLOTS_MOST = 64, PATIENCE_SECONDS = 20, LONG_NS = 1000 * 1000 /* wakes whoever sleeps */ };

typedef struct record {
    _Atomic int32_t runs;
    int32_t slot;
} record;

/* What a slot has seen, which only its thread touches. */
typedef struct seen {
    _Alignas(64) int64_t last, promised;
    int64_t count, guesses_wrong, previous_wrong;
} seen;

typedef struct tasks {
    int64_t count;
    record *records;
    seen slots[SLOTS_MOST];
    _Atomic int64_t done, bad_index;
    int32_t stuck_slot; /* whose first task lasts until all others but those of its grain are done; -1: nobody's */
    int64_t others;
    _Atomic int stuck, gave_up;
    double loiter, begun; /* seconds that the caller's first task waits for another, or 0; when it began */
} tasks;

static tasks *tasks_new(int64_t count) {
    tasks *t = aligned_alloc(64, (sizeof *t + 63) / 64 * 64);
    if (t == NULL)
        abort();
    memset(t, 0, sizeof *t);
    t->count = count;
    t->stuck_slot = -1;
    t->records = calloc((size_t)count + 1, sizeof *t->records);
    if (t->records == NULL)
        abort();
    for (int i = 0; i < SLOTS_MOST; i++)
        t->slots[i].last = t->slots[i].promised = -1;
    return t;
}

static void tasks_free(tasks *t) {
    free(t->records);
    free(t);
}

static double seconds(void) {
    struct timespec time;
    clock_gettime(CLOCK_MONOTONIC, &time);
    return (double)time.tv_sec + (double)time.tv_nsec * 1e-9;
}

/* Until that many are done, or the stuck slot has come. */
static void wait_for(tasks *t, int64_t done, bool or_stuck) {
    const double begin = seconds();
    while (atomic_load(&t->done) < done && !(or_stuck && atomic_load(&t->stuck))) {
        if (seconds() - begin > PATIENCE_SECONDS) {
            atomic_store(&t->gave_up, 1);
            return;
        }
        sched_yield();
    }
}

static void run(void *argument, const gatun__turn *turn) {
    tasks *t = argument;
    if (turn->index < 0 || turn->index >= t->count || turn->slot < 0 || turn->slot >= SLOTS_MOST) {
        atomic_fetch_add(&t->bad_index, 1);
        return;
    }
    seen *s = &t->slots[turn->slot];
    s->guesses_wrong += s->count > 0 && s->promised != turn->index;
    s->previous_wrong += s->last != turn->previous;
    s->last = turn->index;
    s->promised = turn->next;
    s->count++;
    t->records[turn->index].slot = turn->slot;
    atomic_fetch_add(&t->records[turn->index].runs, 1);
    if (turn->slot == 0 && s->count == 1 && t->loiter > 0) {
        t->begun = seconds();
        while (atomic_load(&t->done) == 0 && seconds() - t->begun < t->loiter)
            sched_yield();
    }
    if (turn->slot == t->stuck_slot && !atomic_exchange(&t->stuck, 1))
        wait_for(t, t->others, false);
    else if (t->stuck_slot >= 0) /* the late one shall have come before all is done */
        wait_for(t, t->count, true);
    atomic_fetch_add(&t->done, 1);
}

static gatun__pool *pool_of(int32_t threads) {
    gatun__pool *pool = NULL;
    CHECK_STATUS(gatun__pool_create(threads, &pool), GATUN_OK);
    return pool;
}

static void check_all_ran(const tasks *t, int64_t helped, const char *what) {
    int64_t wrong = 0, by_others = 0;
    for (int64_t i = 0; i < t->count; i++) {
        wrong += atomic_load(&t->records[i].runs) != 1;
        by_others += t->records[i].slot != 0;
    }
    CHECK(wrong == 0 && atomic_load(&t->bad_index) == 0,
        "%s: %lld of %lld tasks did not run once, %lld indices or slots out of range", what, (long long)wrong,
        (long long)t->count, (long long)atomic_load(&t->bad_index));
    CHECK(helped == by_others, "%s: %lld tasks helped, but slots say %lld", what, (long long)helped,
        (long long)by_others);
    for (int i = 0; i < SLOTS_MOST; i++)
        CHECK(t->slots[i].previous_wrong == 0, "%s, slot %d: previous is wrong %lld times", what, i,
            (long long)t->slots[i].previous_wrong);
}

/* Whatever the threads, tasks and grains: each task runs once. */
static void every_task_once(void) {
    static const int32_t threads[] = {1, 2, 3, 5, 40};
    static const int64_t counts[] = {0, 1, 2, 3, 7, 64, 1000, 10007}, grains[] = {1, 2, 3, 64};
    for (int p = 0; p < 5; p++) {
        gatun__pool *pool = pool_of(threads[p]);
        for (int n = 0; n < 8; n++)
            for (int g = 0; g < 4; g++)
                for (int32_t most = 1; most <= threads[p]; most += most < 3 ? 1 : 18)
                    for (int again = 0; again < (test_light() ? 1 : 10); again++) {
                        tasks *t = tasks_new(counts[n]);
                        char what[80];
                        snprintf(what, sizeof what, "%d of %d threads, %d tasks by %d", (int)most, (int)threads[p],
                            (int)counts[n], (int)grains[g]);
                        int64_t helped = gatun__pool_run_grains(pool, most, counts[n], grains[g], LONG_NS, run, t);
                        check_all_ran(t, helped, what);
                        for (int i = (int)most; i < SLOTS_MOST; i++)
                            CHECK(t->slots[i].count == 0, "%s: slot %d had work", what, i);
                        tasks_free(t);
                    }
        CHECK_STATUS(gatun__pool_destroy(pool), GATUN_OK);
    }
}

/* One thread has them in order, and always knows what comes next. */
static void in_order(void) {
    for (int with_pool = 0; with_pool < 2; with_pool++) {
        gatun__pool *pool = with_pool ? pool_of(3) : NULL;
        tasks *t = tasks_new(100);
        CHECK(gatun__pool_run(pool, 1, 100, LONG_NS, run, t) == 0, "one thread: helped");
        check_all_ran(t, 0, "one thread");
        CHECK(t->slots[0].guesses_wrong == 0 && t->slots[0].promised == -1 && t->slots[0].last == 99,
            "one thread: %d wrong guesses, the last task was %d", (int)t->slots[0].guesses_wrong,
            (int)t->slots[0].last);
        tasks_free(t);
        CHECK_STATUS(gatun__pool_destroy(pool), GATUN_OK);
    }
}

/* A thread that hangs in its first task loses the others of its share, from the end, to those who have run out. */
static void a_late_thread_holds_nobody_up(int32_t late, int64_t grain) {
    enum { COUNT = 120 };
    gatun__pool *pool = pool_of(2);
    for (int n = 0; n < (test_light() ? 10 : 100); n++) {
        tasks *t = tasks_new(COUNT);
        t->stuck_slot = late;
        t->others = COUNT - grain;
        int64_t helped = gatun__pool_run_grains(pool, 2, COUNT, grain, LONG_NS, run, t);
        check_all_ran(t, helped, "a late thread");
        CHECK(!atomic_load(&t->gave_up), "slot %d was waited for with tasks left, or never came", (int)late);
        /* of a share of 60 the first grain is its own, the rest came from the end: 119, 118 .. or 59, 58 .. */
        const seen *other = &t->slots[1 - late];
        const int64_t first = late * (COUNT / 2);
        CHECK(t->slots[late].count == grain && other->count == COUNT - grain, "the late one has run %d tasks",
            (int)t->slots[late].count);
        CHECK(other->last == first + 2 * grain - 1, "the last task that was taken is %d", (int)other->last);
        CHECK(other->guesses_wrong <= 2, "%d wrong guesses", (int)other->guesses_wrong);
        tasks_free(t);
    }
    CHECK_STATUS(gatun__pool_destroy(pool), GATUN_OK);
}

static void late_helper(void) {
    a_late_thread_holds_nobody_up(1, 1);
    a_late_thread_holds_nobody_up(1, 3);
}

static void late_caller(void) {
    a_late_thread_holds_nobody_up(0, 1);
    a_late_thread_holds_nobody_up(0, 3);
}

static void nap(long milliseconds) {
    nanosleep(&(struct timespec){0, milliseconds * 1000000}, NULL);
}

/* Workers that sleep are woken: some help with one of the calls that each last until somebody has helped. */
static void after_a_sleep(void) {
    gatun__pool *pool = pool_of(3);
    for (int n = 0; n < 5; n++) {
        nap(3);
        tasks *t = tasks_new(2);
        t->stuck_slot = 0;
        t->others = 1;
        int64_t helped = gatun__pool_run(pool, 2, 2, LONG_NS, run, t);
        check_all_ran(t, helped, "after a sleep");
        CHECK(helped == 1 && !atomic_load(&t->gave_up), "nobody came to help");
        tasks_free(t);
    }
    CHECK_STATUS(gatun__pool_destroy(pool), GATUN_OK);
}

/* The helpers of a call of two tasks and that much work, the first of which waits a while for the other. */
static int64_t helped_with(gatun__pool *pool, int64_t work_ns) {
    tasks *t = tasks_new(2);
    t->loiter = 0.005;
    const int64_t helped = gatun__pool_run(pool, 2, 2, work_ns, run, t);
    check_all_ran(t, helped, "little work");
    tasks_free(t);
    return helped;
}

enum { LITTLE_NS = 60 * 1000 }; /* two of them wake */

static void little_work_wakes_nobody(void) {
    gatun__pool *pool = pool_of(2);
    int64_t helped = 0, helped_long = 0;
    for (int n = 0; n < 5; n++) {
        nap(20);
        helped += helped_with(pool, LITTLE_NS);
    }
    for (int n = 0; n < 5; n++) {
        nap(20);
        helped_long += helped_with(pool, LONG_NS);
    }
    /* one: a worker that lost its CPU before it could go to sleep */
    CHECK(helped <= 1, "five calls of %d us, 20 ms apart, had %d helpers", LITTLE_NS / 1000, (int)helped);
    CHECK(helped_long > 0, "five calls of %d us had no helper", LONG_NS / 1000);
    CHECK_STATUS(gatun__pool_destroy(pool), GATUN_OK);
}

/* Calls that follow each other at once are one work. */
static void calls_in_a_row_wake(void) {
    gatun__pool *pool = pool_of(2);
    int in_a_row = 0;
    int64_t helped = 0;
    for (int attempt = 0; attempt < 50 && helped == 0; attempt++) {
        nap(20);
        tasks *first = tasks_new(2), *second = tasks_new(2);
        second->loiter = 0.005;
        helped += gatun__pool_run(pool, 2, 2, LITTLE_NS, run, first);
        const double end = seconds();
        helped += gatun__pool_run(pool, 2, 2, LITTLE_NS, run, second);
        in_a_row += second->begun - end < 50e-6; /* unless this thread lost its CPU meanwhile */
        tasks_free(first);
        tasks_free(second);
    }
    CHECK(
        helped > 0 || in_a_row == 0, "%d times two calls of %d us in a row had no helper", in_a_row, LITTLE_NS / 1000);
    CHECK_STATUS(gatun__pool_destroy(pool), GATUN_OK);
}

static double cpu_seconds(void) {
    struct timespec time;
    clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &time);
    return (double)time.tv_sec + (double)time.tv_nsec * 1e-9;
}

/* Workers look for the next call for a while only. */
static void idle_workers_sleep(void) {
    gatun__pool *pool = pool_of(5);
    tasks *t = tasks_new(1000);
    gatun__pool_run(pool, 5, 1000, LONG_NS, run, t);
    const double begin = cpu_seconds();
    nap(200);
    const double used = cpu_seconds() - begin;
    CHECK(used < 0.05, "four idle workers took %.0f ms of CPU in 200 ms", used * 1e3);
    tasks_free(t);
    CHECK_STATUS(gatun__pool_destroy(pool), GATUN_OK);
}

/* ---- two callers, one worker ---- */

typedef struct nested {
    gatun__pool *pool;
    tasks *inner;
    int64_t helped;
} nested;

static void *inner_call(void *argument) {
    nested *n = argument;
    n->helped = gatun__pool_run(n->pool, 2, n->inner->count, LONG_NS, run, n->inner);
    return NULL;
}

static void call_another(void *argument, const gatun__turn *turn) {
    nested *n = (nested *)argument + turn->index;
    pthread_t thread;
    int failed = pthread_create(&thread, NULL, inner_call, n);
    REQUIRE(failed == 0, "pthread_create");
    pthread_join(thread, NULL);
}

/* A call that ends while another is open leaves the other's open slots as they are. */
static void slots_of_other_calls(void) {
    gatun__pool *pool = pool_of(2);
    for (int n = 0; n < (test_light() ? 20 : 200); n++) {
        nested inner[2] = {{.pool = pool, .inner = tasks_new(50)}, {.pool = pool, .inner = tasks_new(2)}};
        gatun__pool_run(pool, 2, 2, LONG_NS, call_another, inner);
        for (int i = 0; i < 2; i++) {
            check_all_ran(inner[i].inner, inner[i].helped, "another's call");
            tasks_free(inner[i].inner);
        }
    }
    tasks *t = tasks_new(2); /* the worker still comes */
    t->stuck_slot = 0;
    t->others = 1;
    CHECK(gatun__pool_run(pool, 2, 2, LONG_NS, run, t) == 1 && !atomic_load(&t->gave_up),
        "nobody came to help afterwards");
    tasks_free(t);
    CHECK_STATUS(gatun__pool_destroy(pool), GATUN_OK);
}

/* ---- the end of a pool ---- */

typedef struct tail {
    gatun__pool *pool;
    _Atomic int helper_came, caller_done, release;
} tail;

static void wait_until(const _Atomic int *set) {
    const double begin = seconds();
    while (!atomic_load(set) && seconds() - begin < 2)
        sched_yield();
}

/* The caller's task ends as soon as the helper has one, which lasts. */
static void last_task(void *argument, const gatun__turn *turn) {
    tail *t = argument;
    if (turn->slot == 0) {
        wait_until(&t->helper_came);
        atomic_store(&t->caller_done, 1);
    } else {
        atomic_store(&t->helper_came, 1);
        wait_until(&t->release);
    }
}

static void *call_with_tail(void *argument) {
    tail *t = argument;
    gatun__pool_run(t->pool, 2, 2, LONG_NS, last_task, t);
    return NULL;
}

/* A caller that has no task left, but waits for its helper, still uses the pool. */
static void in_use_until_the_last_helper(void) {
    tail t = {.pool = pool_of(2)};
    pthread_t thread;
    int failed = pthread_create(&thread, NULL, call_with_tail, &t);
    REQUIRE(failed == 0, "pthread_create");
    wait_until(&t.caller_done);
    nap(5);
    CHECK(atomic_load(&t.helper_came), "no helper came");
    int32_t status = gatun__pool_destroy(t.pool);
    CHECK(status == GATUN_E_STATE, "destroyed while a caller waits for its helper: %s", gatun_status_string(status));
    atomic_store(&t.release, 1);
    pthread_join(thread, NULL);
    CHECK(gatun__pool_helped(t.pool) == 1, "%d tasks helped", (int)gatun__pool_helped(t.pool));
    CHECK_STATUS(gatun__pool_destroy(t.pool), GATUN_OK);
}

const test_case pool_tests[] = {{"every_task_once", every_task_once}, {"in_order", in_order},
    {"late_helper", late_helper}, {"late_caller", late_caller}, {"after_a_sleep", after_a_sleep},
    {"idle_workers_sleep", idle_workers_sleep}, {"little_work_wakes_nobody", little_work_wakes_nobody},
    {"calls_in_a_row_wake", calls_in_a_row_wake}, {"slots_of_other_calls", slots_of_other_calls},
    {"in_use_until_the_last_helper", in_use_until_the_last_helper}, {NULL, NULL}};

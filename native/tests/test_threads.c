/* Many threads on one context, contexts that come and go, fork, counters. */
#define _GNU_SOURCE
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "placement.h"
#include "suites.h"

#if defined(__SANITIZE_THREAD__)
#define THREADS_AFTER_FORK 0 /* which its run-time library does not support */
#else
#define THREADS_AFTER_FORK 1
#endif

static int32_t best_tier(void) {
    int32_t tiers[MAX_TIERS];
    return tiers[test_tiers(tiers) - 1];
}

static gatun_info info_of(gatun_context *context) {
    gatun_info info = {.struct_size = sizeof info};
    CHECK_STATUS(gatun_context_info(context, &info), GATUN_OK);
    return info;
}

/* A call with everything it needs, for a thread of its own. */
typedef struct caller {
    gatun_context *context;
    problem p;
    gatun_attention_desc desc;
    void *workspace;
    int64_t workspace_size;
    outcome got;
    outcome want;
    int repetitions;
    int32_t status; /* the first that is not GATUN_OK */
    int differing;
    _Atomic int finished;
    pthread_t thread;
} caller;

static void caller_create(caller *c, gatun_context *context, const problem *p, int repetitions) {
    memset(c, 0, sizeof *c);
    c->context = context;
    c->p = *p;
    c->desc = default_desc(p);
    c->desc.lse_stride[0] = p->seq_q * p->heads;
    c->desc.lse_stride[1] = p->heads;
    c->desc.lse_stride[2] = 1;
    c->workspace = new_workspace(context, &c->desc, &c->workspace_size);
    c->repetitions = repetitions;
    outcome_create(&c->got, p);
}

static void caller_destroy(caller *c) {
    free(c->workspace);
    outcome_free(&c->got);
}

static int32_t call_once(caller *c) {
    return gatun_attention_forward(c->context, &c->desc, c->workspace, c->workspace_size, c->p.q, c->p.k, c->p.v,
        c->p.key_lengths, c->p.query_lengths, c->got.out, c->got.lse);
}

static void *call_repeatedly(void *argument) {
    caller *c = argument;
    for (int i = 0; i < c->repetitions && c->status == GATUN_OK; i++) {
        memset(c->got.out, 0xff, sizeof(float) * (size_t)out_elements(&c->p));
        memset(c->got.lse, 0xff, sizeof(float) * (size_t)lse_elements(&c->p));
        c->status = call_once(c);
        c->differing += c->want.out != NULL && !(same_bits(c->got.out, c->want.out, out_elements(&c->p)) &&
                                                   same_bits(c->got.lse, c->want.lse, lse_elements(&c->p)));
    }
    atomic_store(&c->finished, 1);
    return NULL;
}

enum { CALLERS = 64 };

static void many_callers(void) {
    static const int64_t seq[] = {1, 17, 64, 130, 300};
    static caller callers[CALLERS];
    int32_t tiers[MAX_TIERS];
    int tier_count = test_tiers(tiers);
    for (int t = 0; t < tier_count; t++) {
        gatun_context *context = new_context(tiers[t], 4);
        REQUIRE(context != NULL, "no context");
        problem problems[5];
        outcome want[5];
        for (int n = 0; n < 5; n++) {
            /* one row over keys in parts */
            problems[n] = new_problem(2, 4, 2, seq[n], seq[n] == 1 ? 4200 : 150, test_light() ? 4 : 32, n % 3);
            outcome_create(&want[n], &problems[n]);
            run_problem(&problems[n], tiers[t], 1, &want[n], "alone");
        }
        for (int n = 0; n < CALLERS; n++) {
            caller_create(&callers[n], context, &problems[n % 5], test_light() ? 3 : 100);
            callers[n].want = want[n % 5];
        }
        for (int n = 0; n < CALLERS; n++) {
            int failed = pthread_create(&callers[n].thread, NULL, call_repeatedly, &callers[n]);
            REQUIRE(failed == 0, "pthread_create: %s", strerror(failed));
        }
        for (int n = 0; n < CALLERS; n++) {
            pthread_join(callers[n].thread, NULL);
            CHECK(callers[n].status == GATUN_OK, "%s, thread %d: %s", gatun_tier_name(tiers[t]), n,
                gatun_status_string(callers[n].status));
            CHECK(callers[n].differing == 0,
                "%s, thread %d: %d of %d results differ in bits from those of a call alone", gatun_tier_name(tiers[t]),
                n, callers[n].differing, callers[n].repetitions);
            caller_destroy(&callers[n]);
        }
        gatun_info info = info_of(context);
        CHECK(info.calls == (uint64_t)(CALLERS * callers[0].repetitions), "calls: expected %d, got %llu",
            CALLERS * callers[0].repetitions, (unsigned long long)info.calls);
        for (int n = 0; n < 5; n++) {
            outcome_free(&want[n]);
            problem_free(&problems[n]);
        }
        CHECK_STATUS(gatun_context_destroy(context), GATUN_OK);
    }
}

static void counters(void) {
    gatun_context *context = new_context(best_tier(), 3);
    REQUIRE(context != NULL, "no context");
    const int64_t seq = test_light() ? 96 : 256;
    problem p = new_problem(2, 8, 8, seq, seq, 64, GATUN_CAUSAL_NONE);
    caller c;
    caller_create(&c, context, &p, 1);
    gatun_info before = info_of(context);
    for (uint64_t n = 1; n <= 200; n++) {
        CHECK_STATUS(call_once(&c), GATUN_OK);
        gatun_info after = info_of(context);
        CHECK(after.calls == n, "calls: expected %d, got %d", (int)n, (int)after.calls);
        CHECK(after.tasks > before.tasks, "tasks: %d after %d", (int)after.tasks, (int)before.tasks);
        CHECK(after.tasks_helped >= before.tasks_helped && after.tasks_helped <= after.tasks,
            "tasks_helped: %d after %d of %d tasks", (int)after.tasks_helped, (int)before.tasks_helped,
            (int)after.tasks);
        CHECK(after.blocks_redone == 0, "blocks_redone: %d, though all results are finite", (int)after.blocks_redone);
        before = after;
        if (n >= 5 && after.tasks_helped > 0) {
            break;
        }
    }
    CHECK(before.tasks_helped > 0, "no worker has helped with any of %d calls of %d tasks", (int)before.calls,
        (int)(before.tasks / before.calls));
    /* with one thread nobody helps */
    c.desc.max_threads = 1;
    uint64_t helped = before.tasks_helped;
    for (int i = 0; i < 20; i++) {
        CHECK_STATUS(call_once(&c), GATUN_OK);
    }
    CHECK(info_of(context).tasks_helped == helped, "max_threads = 1: a worker has helped");
    /* a refused call is no call */
    uint64_t calls = info_of(context).calls;
    c.desc.heads = 0;
    call_once(&c);
    CHECK(info_of(context).calls == calls, "a refused call was counted");
    caller_destroy(&c);
    problem_free(&p);
    CHECK_STATUS(gatun_context_destroy(context), GATUN_OK);
}

static void create_and_destroy(void) {
    problem p = new_problem(1, 8, 8, 64, 64, 16, GATUN_CAUSAL_NONE);
    for (int i = 0; i < (test_light() ? 20 : 300); i++) {
        gatun_context *context = new_context(best_tier(), 1 + i % 6);
        REQUIRE(context != NULL, "no context");
        if (i % 3 != 0) {
            caller c;
            caller_create(&c, context, &p, 1);
            CHECK_STATUS(call_once(&c), GATUN_OK);
            caller_destroy(&c);
        }
        CHECK_STATUS(gatun_context_destroy(context), GATUN_OK);
    }
    problem_free(&p);
}

static void several_contexts(void) {
    enum { CONTEXTS = 4 };
    problem p = new_problem(2, 4, 4, 100, 100, 32, GATUN_CAUSAL_BOTTOM_RIGHT);
    outcome want;
    outcome_create(&want, &p);
    run_problem(&p, best_tier(), 1, &want, "alone");
    static caller callers[CONTEXTS];
    for (int n = 0; n < CONTEXTS; n++) {
        caller_create(&callers[n], new_context(best_tier(), 2 + n), &p, test_light() ? 10 : 200);
        callers[n].want = want;
        pthread_create(&callers[n].thread, NULL, call_repeatedly, &callers[n]);
    }
    for (int n = 0; n < CONTEXTS; n++) {
        pthread_join(callers[n].thread, NULL);
        CHECK(callers[n].status == GATUN_OK && callers[n].differing == 0, "context %d: %s, %d results differ", n,
            gatun_status_string(callers[n].status), callers[n].differing);
        CHECK_STATUS(gatun_context_destroy(callers[n].context), GATUN_OK);
        caller_destroy(&callers[n]);
    }
    outcome_free(&want);
    problem_free(&p);
}

static void sleep_milliseconds(long milliseconds) {
    struct timespec time = {milliseconds / 1000, milliseconds % 1000 * 1000000};
    nanosleep(&time, NULL);
}

/* A race by intention: looks at memory that a call is writing. */
__attribute__((no_sanitize("thread"))) static bool is_written(const volatile float *out, int64_t count) {
    for (int64_t i = 0; i < count; i++) {
        if (out[i] == out[i]) {
            return true;
        }
    }
    return false;
}

/*
 * While a call runs the context cannot be destroyed, and is usable afterwards. The first result that appears shows
 * that the call runs.
 */
static void destroy_while_running(void) {
    bool seen = false;
    for (int64_t batch = 4; batch <= 64 && !seen; batch *= 4) {
        problem p = new_problem(batch, 8, 8, 300, 300, 64, GATUN_CAUSAL_NONE);
        gatun_context *context = new_context(GATUN_TIER_PORTABLE, 2);
        REQUIRE(context != NULL, "no context");
        caller c;
        caller_create(&c, context, &p, 1);
        memset(c.got.out, 0xff, sizeof(float) * (size_t)out_elements(&p));
        pthread_create(&c.thread, NULL, call_repeatedly, &c);
        while (!is_written(c.got.out, out_elements(&p)) && !atomic_load(&c.finished)) {
            sleep_milliseconds(1);
        }
        int32_t status = atomic_load(&c.finished) ? GATUN_OK : gatun_context_destroy(context);
        bool running = !atomic_load(&c.finished);
        seen = status == GATUN_E_STATE;
        CHECK(seen || (status == GATUN_OK && !running), "destroy during a call: %s", gatun_status_string(status));
        pthread_join(c.thread, NULL);
        CHECK(c.status == GATUN_OK, "the call during which the context should be destroyed: %s",
            gatun_status_string(c.status));
        if (seen) {
            c.desc.seq_q = 20;
            CHECK_STATUS(call_once(&c), GATUN_OK);
            CHECK_STATUS(gatun_context_destroy(context), GATUN_OK);
        }
        caller_destroy(&c);
        problem_free(&p);
    }
    CHECK(seen, "no attempt found the context in use");
}

/* ---- fork ---- */

static void no_sgemm(void) {
}

/* In the child: the number of the first thing that is not as it should be, or 0. */
static int in_child(caller *c) {
    memset(c->got.out, 0x5a, sizeof(float) * (size_t)out_elements(&c->p));
    if (call_once(c) != GATUN_E_STATE) {
        return 1;
    }
    for (int64_t i = 0; i < out_elements(&c->p) * (int64_t)sizeof(float); i++) {
        if (((uint8_t *)c->got.out)[i] != 0x5a) {
            return 2;
        }
    }
    int64_t bytes;
    if (gatun_attention_workspace_size(c->context, &c->desc, &bytes) != GATUN_E_STATE) {
        return 3;
    }
    if (gatun_attention_check(c->context, &c->desc, NULL, 0) != GATUN_E_STATE) {
        return 4;
    }
    if (gatun_attention_forward_extended(c->context, &c->desc, c->workspace, c->workspace_size, c->p.q, c->p.k, c->p.v,
            NULL, NULL, c->got.out, c->got.lse, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL,
            NULL, NULL, NULL) != GATUN_E_STATE) {
        return 5;
    }
    gatun_sgemm_desc product = {
        .struct_size = sizeof product, .m = 2, .n = 2, .k = 2, .lda = 2, .ldb = 2, .ldc = 2, .alpha = 1};
    float matrix[12] = {0};
    if (gatun_sgemm(c->context, &product, (const void *)(uintptr_t)no_sgemm, matrix, matrix + 4, matrix + 8) !=
        GATUN_E_STATE) {
        return 6;
    }
    double rate;
    if (gatun_peak_f32(c->context, 1000, &rate) != GATUN_E_STATE) {
        return 7;
    }
    gatun_info info = {.struct_size = sizeof info};
    if (gatun_context_info(c->context, &info) != GATUN_E_STATE) {
        return 8;
    }
    if (gatun_context_destroy(c->context) != GATUN_E_STATE) {
        return 9;
    }
    if (!THREADS_AFTER_FORK) {
        return 0;
    }
    gatun_config config = {.struct_size = sizeof config, .threads = 3};
    gatun_context *own = NULL;
    if (gatun_context_create(&config, &own, NULL, 0) != GATUN_OK) {
        return 10;
    }
    caller again;
    caller_create(&again, own, &c->p, 1);
    if (call_once(&again) != GATUN_OK || !same_bits(again.got.out, c->want.out, out_elements(&c->p))) {
        return 11;
    }
    caller_destroy(&again);
    return gatun_context_destroy(own) == GATUN_OK ? 0 : 12;
}

static void forked_child(void) {
    static const char *const what[] = {"", "gatun_attention_forward", "gatun_attention_forward wrote to out",
        "gatun_attention_workspace_size", "gatun_attention_check", "gatun_attention_forward_extended", "gatun_sgemm",
        "gatun_peak_f32", "gatun_context_info", "gatun_context_destroy",
        "gatun_context_create for a context of its own", "a call on a context of its own",
        "gatun_context_destroy of its own context"};
    problem p = new_problem(2, 4, 4, 60, 60, 32, GATUN_CAUSAL_NONE);
    gatun_config config = {.struct_size = sizeof config, .threads = 3};
    gatun_context *context = NULL;
    REQUIRE_STATUS(gatun_context_create(&config, &context, NULL, 0), GATUN_OK);
    caller c;
    caller_create(&c, context, &p, 1);
    outcome_create(&c.want, &p);
    CHECK_STATUS(call_once(&c), GATUN_OK);
    memcpy(c.want.out, c.got.out, sizeof(float) * (size_t)out_elements(&p));
    fflush(stdout);
    pid_t child = fork();
    if (child == 0) {
        alarm(60);
        _exit(in_child(&c));
    }
    int state = 0;
    REQUIRE(child > 0 && waitpid(child, &state, 0) == child, "fork failed");
    CHECK(!WIFSIGNALED(state), "the child got signal %d", WTERMSIG(state));
    int failed = WIFEXITED(state) ? WEXITSTATUS(state) : 0;
    CHECK(failed == 0, "in a forked child: expected %s of %s", failed < 10 ? "GATUN_E_STATE" : "success",
        failed < 13 ? what[failed] : "?");
    /* the parent goes on as before */
    CHECK_STATUS(call_once(&c), GATUN_OK);
    CHECK(same_bits(c.want.out, c.got.out, out_elements(&p)), "after a fork, other bits");
    outcome_free(&c.want);
    caller_destroy(&c);
    CHECK_STATUS(gatun_context_destroy(context), GATUN_OK);
    problem_free(&p);
}

/* ---- signals: the process's handlers never run on a worker ---- */

static pthread_t main_thread;
static _Atomic int signals_seen, signals_elsewhere;

static void count_signal(int number) {
    (void)number;
    atomic_fetch_add(&signals_seen, 1);
    if (!pthread_equal(pthread_self(), main_thread)) {
        atomic_fetch_add(&signals_elsewhere, 1);
    }
}

static void signals(void) {
    main_thread = pthread_self();
    gatun_context *context = new_context(best_tier(), 4);
    REQUIRE(context != NULL, "no context");
    struct sigaction action = {.sa_handler = count_signal, .sa_flags = SA_RESTART};
    struct sigaction old;
    sigaction(SIGUSR1, &action, &old);
    sigset_t usr1;
    sigset_t mask;
    sigset_t mask_after;
    sigemptyset(&usr1);
    sigaddset(&usr1, SIGUSR1);
    /* while the main thread blocks the signal a worker would have to take it, if it could */
    pthread_sigmask(SIG_BLOCK, &usr1, &mask);
    kill(getpid(), SIGUSR1);
    sleep_milliseconds(50);
    CHECK(atomic_load(&signals_seen) == 0, "a worker took a signal of the process");
    pthread_sigmask(SIG_SETMASK, &mask, NULL);
    sleep_milliseconds(1);
    CHECK(atomic_load(&signals_seen) == 1 && atomic_load(&signals_elsewhere) == 0, "%d signals, %d of them elsewhere",
        atomic_load(&signals_seen), atomic_load(&signals_elsewhere));
    gatun_context *other = new_context(best_tier(), 4);
    pthread_sigmask(SIG_SETMASK, NULL, &mask_after);
    for (int number = 1; number < 32; number++) {
        CHECK(sigismember(&mask, number) == sigismember(&mask_after, number),
            "gatun_context_create changed the caller's mask for signal %d", number);
    }
    CHECK_STATUS(gatun_context_destroy(other), GATUN_OK);
    sigaction(SIGUSR1, &old, NULL);
    CHECK_STATUS(gatun_context_destroy(context), GATUN_OK);
}

const test_case threads_tests[] = {{"many_callers", many_callers}, {"counters", counters},
    {"create_and_destroy", create_and_destroy}, {"several_contexts", several_contexts},
    {"destroy_while_running", destroy_while_running}, {"forked_child", forked_child}, {"signals", signals},
    {NULL, NULL}};

#define _GNU_SOURCE
#include "harness.h"

#include <pthread.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "guarded.h"

#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
#define SANITIZED 1 /* whose own crash report is better than ours */
#else
#define SANITIZED 0
#endif

#define MESSAGES_PER_TEST 10

static struct {
    uint64_t seed;
    int64_t only_case;
    bool full;
    bool light;
    const char *test;
    char note[512];
    int failures;
    int passed_tests;
    int failed_tests;
    pthread_mutex_t lock;
} harness = {.only_case = -1, .lock = PTHREAD_MUTEX_INITIALIZER};

static gatun_context *contexts[16];

uint64_t test_seed(void) {
    return harness.seed;
}

bool test_full(void) {
    return harness.full;
}

bool test_light(void) {
    return harness.light;
}

int test_failures(void) {
    pthread_mutex_lock(&harness.lock);
    int failures = harness.failures;
    pthread_mutex_unlock(&harness.lock);
    return failures;
}

void test_note(const char *format, ...) {
    va_list arguments;
    va_start(arguments, format);
    pthread_mutex_lock(&harness.lock);
    vsnprintf(harness.note, sizeof harness.note, format, arguments);
    pthread_mutex_unlock(&harness.lock);
    va_end(arguments);
}

bool test_wants_case(int64_t number) {
    return harness.only_case < 0 || harness.only_case == number;
}

void test_fail(const char *file, int line, const char *format, ...) {
    va_list arguments;
    va_start(arguments, format);
    pthread_mutex_lock(&harness.lock);
    harness.failures++;
    if (harness.failures <= MESSAGES_PER_TEST) {
        printf("FAIL %s: ", harness.test);
        vprintf(format, arguments);
        printf("\n     at %s:%d, GATUN_TEST_SEED=%llu%s%s\n", file, line, (unsigned long long)harness.seed,
            harness.note[0] != '\0' ? ", " : "", harness.note);
        if (harness.failures == MESSAGES_PER_TEST) {
            printf("     (further failures of %s are counted, not printed)\n", harness.test);
        }
        fflush(stdout);
    }
    pthread_mutex_unlock(&harness.lock);
    va_end(arguments);
}

void *test_allocate(int64_t bytes) {
    void *memory = malloc(bytes > 0 ? (size_t)bytes : 1);
    if (memory == NULL) {
        fprintf(stderr, "no memory for %lld bytes\n", (long long)bytes);
        exit(1);
    }
    return memory;
}

/* ---- tiers and contexts ---- */

int test_tiers(int32_t tiers[MAX_TIERS]) {
    const char *only = getenv("GATUN_ISA");
    int count = 0;
    for (int32_t tier = GATUN_TIER_PORTABLE; tier <= GATUN_TIER_AVX512; tier++) {
        bool wanted =
            only == NULL || *only == '\0' || strcmp(only, "auto") == 0 || strcmp(only, gatun_tier_name(tier)) == 0;
        if (wanted && gatun_tier_available(tier) == GATUN_OK && count < MAX_TIERS) {
            tiers[count++] = tier;
        }
    }
    if (count == 0) {
        test_fail(__FILE__, __LINE__, "no tier to test (GATUN_ISA=%s)", only != NULL ? only : "");
    }
    return count;
}

gatun_context *new_context(int32_t tier, int32_t threads) {
    gatun_config config = {.struct_size = sizeof config, .threads = threads, .tier = tier};
    gatun_context *context = NULL;
    char message[256] = "";
    int32_t status = gatun_context_create(&config, &context, message, sizeof message);
    if (status != GATUN_OK) {
        test_fail(__FILE__, __LINE__, "gatun_context_create(tier %s, %d threads): %s: %s", gatun_tier_name(tier),
            (int)threads, gatun_status_string(status), message);
        return NULL;
    }
    return context;
}

gatun_context *shared_context(int32_t tier) {
    if (contexts[tier] == NULL) {
        contexts[tier] = new_context(tier, SHARED_THREADS);
        if (contexts[tier] == NULL) {
            printf("%d passed, %d failed\n", harness.passed_tests, harness.failed_tests + 1);
            exit(1);
        }
    }
    return contexts[tier];
}

static void destroy_contexts(void) {
    for (size_t i = 0; i < sizeof contexts / sizeof *contexts; i++) {
        if (contexts[i] != NULL && gatun_context_destroy(contexts[i]) != GATUN_OK) {
            printf("gatun_context_destroy of a shared context failed\n");
        }
        contexts[i] = NULL;
    }
}

/* ---- a crash ends the program with what was tried, and with the usual last line ---- */

static char crash_stack[65536];

static void crash_write(const char *text) {
    size_t done = 0;
    size_t length = strlen(text);
    while (done < length) {
        ssize_t written = write(STDOUT_FILENO, text + done, length - done);
        if (written <= 0) {
            return;
        }
        done += (size_t)written;
    }
}

static void crash_handler(int number, siginfo_t *info, void *machine) {
    (void)machine;
    char text[1024];
    char place[160];
    guarded_describe(info->si_addr, place, sizeof place);
    /* snprintf is not on the list of async-signal-safe functions, but glibc's allocates nothing for these formats */
    snprintf(text, sizeof text,
        "FAIL %s: signal %d at address %p%s%s\n     GATUN_TEST_SEED=%llu%s%s\n%d passed, %d failed\n", harness.test,
        number, info->si_addr, place[0] != '\0' ? ": " : "", place, (unsigned long long)harness.seed,
        harness.note[0] != '\0' ? ", " : "", harness.note, harness.passed_tests, harness.failed_tests + 1);
    crash_write(text);
    _exit(1);
}

static void catch_crashes(void) {
    if (SANITIZED) {
        return;
    }
    stack_t stack = {.ss_sp = crash_stack, .ss_size = sizeof crash_stack};
    sigaltstack(&stack, NULL);
    struct sigaction action = {.sa_sigaction = crash_handler, .sa_flags = SA_SIGINFO | SA_ONSTACK};
    static const int signals[] = {SIGSEGV, SIGBUS, SIGILL, SIGFPE, SIGABRT};
    for (size_t i = 0; i < sizeof signals / sizeof *signals; i++) {
        sigaction(signals[i], &action, NULL);
    }
}

/* ---- main ---- */

static double seconds(void) {
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (double)now.tv_sec + 1e-9 * (double)now.tv_nsec;
}

static bool selected(const char *name, int filters, char **filter) {
    for (int i = 0; i < filters; i++) {
        if (strstr(name, filter[i]) != NULL) {
            return true;
        }
    }
    return filters == 0;
}

static void run_test(const char *name, const test_case *test) {
    harness.test = name;
    harness.failures = 0;
    harness.note[0] = '\0';
    double start = seconds();
    test->run();
    if (harness.failures == 0) {
        harness.passed_tests++;
        printf("ok   %s (%.2f s)\n", name, seconds() - start);
    } else {
        harness.failed_tests++;
        printf("FAIL %s: %d failures (%.2f s)\n", name, harness.failures, seconds() - start);
    }
    fflush(stdout);
}

static int usage(const char *program) {
    fprintf(stderr, "usage: %s [--list] [--full] [substring of a test's name ...]\n", program);
    return 2;
}

int test_main(int argc, char **argv, const test_suite *suites) {
    bool list = false;
    int filters = 0;
    char **filter = test_allocate((int64_t)sizeof(char *) * argc);
    for (int i = 1; i < argc; i++) {
        if (strcmp(argv[i], "--list") == 0) {
            list = true;
        } else if (strcmp(argv[i], "--full") == 0) {
            harness.full = true;
        } else if (argv[i][0] == '-') {
            free(filter);
            return usage(argv[0]);
        } else {
            filter[filters++] = argv[i];
        }
    }
    const char *seed = getenv("GATUN_TEST_SEED");
    const char *only = getenv("GATUN_TEST_CASE");
    const char *light = getenv("GATUN_TEST_LIGHT");
    harness.seed = seed != NULL && *seed != '\0' ? strtoull(seed, NULL, 0) : 20170612u;
    harness.only_case = only != NULL && *only != '\0' ? strtoll(only, NULL, 0) : -1;
    harness.light = light != NULL && *light != '\0' && strcmp(light, "0") != 0;
    if (!list) {
        printf("gatun %s, GATUN_TEST_SEED=%llu%s%s\n", gatun_version(), (unsigned long long)harness.seed,
            harness.light ? ", light" : "", harness.full ? ", full" : "");
        fflush(stdout);
        catch_crashes();
    }
    for (const test_suite *suite = suites; suite->name != NULL; suite++) {
        if (strcmp(suite->name, "full") == 0 && !harness.full) {
            continue;
        }
        for (const test_case *test = suite->cases; test->name != NULL; test++) {
            char name[128];
            snprintf(name, sizeof name, "%s.%s", suite->name, test->name);
            if (!selected(name, filters, filter)) {
                continue;
            }
            if (list) {
                printf("%s\n", name);
            } else {
                run_test(name, test);
            }
        }
    }
    free(filter);
    destroy_contexts();
    if (!list) {
        printf("%d passed, %d failed\n", harness.passed_tests, harness.failed_tests);
    }
    return harness.failed_tests > 0 || (!list && harness.passed_tests == 0) ? 1 : 0;
}

/*
 * A small test harness. A suite is a table of named tests; harness.c lists the suites and holds main.
 *
 *     gatun-tests [--list] [--full] [substring of a test's name ...]
 *
 * The last line of the output is "N passed, M failed"; the exit status is 1 if M > 0. Environment:
 *     GATUN_TEST_SEED      seed of all random data (printed with every failure)
 *     GATUN_TEST_CASE      of the numbered cases of a test run this one only (its number is in the failure's message)
 *     GATUN_TEST_LIGHT     1 = about a tenth of the cases, for runs under valgrind, an emulator or a sanitizer
 *     GATUN_TEST_FEATURES  a sum of GATUN_FEATURE_* that the CPU is to have
 *     GATUN_ISA            test this tier only
 */
#ifndef GATUN_TESTS_HARNESS_H
#define GATUN_TESTS_HARNESS_H

#include <stdbool.h>
#include <stdint.h>

#include "gatun.h"
#include "random.h"

typedef struct test_case {
    const char *name;
    void (*run)(void);
} test_case;

typedef struct test_suite {
    const char *name;
    const test_case *cases; /* ends with a NULL name */
} test_suite;

/* main of a test program, for the suites up to one with a NULL name; one named "full" is run with --full only */
int test_main(int argc, char **argv, const test_suite *suites);

/* Records a failure of the running test, which goes on. May be called from any thread. */
void test_fail(const char *file, int line, const char *format, ...) __attribute__((format(printf, 3, 4)));

/* Failures of the running test so far. */
int test_failures(void);

/* Says what is being tried now: printed with a failure, and when the program crashes. "" ends it. */
void test_note(const char *format, ...) __attribute__((format(printf, 1, 2)));

#define CHECK(condition, ...)                                                                                          \
    do {                                                                                                               \
        if (!(condition)) {                                                                                            \
            test_fail(__FILE__, __LINE__, __VA_ARGS__);                                                                \
        }                                                                                                              \
    } while (0)

/* CHECK that leaves the function */
#define REQUIRE(condition, ...)                                                                                        \
    do {                                                                                                               \
        if (!(condition)) {                                                                                            \
            test_fail(__FILE__, __LINE__, __VA_ARGS__);                                                                \
            return;                                                                                                    \
        }                                                                                                              \
    } while (0)

#define CHECK_STATUS(call, expected)                                                                                   \
    do {                                                                                                               \
        int32_t status_ = (call);                                                                                      \
        CHECK(status_ == (expected), "%s: expected %s, got %d (%s)", #call, #expected, (int)status_,                   \
            gatun_status_string(status_));                                                                             \
    } while (0)

#define REQUIRE_STATUS(call, expected)                                                                                 \
    do {                                                                                                               \
        int32_t status_ = (call);                                                                                      \
        REQUIRE(status_ == (expected), "%s: expected %s, got %d (%s)", #call, #expected, (int)status_,                 \
            gatun_status_string(status_));                                                                             \
    } while (0)

uint64_t test_seed(void);
bool test_full(void);
bool test_light(void);

/* Whether numbered case number is wanted; notes it. */
bool test_wants_case(int64_t number);

/* malloc that ends the program when there is no memory; 0 bytes give a pointer too */
void *test_allocate(int64_t bytes);

/* ---- tiers and contexts ---- */

#define MAX_TIERS 4

/* Stores the tiers to test, best last, and returns their number: all that are available, or GATUN_ISA's. */
int test_tiers(int32_t tiers[MAX_TIERS]);

#define SHARED_THREADS 5

/* A context of this tier with SHARED_THREADS threads, made when first asked for and destroyed at the end. */
gatun_context *shared_context(int32_t tier);

/*
 * A context of this tier with this number of threads, the caller's to destroy; NULL (and a failure) if there is
 * none.
 */
gatun_context *new_context(int32_t tier, int32_t threads);

#endif

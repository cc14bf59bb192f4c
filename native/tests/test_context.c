/* Version, status texts, tiers, contexts and their configuration, GATUN_ISA, info, peak, memory. */
#define _GNU_SOURCE
#include <dirent.h>
#include <sched.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "harness.h"
#include "suites.h"

static void names(void) {
    char version[32];
    snprintf(version, sizeof version, "%d.%d.%d", GATUN_VERSION_MAJOR, GATUN_VERSION_MINOR, GATUN_VERSION_PATCH);
    CHECK(strcmp(gatun_version(), version) == 0, "gatun_version: expected %s, got %s", version, gatun_version());
    CHECK(gatun_abi() == GATUN_ABI, "gatun_abi: expected %d, got %d", GATUN_ABI, (int)gatun_abi());
    for (int32_t status = GATUN_E_INDEX; status <= GATUN_OK; status++) {
        const char *text = gatun_status_string(status);
        REQUIRE(text != NULL, "status %d has no text", (int)status);
        CHECK(*text != '\0' && strcmp(text, "unknown status") != 0, "status %d: \"%s\"", (int)status, text);
        for (int32_t other = GATUN_E_INDEX; other < status; other++) {
            CHECK(strcmp(text, gatun_status_string(other)) != 0, "statuses %d and %d: \"%s\"", (int)status, (int)other,
                text);
        }
    }
    static const int32_t unknown[] = {1, GATUN_E_INDEX - 1, INT32_MAX, INT32_MIN};
    for (size_t i = 0; i < sizeof unknown / sizeof *unknown; i++) {
        CHECK(strcmp(gatun_status_string(unknown[i]), "unknown status") == 0, "status %d: \"%s\"", (int)unknown[i],
            gatun_status_string(unknown[i]));
    }
}

static void tiers(void) {
    static const char *const tier_names[] = {"auto", "portable", "neon", "avx2", "avx512"};
    for (int32_t tier = 0; tier < 5; tier++) {
        const char *name = gatun_tier_name(tier);
        CHECK(name != NULL && strcmp(name, tier_names[tier]) == 0, "tier %d: expected %s, got %s", (int)tier,
            tier_names[tier], name != NULL ? name : "NULL");
    }
    static const int32_t none[] = {-1, 5, 99, INT32_MAX, INT32_MIN};
    for (size_t i = 0; i < sizeof none / sizeof *none; i++) {
        CHECK(gatun_tier_name(none[i]) == NULL, "tier %d has a name", (int)none[i]);
        CHECK_STATUS(gatun_tier_available(none[i]), GATUN_E_INVALID);
    }
    CHECK_STATUS(gatun_tier_available(GATUN_TIER_PORTABLE), GATUN_OK);
#if defined(__x86_64__)
    CHECK_STATUS(gatun_tier_available(GATUN_TIER_NEON), GATUN_E_UNSUPPORTED);
    __builtin_cpu_init();
    int32_t avx2 = __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma") ? GATUN_OK : GATUN_E_UNSUPPORTED;
    CHECK(gatun_tier_available(GATUN_TIER_AVX2) == avx2, "avx2: the compiler's run-time library says otherwise");
#elif defined(__aarch64__)
    CHECK_STATUS(gatun_tier_available(GATUN_TIER_NEON), GATUN_OK);
    CHECK_STATUS(gatun_tier_available(GATUN_TIER_AVX2), GATUN_E_UNSUPPORTED);
#endif
}

/* ---- configuration ---- */

static void check_config(gatun_config *config, int32_t status, const char *member, const char *what) {
    gatun_context *context = (gatun_context *)(void *)config;
    char message[256];
    memset(message, 'x', sizeof message);
    int32_t got = gatun_context_create(config, &context, message, sizeof message);
    CHECK(got == status, "%s: expected %d, got %d", what, (int)status, (int)got);
    CHECK(context == NULL, "%s: *context is not NULL", what);
    if (got == GATUN_OK) {
        gatun_context_destroy(context);
        return;
    }
    bool ends = memchr(message, '\0', sizeof message) != NULL;
    CHECK(ends, "%s: the message has no end", what);
    if (ends) {
        CHECK(strstr(message, member) != NULL, "%s: the message does not name %s: \"%s\"", what, member, message);
    }
    context = (gatun_context *)(void *)config;
    CHECK(gatun_context_create(config, &context, NULL, 0) == status && context == NULL,
        "%s: without message, another result", what);
    char shorter[9] = "xxxxxxxx";
    gatun_context_create(config, &context, shorter, 4);
    CHECK(memchr(shorter, '\0', 4) != NULL && shorter[4] == 'x', "%s: a message of 4 bytes is longer", what);
}

static void bad_config(void) {
    const gatun_config good = {.struct_size = sizeof good, .threads = 1, .tier = GATUN_TIER_PORTABLE};
    gatun_config config = good;
    config.struct_size = 0;
    check_config(&config, GATUN_E_VERSION, "struct_size", "struct_size = 0");
    config.struct_size = 3;
    check_config(&config, GATUN_E_VERSION, "struct_size", "struct_size = 3");
    static const int32_t threads[] = {-1, 1025, INT32_MAX, INT32_MIN};
    for (size_t i = 0; i < sizeof threads / sizeof *threads; i++) {
        config = good;
        config.threads = threads[i];
        check_config(&config, GATUN_E_INVALID, "threads", "threads out of range");
    }
    static const int32_t no_tier[] = {-1, 5, INT32_MAX, INT32_MIN};
    for (size_t i = 0; i < sizeof no_tier / sizeof *no_tier; i++) {
        config = good;
        config.tier = no_tier[i];
        check_config(&config, GATUN_E_INVALID, "tier", "a tier that is none");
    }
    for (int32_t tier = GATUN_TIER_PORTABLE; tier <= GATUN_TIER_AVX512; tier++) {
        if (gatun_tier_available(tier) != GATUN_OK) {
            config = good;
            config.tier = tier;
            check_config(&config, GATUN_E_UNSUPPORTED, gatun_tier_name(tier), "a tier that is not available");
        }
    }
    config = good;
    config.flags = 2;
    check_config(&config, GATUN_E_INVALID, "flags", "flags = 2");
    config = good;
    config.reserved[5] = 1;
    check_config(&config, GATUN_E_VERSION, "reserved", "reserved[5] = 1");
    CHECK_STATUS(gatun_context_create(&good, NULL, NULL, 0), GATUN_E_NULL);

    struct {
        gatun_config config;
        uint64_t later[2];
    } newer = {.config = good};
    newer.config.struct_size = sizeof newer;
    gatun_context *context = NULL;
    CHECK_STATUS(gatun_context_create(&newer.config, &context, NULL, 0), GATUN_OK);
    CHECK_STATUS(gatun_context_destroy(context), GATUN_OK);
    newer.later[1] = 1;
    check_config(&newer.config, GATUN_E_VERSION, "gatun_config", "a newer struct with something in its tail");
}

static int32_t tier_of(const gatun_config *config, int32_t *source) {
    gatun_context *context = NULL;
    char message[256] = "";
    int32_t status = gatun_context_create(config, &context, message, sizeof message);
    if (status != GATUN_OK) {
        return status;
    }
    gatun_info info = {.struct_size = sizeof info};
    gatun_context_info(context, &info);
    gatun_context_destroy(context);
    *source = info.tier_source;
    return info.tier;
}

static void isa_variable(void) {
    const char *set = getenv("GATUN_ISA");
    char kept[64] = "";
    if (set != NULL) {
        snprintf(kept, sizeof kept, "%s", set);
    }
    gatun_config automatic = {.struct_size = sizeof automatic, .threads = 1};
    gatun_config fixed = {.struct_size = sizeof fixed, .threads = 1, .tier = GATUN_TIER_PORTABLE};
    static const char *const nonsense[] = {"sse9", "AVX2", "avx", " portable", "portable ", "0", "avx512,avx2"};
    int32_t source = -1;
    for (size_t i = 0; i < sizeof nonsense / sizeof *nonsense; i++) {
        setenv("GATUN_ISA", nonsense[i], 1);
        check_config(&automatic, GATUN_E_INVALID, "GATUN_ISA", nonsense[i]);
        /* what is asked for by the configuration does not look at the environment */
        CHECK(
            tier_of(&fixed, &source) == GATUN_TIER_PORTABLE, "GATUN_ISA=%s: a configured tier is refused", nonsense[i]);
        CHECK(source == GATUN_TIER_FROM_CONFIG, "tier_source: expected FROM_CONFIG, got %d", (int)source);
    }
    int32_t best = GATUN_TIER_PORTABLE;
    for (int32_t tier = GATUN_TIER_PORTABLE; tier <= GATUN_TIER_AVX512; tier++) {
        setenv("GATUN_ISA", gatun_tier_name(tier), 1);
        if (gatun_tier_available(tier) == GATUN_OK) {
            best = tier;
            CHECK(tier_of(&automatic, &source) == tier, "GATUN_ISA=%s gives another tier", gatun_tier_name(tier));
            CHECK(source == GATUN_TIER_FROM_ENVIRONMENT, "tier_source: expected FROM_ENVIRONMENT, got %d", (int)source);
        } else {
            check_config(&automatic, GATUN_E_UNSUPPORTED, "GATUN_ISA", "GATUN_ISA with a tier that is not available");
        }
    }
    static const char *const none[] = {NULL, "", "auto"};
    for (size_t i = 0; i < sizeof none / sizeof *none; i++) {
        if (none[i] == NULL) {
            unsetenv("GATUN_ISA");
        } else {
            setenv("GATUN_ISA", none[i], 1);
        }
        int32_t tier = tier_of(&automatic, &source);
        CHECK(tier == best, "GATUN_ISA=%s: expected tier %d, got %d", none[i] != NULL ? none[i] : "(unset)", (int)best,
            (int)tier);
        CHECK(source == GATUN_TIER_FROM_CPU || (i == 2 && source == GATUN_TIER_FROM_ENVIRONMENT),
            "tier_source: expected FROM_CPU, got %d", (int)source);
    }
    if (set != NULL) {
        setenv("GATUN_ISA", kept, 1);
    } else {
        unsetenv("GATUN_ISA");
    }
}

/* ---- info ---- */

static void info(void) {
    gatun_context *context = new_context(GATUN_TIER_PORTABLE, 3);
    REQUIRE(context != NULL, "no context");
    gatun_info i;
    memset(&i, 0xee, sizeof i);
    i.struct_size = sizeof i;
    CHECK_STATUS(gatun_context_info(context, &i), GATUN_OK);
    CHECK(i.struct_size == sizeof i, "struct_size was changed to %u", (unsigned)i.struct_size);
    CHECK(i.tier == GATUN_TIER_PORTABLE && i.tier_source == GATUN_TIER_FROM_CONFIG, "tier %d from %d", (int)i.tier,
        (int)i.tier_source);
    CHECK(i.threads == 3, "threads: expected 3, got %d", (int)i.threads);
    for (int32_t tier = GATUN_TIER_PORTABLE; tier < 32; tier++) {
        bool available = gatun_tier_available(tier) == GATUN_OK;
        CHECK((i.tiers >> tier & 1) == (available ? 1u : 0u), "tiers: bit %d is not whether tier %d is available",
            (int)tier, (int)tier);
    }
    CHECK((i.tiers & 1) == 0, "tiers: bit 0 is set");
    cpu_set_t set;
    CHECK(sched_getaffinity(0, sizeof set, &set) != 0 || (i.cpus >= 1 && i.cpus <= CPU_COUNT(&set)), "cpus: %d",
        (int)i.cpus);
    CHECK(i.l1d_bytes >= 4096 && i.l1d_bytes <= i.l2_bytes && i.l2_bytes <= i.l3_bytes, "caches: %lld, %lld, %lld",
        (long long)i.l1d_bytes, (long long)i.l2_bytes, (long long)i.l3_bytes);
    CHECK(i.l3_bytes <= INT64_C(64) << 20, "l3_bytes: %lld is more than one core can expect", (long long)i.l3_bytes);
    CHECK(i.calls == 0 && i.tasks == 0 && i.tasks_helped == 0 && i.blocks_redone == 0,
        "a new context has counted something");
    CHECK(memchr(i.cpu, '\0', sizeof i.cpu) != NULL && i.cpu[0] != '\0', "cpu has no name or no end");
    for (size_t n = 0; n < sizeof i.reserved / sizeof *i.reserved; n++) {
        CHECK(i.reserved[n] == 0, "reserved[%d] is %llx", (int)n, (unsigned long long)i.reserved[n]);
    }

    /* an older caller's struct gets what fits, and not a byte more */
    static const size_t sizes[] = {offsetof(gatun_info, tiers), offsetof(gatun_info, calls), offsetof(gatun_info, cpu)};
    for (size_t n = 0; n < sizeof sizes / sizeof *sizes; n++) {
        gatun_info older;
        memset(&older, 0xee, sizeof older);
        older.struct_size = (uint32_t)sizes[n];
        CHECK_STATUS(gatun_context_info(context, &older), GATUN_OK);
        CHECK(older.threads == 3, "a struct of %d bytes: threads is %d", (int)sizes[n], (int)older.threads);
        for (size_t byte = sizes[n]; byte < sizeof older; byte++) {
            if (((uint8_t *)&older)[byte] != 0xee) {
                test_fail(__FILE__, __LINE__, "a struct of %d bytes: byte %d was written", (int)sizes[n], (int)byte);
                break;
            }
        }
    }
    struct {
        gatun_info info;
        uint64_t later[2];
    } newer;
    memset(&newer, 0, sizeof newer);
    newer.info.struct_size = sizeof newer;
    CHECK_STATUS(gatun_context_info(context, &newer.info), GATUN_OK);
    CHECK(newer.info.threads == 3 && newer.later[0] == 0 && newer.later[1] == 0, "a larger struct is filled wrongly");
    i.struct_size = 0;
    CHECK_STATUS(gatun_context_info(context, &i), GATUN_E_VERSION);
    CHECK_STATUS(gatun_context_info(context, NULL), GATUN_E_NULL);
    CHECK_STATUS(gatun_context_info(NULL, &i), GATUN_E_NULL);
    CHECK_STATUS(gatun_context_destroy(context), GATUN_OK);
}

/* Threads of this process whose name begins with "gatun-". */
static int worker_threads(void) {
    int count = 0;
    DIR *tasks = opendir("/proc/self/task");
    for (struct dirent *task; tasks != NULL && (task = readdir(tasks)) != NULL;) {
        char path[300];
        char name[32] = "";
        snprintf(path, sizeof path, "/proc/self/task/%s/comm", task->d_name);
        FILE *comm = fopen(path, "r");
        if (comm != NULL) {
            count += fgets(name, sizeof name, comm) != NULL && strncmp(name, "gatun-", 6) == 0;
            fclose(comm);
        }
    }
    if (tasks != NULL) {
        closedir(tasks);
    }
    return count;
}

static void workers(void) {
    int before = worker_threads();
    gatun_context *context = new_context(GATUN_TIER_AUTO, 4);
    REQUIRE(context != NULL, "no context");
    CHECK(worker_threads() == before + 3, "a context of 4 threads has %d workers named gatun-N",
        worker_threads() - before);
    CHECK_STATUS(gatun_context_destroy(context), GATUN_OK);
    /* a joined thread can be listed a moment longer */
    for (int i = 0; i < 100 && worker_threads() != before; i++) {
        usleep(10000);
    }
    CHECK(worker_threads() == before, "%d workers are left", worker_threads() - before);

    gatun_context *all = NULL;
    CHECK_STATUS(gatun_context_create(NULL, &all, NULL, 0), GATUN_OK);
    gatun_info i = {.struct_size = sizeof i};
    CHECK_STATUS(gatun_context_info(all, &i), GATUN_OK);
    CHECK(i.threads == i.cpus, "threads: expected the %d CPUs, got %d", (int)i.cpus, (int)i.threads);
    CHECK_STATUS(gatun_context_destroy(all), GATUN_OK);
    CHECK_STATUS(gatun_context_destroy(NULL), GATUN_OK);
}

/* ---- peak, memory ---- */

static void peak(void) {
    int32_t found[MAX_TIERS];
    int count = test_tiers(found);
    for (int t = 0; t < count; t++) {
        gatun_context *context = shared_context(found[t]);
        double rate = 0;
        CHECK_STATUS(gatun_peak_f32(context, 2000000, &rate), GATUN_OK);
        CHECK(rate > 1e6 && rate < 1e13, "%s: %g operations a second", gatun_tier_name(found[t]), rate);
        CHECK_STATUS(gatun_peak_f32(context, 1000, &rate), GATUN_OK);
        CHECK_STATUS(gatun_peak_f32(context, 999, &rate), GATUN_E_INVALID);
        CHECK_STATUS(gatun_peak_f32(context, INT64_C(10000000001), &rate), GATUN_E_INVALID);
        CHECK_STATUS(gatun_peak_f32(context, -1, &rate), GATUN_E_INVALID);
        CHECK_STATUS(gatun_peak_f32(context, 1000, NULL), GATUN_E_NULL);
    }
    double rate = 0;
    CHECK_STATUS(gatun_peak_f32(NULL, 1000, &rate), GATUN_E_NULL);
}

static void memory(void) {
    static const int64_t sizes[] = {1, 64, 4096, 4097, 2097151, 2097152, 2097153, 5000000, 67108864};
    int64_t page = sysconf(_SC_PAGESIZE);
    for (size_t n = 0; n < sizeof sizes / sizeof *sizes; n++) {
        uint8_t *block = gatun_memory_allocate(sizes[n]);
        REQUIRE(block != NULL, "no memory for %lld bytes", (long long)sizes[n]);
        int64_t alignment = sizes[n] >= 2097152 ? 2097152 : page;
        CHECK((intptr_t)block % alignment == 0, "%lld bytes: not aligned to %lld", (long long)sizes[n],
            (long long)alignment);
        int64_t step = sizes[n] > 100000 ? 511 : 1;
        for (int64_t i = 0; i < sizes[n]; i += step) {
            if (block[i] != 0) {
                test_fail(__FILE__, __LINE__, "%lld bytes: byte %lld is not 0", (long long)sizes[n], (long long)i);
                break;
            }
        }
        block[0] = 1;
        block[sizes[n] - 1] = 1;
        gatun_memory_free(block, sizes[n]);
    }
    CHECK(gatun_memory_allocate(0) == NULL, "0 bytes: expected NULL");
    CHECK(gatun_memory_allocate(-1) == NULL, "-1 bytes: expected NULL");
    CHECK(gatun_memory_allocate(INT64_MAX) == NULL, "INT64_MAX bytes: expected NULL");
    CHECK(gatun_memory_allocate(INT64_C(1) << 50) == NULL, "2^50 bytes: expected NULL");
    gatun_memory_free(NULL, 0);
    gatun_memory_free(NULL, 4096);
    /* what is given back is given back: more than there is address space for, in turn */
    for (int i = 0; i < (test_light() ? 10 : 2000); i++) {
        void *block = gatun_memory_allocate(INT64_C(1) << 37);
        if (block == NULL) {
            CHECK(i == 0, "after %d blocks of 128 GiB there is no address space", i);
            break; /* the system does not promise so much at once */
        }
        gatun_memory_free(block, INT64_C(1) << 37);
    }
}

const test_case context_tests[] = {{"names", names}, {"tiers", tiers}, {"bad_config", bad_config},
    {"isa_variable", isa_variable}, {"info", info}, {"workers", workers}, {"peak", peak}, {"memory", memory},
    {NULL, NULL}};

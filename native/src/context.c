#include "internal.h"

#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { MAX_THREADS = 1024 };

/* Counts fork()s from the child's side: a context's worker threads do not exist there. Cheaper to compare than getpid()
 * per call. */
static _Atomic uint64_t fork_generation;
static pthread_once_t fork_once = PTHREAD_ONCE_INIT;

static void forked(void) {
    atomic_fetch_add(&fork_generation, 1);
}

static void watch_forks(void) {
    pthread_atfork(NULL, NULL, forked);
}

int32_t gatun__context_usable(const gatun_context *context) {
    if (context == NULL)
        return GATUN_E_NULL;
    if (context->fork_generation != atomic_load_explicit(&fork_generation, memory_order_relaxed))
        return GATUN_E_STATE;
    return GATUN_OK;
}

void gatun__context_run(gatun_context *context, int32_t max_threads, int64_t tasks, int64_t work_ns,
    gatun__pool_function function, void *argument) {
    atomic_fetch_add_explicit(&context->calls, 1, memory_order_relaxed);
    if (tasks == 0)
        return;
    atomic_fetch_add_explicit(&context->tasks, (uint64_t)tasks, memory_order_relaxed);
    gatun__pool_run(context->pool, gatun__threads_of(context, max_threads), tasks, work_ns, function, argument);
    /* From here on the context may be gone: it is in use while the pool is. */
}

static uint32_t available_tiers(void) {
    uint32_t tiers = 0;
    for (int32_t tier = GATUN_TIER_PORTABLE; gatun_tier_name(tier) != NULL; tier++) {
        if (gatun__kernels_of(tier) != NULL)
            tiers |= 1u << tier;
    }
    return tiers;
}

static void name_tiers(uint32_t tiers, char *text, size_t size) {
    size_t length = 0;
    text[0] = '\0';
    for (int32_t tier = GATUN_TIER_PORTABLE; gatun_tier_name(tier) != NULL; tier++) {
        if ((tiers & 1u << tier) != 0 && length < size)
            length +=
                (size_t)snprintf(text + length, size - length, "%s%s", length > 0 ? ", " : "", gatun_tier_name(tier));
    }
}

static int32_t choose_tier(gatun_context *context, int32_t wanted, char *message, int64_t message_size) {
    char names[64];
    name_tiers(context->tiers, names, sizeof names);
    context->tier_source = GATUN_TIER_FROM_CONFIG;
    if (wanted == GATUN_TIER_AUTO) {
        const char *isa = getenv("GATUN_ISA");
        if (isa == NULL || isa[0] == '\0' || strcmp(isa, gatun_tier_name(GATUN_TIER_AUTO)) == 0) {
            context->tier_source = GATUN_TIER_FROM_CPU;
            context->kernels = gatun__kernels_best();
            return GATUN_OK;
        }
        context->tier_source = GATUN_TIER_FROM_ENVIRONMENT;
        wanted = gatun__tier_by_name(isa);
        if (wanted < 0)
            return gatun__fail(
                GATUN_E_INVALID, message, message_size, "GATUN_ISA: expected one of %s, got \"%.40s\"", names, isa);
    } else if (wanted < 0 || gatun_tier_name(wanted) == NULL) {
        return gatun__fail(
            GATUN_E_INVALID, message, message_size, "tier: expected a GATUN_TIER_* constant, got %d", (int)wanted);
    }
    context->kernels = gatun__kernels_of(wanted);
    if (context->kernels == NULL)
        return gatun__fail(GATUN_E_UNSUPPORTED, message, message_size,
            "%s: expected a tier that this CPU and this build have (%s), got %s",
            context->tier_source == GATUN_TIER_FROM_ENVIRONMENT ? "GATUN_ISA" : "tier", names, gatun_tier_name(wanted));
    return GATUN_OK;
}

int32_t gatun_context_create(const gatun_config *config, gatun_context **result, char *message, int64_t message_size) {
    if (result == NULL)
        return gatun__fail(GATUN_E_NULL, message, message_size, "context: expected a place to store it, got NULL");
    *result = NULL;
    gatun_config defaults = {.struct_size = sizeof defaults};
    if (config == NULL)
        config = &defaults;
    int32_t status =
        gatun__struct_check(config, config->struct_size, sizeof *config, "gatun_config", message, message_size);
    if (status != GATUN_OK)
        return status;
    for (size_t i = 0; i < sizeof config->reserved / sizeof config->reserved[0]; i++) {
        if (config->reserved[i] != 0)
            return gatun__fail(GATUN_E_VERSION, message, message_size, "reserved[%zu]: expected 0", i);
    }
    if ((config->flags & ~GATUN_CONFIG_TIER_ALONE) != 0)
        return gatun__fail(GATUN_E_INVALID, message, message_size, "flags: expected GATUN_CONFIG_* only, got 0x%x",
            (unsigned)config->flags);
    if (config->threads < 0 || config->threads > MAX_THREADS)
        return gatun__fail(GATUN_E_INVALID, message, message_size, "threads: expected 0 (all CPUs) or 1 .. %d, got %d",
            MAX_THREADS, (int)config->threads);

    gatun_context *context = aligned_alloc(64, sizeof *context);
    if (context == NULL)
        return gatun__fail(
            GATUN_E_MEMORY, message, message_size, "no memory for a context of %zu bytes", sizeof *context);
    memset(context, 0, sizeof *context);
    context->tiers = available_tiers();
    status = choose_tier(context, config->tier, message, message_size);
    if (status != GATUN_OK) {
        free(context);
        return status;
    }
    if ((config->flags & GATUN_CONFIG_TIER_ALONE) == 0)
        context->features = gatun__cpu_features(context->kernels->tier);
    if (context->features != 0) {
        context->extended = *context->kernels;
        gatun__kernels_extend(&context->extended, context->features);
        context->kernels = &context->extended;
    }
    pthread_once(&fork_once, watch_forks);
    context->fork_generation = atomic_load(&fork_generation);
    context->cpus = gatun__cpu_count();
    context->threads = config->threads > 0 ? config->threads : context->cpus;
    context->caches = gatun__cpu_caches();
    gatun__cpu_name(context->cpu, sizeof context->cpu);
    status = gatun__pool_create(context->threads, &context->pool);
    if (status != GATUN_OK) {
        int threads = context->threads;
        free(context);
        return gatun__fail(status, message, message_size, "threads: %d could not be started: %s", threads,
            gatun_status_string(status));
    }
    *result = context;
    return GATUN_OK;
}

int32_t gatun_context_destroy(gatun_context *context) {
    if (context == NULL)
        return GATUN_OK;
    int32_t status = gatun__context_usable(context);
    if (status == GATUN_OK && atomic_load_explicit(&context->open_calls, memory_order_acquire) > 0)
        status = GATUN_E_STATE;
    if (status == GATUN_OK)
        status = gatun__pool_destroy(context->pool);
    if (status == GATUN_OK)
        free(context);
    return status;
}

int32_t gatun_context_info(const gatun_context *context, gatun_info *info) {
    int32_t status = gatun__context_usable(context);
    if (status != GATUN_OK)
        return status;
    if (info == NULL)
        return GATUN_E_NULL;
    if (info->struct_size < offsetof(gatun_info, threads))
        return GATUN_E_VERSION;
    gatun_info full = {
        .struct_size = info->struct_size,
        .tier = context->kernels->tier,
        .tier_source = context->tier_source,
        .threads = context->threads,
        .tiers = context->tiers,
        .cpus = context->cpus,
        .l1d_bytes = context->caches.l1d,
        .l2_bytes = context->caches.l2,
        .l3_bytes = context->caches.l3,
        .calls = atomic_load_explicit(&context->calls, memory_order_relaxed),
        .tasks = atomic_load_explicit(&context->tasks, memory_order_relaxed),
        .tasks_helped = gatun__pool_helped(context->pool),
        .blocks_redone = atomic_load_explicit(&context->blocks_redone, memory_order_relaxed),
        .features = context->features,
    };
    memcpy(full.cpu, context->cpu, sizeof full.cpu);
    memcpy(info, &full, info->struct_size < sizeof full ? info->struct_size : sizeof full);
    return GATUN_OK;
}

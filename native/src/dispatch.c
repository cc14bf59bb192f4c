/* Tiers by number and by name. The one place where a CPU feature turns into a set of kernels. */
#include "internal.h"

#include <string.h>

static const char *const tier_names[] = {"auto", "portable", "neon", "avx2", "avx512"};
enum { TIER_NAMES = sizeof tier_names / sizeof tier_names[0] };

/* By tier; zeros where this build has none. */
static const gatun__kernels all_kernels[TIER_NAMES] = {
#define GATUN_TIER(TIER, tier_, lanes)                                                                                 \
    [GATUN_TIER_##TIER].tier = GATUN_TIER_##TIER, [GATUN_TIER_##TIER].block_lanes = lanes,
#define GATUN_KERNEL(operation, dtype, TIER, tier_)                                                                    \
    [GATUN_TIER_##TIER].operation##_##dtype = gatun__##operation##_##dtype##_##tier_,
#define GATUN_LINEAR(dtype, TIER, tier_, rows, bytes, speed)                                                           \
    [GATUN_TIER_##TIER].linear_##dtype = gatun__linear_##dtype##_##tier_,                                              \
    [GATUN_TIER_##TIER].traits_##dtype = {rows, bytes, speed},
#include "kernels.inc"
};

/* Best first. */
static const int32_t tiers[] = {
#define GATUN_TIER(TIER, tier, lanes) GATUN_TIER_##TIER,
#include "kernels.inc"
};

const gatun__kernels *gatun__kernels_of(int32_t tier) {
    if (tier < GATUN_TIER_PORTABLE || tier >= TIER_NAMES || all_kernels[tier].tier != tier)
        return NULL;
    return gatun__cpu_has(tier) ? &all_kernels[tier] : NULL;
}

const gatun__kernels *gatun__kernels_best(void) {
    for (size_t i = 0; i < sizeof tiers / sizeof tiers[0]; i++) {
        if (gatun__cpu_has(tiers[i]))
            return &all_kernels[tiers[i]];
    }
    return NULL;
}

void gatun__kernels_extend(gatun__kernels *kernels, uint32_t features) {
#define GATUN_FEATURE_KERNEL(operation, dtype, TIER, FEATURE, extension)                                               \
    if ((features & GATUN_FEATURE_##FEATURE) != 0)                                                                     \
        kernels->operation##_##dtype = gatun__##operation##_##dtype##_##extension;
#define GATUN_FEATURE_LINEAR(dtype, TIER, FEATURE, extension, rows, bytes, speed)                                      \
    if ((features & GATUN_FEATURE_##FEATURE) != 0) {                                                                   \
        kernels->linear_##dtype = gatun__linear_##dtype##_##extension;                                                 \
        kernels->traits_##dtype = (gatun__linear_traits){rows, bytes, speed};                                          \
    }
#include "kernels.inc"
    (void)kernels; /* where no kernel has a feature */
    (void)features;
}

int32_t gatun__tier_by_name(const char *name) {
    for (int32_t tier = GATUN_TIER_PORTABLE; tier < TIER_NAMES; tier++) {
        if (strcmp(name, tier_names[tier]) == 0)
            return tier;
    }
    return -1;
}

const char *gatun_tier_name(int32_t tier) {
    return tier >= 0 && tier < TIER_NAMES ? tier_names[tier] : NULL;
}

int32_t gatun_tier_available(int32_t tier) {
    if (tier < GATUN_TIER_PORTABLE || tier >= TIER_NAMES)
        return GATUN_E_INVALID;
    return gatun__kernels_of(tier) != NULL ? GATUN_OK : GATUN_E_UNSUPPORTED;
}

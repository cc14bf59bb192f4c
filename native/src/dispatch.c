/* Tiers by number and by name. The one place where a CPU feature turns into a set of kernels. */
#include "internal.h"

#include <string.h>

#define GATUN_KERNELS(tier, suffix) &gatun__kernels_##suffix,
static const gatun__kernels *const all_kernels[] = {
#include "kernels.inc"
};
#undef GATUN_KERNELS
enum { KERNEL_SETS = sizeof all_kernels / sizeof all_kernels[0] };

static const char *const tier_names[] = {"auto", "portable", "neon", "avx2", "avx512"};
enum { TIER_NAMES = sizeof tier_names / sizeof tier_names[0] };

const gatun__kernels *gatun__kernels_of(int32_t tier) {
    for (int i = 0; i < KERNEL_SETS; i++) {
        if (all_kernels[i]->tier == tier)
            return gatun__cpu_has(tier) ? all_kernels[i] : NULL;
    }
    return NULL;
}

const gatun__kernels *gatun__kernels_best(void) {
    for (int i = 0; i < KERNEL_SETS; i++) {
        if (gatun__cpu_has(all_kernels[i]->tier))
            return all_kernels[i];
    }
    return NULL;
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

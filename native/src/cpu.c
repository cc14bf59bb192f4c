/*
 * What the CPU has. Compiled for the baseline like everything that is no kernel. An x86 tier counts only if the
 * operating system saves its registers, too (XCR0): a CPUID bit alone is not enough under some hypervisors and kernels.
 */
#define _GNU_SOURCE
#include "internal.h"

#include <sched.h>
#include <string.h>
#include <sys/auxv.h>
#include <sys/syscall.h>
#include <unistd.h>

#if defined(__x86_64__)
#include <cpuid.h>

static uint64_t xcr0(void) {
    uint32_t low, high;
    __asm__ volatile("xgetbv" : "=a"(low), "=d"(high) : "c"(0));
    return (uint64_t)high << 32 | low;
}

int gatun__cpu_has(int32_t tier) {
    uint32_t a, b, c, d, b7, c7, d7;
    if (tier == GATUN_TIER_PORTABLE)
        return 1;
    if (!__get_cpuid(1, &a, &b, &c, &d) || !__get_cpuid_count(7, 0, &a, &b7, &c7, &d7))
        return 0;
    const uint32_t osxsave = 1u << 27, avx = 1u << 28, fma = 1u << 12, f16c = 1u << 29;
    if ((c & (osxsave | avx | fma | f16c)) != (osxsave | avx | fma | f16c))
        return 0;
    uint64_t saved = xcr0();
    const uint64_t ymm_state = 0x06, zmm_state = 0xE6;
    const uint32_t avx2 = 1u << 5;
    int has_avx2 = (saved & ymm_state) == ymm_state && (b7 & avx2) != 0;
    if (tier == GATUN_TIER_AVX2)
        return has_avx2;
    const uint32_t avx512 = 1u << 16 | 1u << 17 | 1u << 30 | 1u << 31; /* F, DQ, BW, VL */
    if (tier == GATUN_TIER_AVX512)
        return has_avx2 && (saved & zmm_state) == zmm_state && (b7 & avx512) == avx512;
    return 0;
}

/*
 * Whether AMX's tiles are there, and Linux lets this process have them: it gives a process room for their state only if that asks
 * for it, once and for all its threads. It says no where a thread has a signal stack that would be too small.
 */
static int may_use_tiles(uint32_t d7) {
    const uint32_t amx_tile = 1u << 24;
    const uint64_t tile_state = 0x60000;
    const int arch_req_xcomp_perm = 0x1023, xfeature_xtiledata = 18;
    return (d7 & amx_tile) != 0 && (xcr0() & tile_state) == tile_state &&
           syscall(SYS_arch_prctl, arch_req_xcomp_perm, xfeature_xtiledata) == 0;
}

uint32_t gatun__cpu_features(int32_t tier) {
    uint32_t most, a = 0, b, c7, c, d, unused;
    if (!__get_cpuid_count(7, 0, &most, &b, &c7, &d))
        return 0;
    if (most >= 1)
        __get_cpuid_count(7, 1, &a, &b, &c, &unused);
    const uint32_t avx512_vnni = 1u << 11, avx512_bf16 = 1u << 5; /* the one of c7, the other of a */
    if (tier == GATUN_TIER_AVX512) {
        const uint32_t amx_bf16 = 1u << 22, amx_int8 = 1u << 25;
        const int has_vnni = (c7 & avx512_vnni) != 0, has_bf16 = (a & avx512_bf16) != 0;
        const int slow_bf16 =
            (d & amx_bf16) != 0; /* these CPUs make half as many products with vdpbf16ps as with FMA */
        const int tiles = (d & (amx_bf16 | amx_int8)) != 0 && may_use_tiles(d);
        return (has_vnni ? GATUN_FEATURE_VNNI : 0) | (has_bf16 && !slow_bf16 ? GATUN_FEATURE_BF16 : 0) |
               (tiles && has_vnni && (d & amx_int8) != 0 ? GATUN_FEATURE_AMX_INT8 : 0) |
               (tiles && has_bf16 && (d & amx_bf16) != 0 ? GATUN_FEATURE_AMX_BF16 : 0);
    }
#ifdef GATUN_EVEX_VNNI
    const int has_vnni = gatun__cpu_has(GATUN_TIER_AVX512) && (c7 & avx512_vnni) != 0;
#else
    const uint32_t avx_vnni = 1u << 4;
    const int has_vnni = (a & avx_vnni) != 0;
#endif
    return tier == GATUN_TIER_AVX2 && has_vnni ? GATUN_FEATURE_AVX_VNNI : 0;
}

void gatun__cpu_name(char *name, size_t size) {
    uint32_t brand[12] = {0};
    uint32_t top = __get_cpuid_max(0x80000000u, NULL);
    for (uint32_t i = 0; i < 3 && top >= 0x80000004u; i++)
        __get_cpuid(0x80000002u + i, &brand[4 * i], &brand[4 * i + 1], &brand[4 * i + 2], &brand[4 * i + 3]);
    char text[sizeof brand + 1];
    memcpy(text, brand, sizeof brand);
    text[sizeof brand] = '\0';
    const char *begin = text;
    while (*begin == ' ')
        begin++;
    size_t length = strlen(begin);
    while (length > 0 && begin[length - 1] == ' ')
        length--;
    if (length == 0) {
        begin = "x86-64";
        length = strlen(begin);
    }
    if (length >= size)
        length = size - 1;
    memcpy(name, begin, length);
    name[length] = '\0';
}

#else

int gatun__cpu_has(int32_t tier) {
#if defined(__aarch64__)
    /* Advanced SIMD is part of every AArch64 that runs a general-purpose operating system. */
    return tier == GATUN_TIER_PORTABLE || tier == GATUN_TIER_NEON;
#else
    return tier == GATUN_TIER_PORTABLE;
#endif
}

uint32_t gatun__cpu_features(int32_t tier) {
#if defined(__aarch64__)
    const unsigned long asimddp = 1ul << 20, i8mm = 1ul << 13; /* of AT_HWCAP, and of AT_HWCAP2 */
    if (tier == GATUN_TIER_NEON && (getauxval(AT_HWCAP2) & i8mm) != 0)
        return GATUN_FEATURE_I8MM;
    if (tier == GATUN_TIER_NEON && (getauxval(AT_HWCAP) & asimddp) != 0)
        return GATUN_FEATURE_DOTPROD;
#endif
    (void)tier;
    return 0;
}

void gatun__cpu_name(char *name, size_t size) {
#if defined(__aarch64__)
    const char *text = "AArch64";
#else
    const char *text = "unknown CPU";
#endif
    strncpy(name, text, size - 1);
    name[size - 1] = '\0';
}

#endif

static int64_t cache_or(int which, int64_t fallback, int64_t least, int64_t most) {
    int64_t bytes = (int64_t)sysconf(which);
    if (bytes <= 0)
        bytes = fallback;
    return bytes < least ? least : bytes > most ? most : bytes;
}

gatun__caches gatun__cpu_caches(void) {
    const int64_t KiB = 1024, MiB = 1024 * KiB;
    gatun__caches caches = {32 * KiB, 512 * KiB, 8 * MiB};
#ifdef _SC_LEVEL1_DCACHE_SIZE
    caches.l1d = cache_or(_SC_LEVEL1_DCACHE_SIZE, caches.l1d, 16 * KiB, 256 * KiB);
    caches.l2 = cache_or(_SC_LEVEL2_CACHE_SIZE, caches.l2, 256 * KiB, 4 * MiB);
    caches.l3 = cache_or(_SC_LEVEL3_CACHE_SIZE, caches.l3, 1 * MiB, 32 * MiB);
#endif
    return caches;
}

static int32_t cpus_allowed(void) {
    cpu_set_t set;
    if (sched_getaffinity(0, sizeof set, &set) == 0)
        return CPU_COUNT(&set);
    long online = sysconf(_SC_NPROCESSORS_ONLN);
    return online < 1 ? 1 : online > 1024 ? 1024 : (int32_t)online;
}

int32_t gatun__cpu_count(void) {
    int32_t allowed = cpus_allowed(), quota = gatun__cpu_quota("");
    return quota > 0 && quota < allowed ? quota : allowed;
}

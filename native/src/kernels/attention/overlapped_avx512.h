/*
 * Products overlapped with exponentials (passes 4 and 3 of attention_f32.h), for AVX-512: part of attention_f32_avx512.c, which
 * includes it before attention_f32.h.
 *
 * Axes: see attention_f32.h. v [CHAIN_KEYS][8 columns], probs and scores [CHAIN_KEYS][LANES], out [8 columns][LANES].
 *
 * Between FMAs most operations of an exponential cost nothing, since they run on other pipes: of v_exp2 only two FMAs, a
 * product and, in part, two permutations take the place of products. A compiler does not keep such a schedule: it gathers
 * an exponential at the end of the products and moves accumulators and constants from register to register, or to
 * memory, which costs twice as much as the exponential itself. So this one loop is written down as it shall run.
 *
 * Registers: zmm0-15 accumulators of 8 columns x 2 vectors; 16, 17 probs; 18 a value; 19 -1; 20-25 the exponential; 26, 27 sums
 * of the probs made; 28, 29 limits and 30 the key of the probs made; 31 the floor of exponents. Constants other than
 * that are memory operands. One exponential lies between 32 products, those of two keys.
 */
#ifndef GATUN_OVERLAPPED_AVX512_H
#define GATUN_OVERLAPPED_AVX512_H

#include "kernels.h"

#include <stddef.h>

/* What the exponentials use and add to, by offset: reference, to be subtracted; sum; limit, below which keys are seen. Two
 * vectors each. */
#define B_REFERENCE 0
#define B_SUM       128
#define B_LIMIT     256

_Static_assert(offsetof(v_exp2_table, whole) == 0 && offsetof(v_exp2_table, cubic) == 64 &&
                   offsetof(v_exp2_table, floor) == 128 && offsetof(v_exp2_table, magic) == 192 &&
                   offsetof(v_exp2_table, a) == 256 && offsetof(v_exp2_table, b) == 320,
    "the offsets below");

#define B_PRODUCTS(row, column, even, odd)                                                                             \
    "vbroadcastss 4*" column row ", %%zmm18\n"                                                                         \
    "vfmadd231ps %%zmm18, %%zmm16, %%zmm" even "\n"                                                                    \
    "vfmadd231ps %%zmm18, %%zmm17, %%zmm" odd "\n"
/* Of the second vector alone. */
#define B_HALF(row, column, even, odd)                                                                                 \
    "vbroadcastss 4*" column row ", %%zmm18\n"                                                                         \
    "vfmadd231ps %%zmm18, %%zmm17, %%zmm" odd "\n"

/* Two keys, and the exponential of vector x (its offset in bytes, its sum and limit). The steps are those of v_exp2. */
#define B_TWO_KEYS(PRODUCTS, x, sum, MASK, into)                                                                       \
    "vmovups (%[p]), %%zmm16\n"                                                                                        \
    "vmovups 64(%[p]), %%zmm17\n" PRODUCTS("(%[v])", "0", "0",                                                         \
        "1") "vmovups " x "(%[at]), %%zmm20\n"                                                                         \
             "vsubps " x "(%[state]), %%zmm20, %%zmm20\n" PRODUCTS("(%[v])", "1", "2", "3") PRODUCTS(                  \
                 "(%[v])", "2", "4", "5") "vmaxps %%zmm20, %%zmm31, %%zmm20\n" PRODUCTS("(%[v])", "3", "6",            \
                 "7") "vaddps 192(%[table]), %%zmm20, %%zmm21\n" PRODUCTS("(%[v])", "4", "8",                          \
                 "9") "vsubps 192(%[table]), %%zmm21, %%zmm22\n"                                                       \
                      "vpermps 0(%[table]), %%zmm21, %%zmm23\n" PRODUCTS("(%[v])", "5", "10",                          \
                          "11") "vsubps %%zmm22, %%zmm20, %%zmm20\n" PRODUCTS("(%[v])", "6", "12",                     \
                          "13") "vpermps 64(%[table]), %%zmm21, %%zmm24\n"                                             \
                                "vaddps 256(%[table]), %%zmm20, %%zmm25\n" PRODUCTS("(%[v])", "7", "14",               \
                                    "15") "vmovups 128(%[p]), %%zmm16\n"                                               \
                                          "vmovups 192(%[p]), %%zmm17\n"                                               \
                                          "add $256, %[p]\n" PRODUCTS("(%[v],%[row])", "0", "0",                       \
                                              "1") "vfmadd213ps 320(%[table]), %%zmm20, %%zmm25\n" MASK                \
                                              PRODUCTS("(%[v],%[row])", "1", "2", "3") PRODUCTS("(%[v],%[row])", "2",  \
                                                  "4",                                                                 \
                                                  "5") "vmulps %%zmm20, %%zmm25, %%zmm25\n" PRODUCTS("(%[v],%[row])",  \
                                                  "3", "6", "7") PRODUCTS("(%[v],%[row])", "4", "8",                   \
                                                  "9") "vfmadd231ps %%zmm24, %%zmm25, %%zmm23\n" PRODUCTS("(%[v],%["   \
                                                                                                          "row])",     \
                                                  "5", "10", "11") PRODUCTS("(%[v],%[row])", "6", "12",                \
                                                  "13") "vscalefps %%zmm22, %%zmm23, %%zmm23" into                     \
                                                        "\n" PRODUCTS("(%[v],%[row])", "7", "14",                      \
                                                            "15") "vmovups %%zmm23, " x "(%[at])\n"                    \
                                                                  "vaddps %%zmm23, %%zmm" sum ", %%zmm" sum "\n"       \
                                                                  "lea (%[v],%[row],2), %[v]\n"

#define B_ANY(limit)
#define B_BELOW_LIMIT(limit) "vpcmpgtd %%zmm30, %%zmm" limit ", %%k1\n"
#define B_STAY               ""
#define B_ONLY               "%{%%k1%}%{z%}"

/* Four keys, with the exponentials of one: `times` times. */
#define B_LOOP(PRODUCTS, times, LIMIT, INTO, NEXT_KEY)                                                                 \
    "mov %[" times "], %k[left]\n"                                                                                     \
    "jmp 2f\n"                                                                                                         \
    ".p2align 6\n"                                                                                                     \
    "1:\n" B_TWO_KEYS(PRODUCTS, "0", "26", LIMIT("28"), INTO) B_TWO_KEYS(PRODUCTS, "64", "27", LIMIT("29"), INTO)      \
        NEXT_KEY "add $128, %[at]\n"                                                                                   \
                 "2: dec %k[left]\n"                                                                                   \
                 "jns 1b\n"

#define B_ZERO(n) "vxorps %%xmm" n ", %%xmm" n ", %%xmm" n "\n"

/* The end: accumulators of column c, vectors 0 and 1, and where they go. */
#define B_ADD(offset, acc, alpha) "vaddps " offset "(%[out]), %%zmm" acc ", %%zmm" acc "\n" B_STORE(offset, acc, alpha)
#define B_RESCALE(offset, acc, alpha)                                                                                  \
    "vfmadd231ps " offset "(%[out]), %%zmm" alpha ", %%zmm" acc "\n" B_STORE(offset, acc, alpha)
#define B_STORE(offset, acc, alpha) "vmovups %%zmm" acc ", " offset "(%[out])\n"
/* The formatter never ends with this one. */
/* clang-format off */
#define B_END(INTO)                                                                                                   \
    INTO("0", "0", "16") INTO("64", "1", "17") INTO("128", "2", "16") INTO("192", "3", "17")                          \
    INTO("256", "4", "16") INTO("320", "5", "17") INTO("384", "6", "16") INTO("448", "7", "17")                       \
    INTO("512", "8", "16") INTO("576", "9", "17") INTO("640", "10", "16") INTO("704", "11", "17")                     \
    INTO("768", "12", "16") INTO("832", "13", "17") INTO("896", "14", "16") INTO("960", "15", "17")
/* clang-format on */

/* What becomes of an output: what is there is added; nothing is there yet; it is multiplied by alpha first. */
enum { B_ADDED, B_FIRST, B_RESCALED };

/*
 * out[c][x] (8 columns of 2 vectors) += sum_j v[j * row_bytes / 4 + c] * p[j][x], for 4 * full keys of both vectors, then
 * 4 * half of the second alone; how says how it is added. full + half keys of scores `at` become 2^(score - reference),
 * or 0 if masked. key: the first of these.
 */
#define B_FUNCTION(name, LIMIT, INTO, NEXT_KEY)                                                                        \
    static inline __attribute__((always_inline)) void name(const float *v, int64_t row_bytes, const float *p,          \
        float *at, int32_t key, int32_t full, int32_t half, void *state, float *out, const float *alpha,               \
        int32_t how) {                                                                                                 \
        int32_t left = key;                                                                                            \
        __asm__ volatile(                                                                                              \
            "vpbroadcastd %k[left], %%zmm30\n"                                                                         \
            "vpternlogd $255, %%zmm19, %%zmm19, %%zmm19\n"                                                             \
            "vmovups 256(%[state]), %%zmm28\n"                                                                         \
            "vmovups 320(%[state]), %%zmm29\n"                                                                         \
            "vmovups 128(%[state]), %%zmm26\n"                                                                         \
            "vmovups 192(%[state]), %%zmm27\n"                                                                         \
            "vmovups 128(%[table]), %%zmm31\n" B_ZERO("0") B_ZERO("1") B_ZERO("2") B_ZERO("3") B_ZERO("4") B_ZERO("5") \
                B_ZERO("6") B_ZERO("7") B_ZERO("8") B_ZERO("9") B_ZERO("10") B_ZERO("11") B_ZERO("12") B_ZERO(         \
                    "13") B_ZERO("14") B_ZERO("15") B_LOOP(B_PRODUCTS, "full", LIMIT, INTO, NEXT_KEY) B_LOOP(B_HALF,   \
                    "half", LIMIT, INTO,                                                                               \
                    NEXT_KEY) "vmovups %%zmm26, 128(%[state])\n"                                                       \
                              "vmovups %%zmm27, 192(%[state])\n"                                                       \
                              "cmpl $1, %[how]\n"                                                                      \
                              "je 4f\n"                                                                                \
                              "ja 5f\n" B_END(B_ADD) "jmp 6f\n"                                                        \
                                                     "4:\n" B_END(B_STORE) "jmp 6f\n"                                  \
                                                                           "5: vmovups (%[alpha]), %%zmm16\n"          \
                                                                           "vmovups 64(%[alpha]), %%zmm17\n" B_END(    \
                                                                               B_RESCALE) "6:\n"                       \
            : [v] "+r"(v), [p] "+r"(p), [at] "+r"(at), [left] "+r"(left)                                               \
            : [row] "r"(row_bytes), [full] "m"(full), [half] "m"(half), [state] "r"(state), [table] "r"(&gatun__exp2), \
            [out] "r"(out), [alpha] "r"(alpha), [how] "m"(how)                                                         \
            : "cc", "memory", "k1", "xmm0", "xmm1", "xmm2", "xmm3", "xmm4", "xmm5", "xmm6", "xmm7", "xmm8", "xmm9",    \
            "xmm10", "xmm11", "xmm12", "xmm13", "xmm14", "xmm15", "xmm16", "xmm17", "xmm18", "xmm19", "xmm20",         \
            "xmm21", "xmm22", "xmm23", "xmm24", "xmm25", "xmm26", "xmm27", "xmm28", "xmm29", "xmm30", "xmm31");        \
    }

#define B_NEXT "vpsubd %%zmm19, %%zmm30, %%zmm30\n"

B_FUNCTION(products_overlapped, B_ANY, B_STAY, "")
B_FUNCTION(products_overlapped_masked, B_BELOW_LIMIT, B_ONLY, B_NEXT)

#undef B_PRODUCTS
#undef B_HALF
#undef B_TWO_KEYS
#undef B_ANY
#undef B_BELOW_LIMIT
#undef B_STAY
#undef B_ONLY
#undef B_NEXT
#undef B_LOOP
#undef B_ZERO
#undef B_FUNCTION
#undef B_ADD
#undef B_RESCALE
#undef B_STORE
#undef B_END

#endif

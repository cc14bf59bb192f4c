#include "internal.h"

#include <stdio.h>

typedef struct writer {
    char *text;
    int64_t size, length;
} writer;

static void line(writer *w, const char *name, int64_t offset, int64_t size) {
    char buffer[96];
    int n = offset < 0 ? snprintf(buffer, sizeof buffer, "%s - %lld\n", name, (long long)size)
                       : snprintf(buffer, sizeof buffer, "%s %lld %lld\n", name, (long long)offset, (long long)size);
    for (int i = 0; i < n; i++, w->length++) {
        if (w->length + 1 < w->size)
            w->text[w->length] = buffer[i];
    }
}

/* No struct has padding, so that one whose size is not the sum of its members' has a member that the list lacks. */
#define GATUN_MEMBER(type, member)  +sizeof(((type *)0)->member)
#define GATUN_STRUCT(type, members) _Static_assert(sizeof(type) == 0 members, "structs.inc lacks a member of " #type);
#include "structs.inc"

int64_t gatun_abi_layout(char *text, int64_t size) {
    writer w = {text, text == NULL ? 0 : size, 0};
#define GATUN_MEMBER(type, member)                                                                                     \
    line(&w, #type "." #member, (int64_t)offsetof(type, member), (int64_t)sizeof(((type *)0)->member));
#define GATUN_STRUCT(type, members)                                                                                    \
    line(&w, #type, -1, (int64_t)sizeof(type));                                                                        \
    members
#include "structs.inc"
    if (w.size > 0)
        w.text[w.length < w.size ? w.length : w.size - 1] = '\0';
    return w.length;
}

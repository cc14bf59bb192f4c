/*
 * The binary interface: structs hold no pointer and nothing whose size depends on the platform, gatun_abi_layout
 * tells the truth about all of their members, and the library exports the functions of abi.txt and nothing else.
 *
 * Files are found by GATUN_HEADER (include/gatun.h), GATUN_RELATIVES_HEADER (include/gatun_relatives.h), GATUN_ABI_LIST
 * (tests/abi.txt), all relative to native/, and GATUN_LIB_PATH (the library that this program is linked to).
 */
#define _GNU_SOURCE
#include <ctype.h>
#include <dlfcn.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "harness.h"
#include "suites.h"

static char *read_file(const char *variable, const char *path) {
    const char *set = getenv(variable);
    path = set != NULL && *set != '\0' ? set : path;
    FILE *file = fopen(path, "rb");
    if (file == NULL) {
        test_fail(__FILE__, __LINE__, "%s cannot be read; run in native/, or set %s", path, variable);
        return NULL;
    }
    enum { MOST = 1 << 20 };
    char *text = test_allocate(MOST);
    size_t length = fread(text, 1, MOST - 1, file);
    text[length] = '\0';
    fclose(file);
    return text;
}

static void blank_comments(char *text) {
    for (char *c = text; (c = strstr(c, "/*")) != NULL;) {
        char *end = strstr(c, "*/");
        end = end != NULL ? end + 2 : c + strlen(c);
        while (c < end) {
            *c++ = ' ';
        }
    }
}

/* ---- the structs of the header ---- */

typedef struct member {
    char of[40];
    char name[40];
    char type[24];
    int64_t count;
} member;

enum { MAX_MEMBERS = 400 };

static member members[MAX_MEMBERS];
static int member_count;

static const char *const allowed_types[][2] = {{"uint32_t", "4"}, {"int32_t", "4"}, {"uint64_t", "8"}, {"int64_t", "8"},
    {"float", "4"}, {"double", "8"}, {"char", "1"}, {"uint8_t", "1"}, {"int8_t", "1"}, {"uint16_t", "2"},
    {"int16_t", "2"}};

static int64_t size_of_type(const char *type) {
    for (size_t i = 0; i < sizeof allowed_types / sizeof *allowed_types; i++) {
        if (strcmp(type, allowed_types[i][0]) == 0) {
            return atoi(allowed_types[i][1]);
        }
    }
    return 0;
}

/* Both headers, one after the other; to be freed. NULL, and a failure, if one cannot be read. */
static char *read_headers(void) {
    char *first = read_file("GATUN_HEADER", "include/gatun.h");
    char *second = read_file("GATUN_RELATIVES_HEADER", "include/gatun_relatives.h");
    char *both = NULL;
    if (first != NULL && second != NULL) {
        const size_t length = strlen(first), more = strlen(second) + 1;
        both = test_allocate((int64_t)(length + more));
        memcpy(both, first, length);
        memcpy(both + length, second, more);
    }
    free(first);
    free(second);
    return both;
}

/* "type name;" or "type name[count];": anything else is not allowed in a struct of this interface. */
static void parse_member(const char *of, const char *declaration) {
    member m = {.count = 1};
    long long count = 1;
    int end = -1;
    if (sscanf(declaration, " %23[A-Za-z0-9_] %39[A-Za-z0-9_] [%lld] %n", m.type, m.name, &count, &end) != 3 ||
        end < 0) {
        count = 1;
        end = -1;
        int fields = sscanf(declaration, " %23[A-Za-z0-9_] %39[A-Za-z0-9_] %n", m.type, m.name, &end);
        if (fields != 2 || end < 0 || declaration[end] != '\0') {
            test_fail(__FILE__, __LINE__, "struct %s: \"%s\" is no member of a plain type", of, declaration);
            return;
        }
    }
    CHECK(size_of_type(m.type) > 0, "struct %s: %s has the type %s, which is not of a fixed width", of, m.name, m.type);
    m.count = count;
    snprintf(m.of, sizeof m.of, "%s", of);
    REQUIRE(member_count < MAX_MEMBERS, "too many members");
    members[member_count++] = m;
}

static void parse_structs(void) {
    member_count = 0;
    char *text = read_headers();
    if (text == NULL) {
        return;
    }
    blank_comments(text);
    static const char *const forbidden[] = {"union", "enum", "_Bool", "bool"};
    for (char *c = text; (c = strstr(c, "struct ")) != NULL; c++) {
        char name[40];
        int end = -1;
        if (sscanf(c, "struct %39[A-Za-z0-9_] {%n", name, &end) != 1 || end < 0) {
            continue;
        }
        char *close = strchr(c, '}');
        REQUIRE(close != NULL, "struct %s has no end", name);
        *close = '\0';
        for (size_t i = 0; i < sizeof forbidden / sizeof *forbidden; i++) {
            CHECK(strstr(c + end, forbidden[i]) == NULL, "struct %s holds a %s", name, forbidden[i]);
        }
        CHECK(strchr(c + end, '*') == NULL, "struct %s holds a pointer", name);
        int first = member_count;
        char *state = NULL;
        for (char *d = strtok_r(c + end, ";", &state); d != NULL; d = strtok_r(NULL, ";", &state)) {
            if (strspn(d, " \t\r\n") != strlen(d)) {
                for (char *s = d; *s != '\0'; s++) {
                    *s = isspace((unsigned char)*s) ? ' ' : *s;
                }
                parse_member(name, d);
            }
        }
        REQUIRE(member_count > first, "struct %s has no members", name);
        CHECK(strcmp(members[first].name, "struct_size") == 0 && strcmp(members[first].type, "uint32_t") == 0,
            "struct %s begins with %s %s, not with uint32_t struct_size", name, members[first].type,
            members[first].name);
        CHECK(strcmp(members[member_count - 1].name, "reserved") == 0, "struct %s ends with %s, not with reserved",
            name, members[member_count - 1].name);
        c = close;
    }
    free(text);
    CHECK(member_count > 0, "no struct found in the header");
}

static void no_pointers(void) {
    parse_structs();
}

/* ---- gatun_abi_layout ---- */

typedef struct layout_line {
    const char *name;
    int64_t offset; /* -1: the struct's own size */
    int64_t size;
} layout_line;

static const layout_line compiled[] = {
#define GATUN_MEMBER(type, member)                                                                                     \
    {#type "." #member, (int64_t)offsetof(type, member), (int64_t)sizeof(((type *)0)->member)},
#define GATUN_STRUCT(type, members) {#type, -1, (int64_t)sizeof(type)}, members
#include "../src/structs.inc"
};

enum { COMPILED = sizeof compiled / sizeof *compiled };

static void layout_text(void) {
    int64_t length = gatun_abi_layout(NULL, 0);
    REQUIRE(length > 0 && length < 100000, "the text's length is %lld", (long long)length);
    char *text = test_allocate(length + 2);
    memset(text, 'x', (size_t)length + 2);
    CHECK(gatun_abi_layout(text, length + 1) == length, "with a text, another length");
    CHECK(text[length] == '\0' && text[length + 1] == 'x' && (int64_t)strlen(text) == length,
        "the text does not end at its length");
    char part[11] = "xxxxxxxxxx";
    CHECK(gatun_abi_layout(part, 6) == length, "with 6 bytes, another length");
    CHECK(memcmp(part, text, 5) == 0 && part[5] == '\0' && part[6] == 'x', "6 bytes of text: \"%.10s\"", part);
    char one[2] = "xx";
    gatun_abi_layout(one, 1);
    CHECK(one[0] == '\0' && one[1] == 'x', "1 byte of text is not an empty string");
    gatun_abi_layout(one, 0);
    CHECK(one[1] == 'x', "0 bytes of text were written");

    bool seen[COMPILED] = {false};
    char *state = NULL;
    for (char *line = strtok_r(text, "\n", &state); line != NULL; line = strtok_r(NULL, "\n", &state)) {
        char name[80];
        char offset[24];
        long long size;
        int fields = sscanf(line, "%79s %23s %lld", name, offset, &size);
        CHECK(fields == 3, "the line \"%s\" has not three fields", line);
        bool found = false;
        for (size_t i = 0; i < COMPILED; i++) {
            if (strcmp(compiled[i].name, name) == 0) {
                found = true;
                CHECK(!seen[i], "%s comes twice", name);
                seen[i] = true;
                int64_t at = strcmp(offset, "-") == 0 ? -1 : atoll(offset);
                CHECK(at == compiled[i].offset && size == compiled[i].size,
                    "%s: expected offset %lld, size %lld, the text says \"%s\"", name, (long long)compiled[i].offset,
                    (long long)compiled[i].size, line);
            }
        }
        CHECK(found, "the text has %s, which structs.inc does not list", name);
    }
    for (size_t i = 0; i < COMPILED; i++) {
        CHECK(seen[i], "the text lacks %s", compiled[i].name);
    }
    free(text);
}

/*
 * structs.inc has all members of the header, without padding between them, so that no binding depends on a
 * compiler's rules.
 */
static void layout_is_whole(void) {
    parse_structs();
    int64_t next = 0;
    for (int n = 0; n < member_count; n++) {
        const member *m = &members[n];
        char name[96];
        snprintf(name, sizeof name, "%.39s.%.39s", m->of, m->name);
        bool first = n == 0 || strcmp(members[n - 1].of, m->of) != 0;
        bool last = n == member_count - 1 || strcmp(members[n + 1].of, m->of) != 0;
        bool found = false;
        for (size_t i = 0; i < COMPILED; i++) {
            if (strcmp(compiled[i].name, name) == 0) {
                found = true;
                next = first ? 0 : next;
                CHECK(compiled[i].offset == next, "%s: padding before it, offset %lld instead of %lld", name,
                    (long long)compiled[i].offset, (long long)next);
                next += m->count * size_of_type(m->type);
            }
            if (last && compiled[i].offset < 0 && strcmp(compiled[i].name, m->of) == 0) {
                CHECK(compiled[i].size % 8 == 0, "%s: its size %lld is no multiple of 8", m->of,
                    (long long)compiled[i].size);
            }
        }
        CHECK(found, "%s is not in structs.inc", name);
        for (size_t i = 0; last && i < COMPILED; i++) {
            if (strcmp(compiled[i].name, m->of) == 0) {
                CHECK(compiled[i].size == next, "%s: padding at its end", m->of);
            }
        }
    }
}

/* ---- exported symbols ---- */

static void exports(void) {
    char *list = read_file("GATUN_ABI_LIST", "tests/abi.txt");
    if (list == NULL) {
        return;
    }
    const char *library = getenv("GATUN_LIB_PATH");
    Dl_info info;
    if (library == NULL || *library == '\0') {
        /* dladdr takes an object pointer */
        REQUIRE(dladdr((void *)(uintptr_t)gatun_version, &info) != 0,
            "dladdr does not know gatun_version; set GATUN_LIB_PATH");
        library = info.dli_fname;
    }
    char command[4200];
    snprintf(command, sizeof command, "LC_ALL=C nm -D --defined-only '%s'", library);
    FILE *nm = popen(command, "r");
    REQUIRE(nm != NULL, "%s cannot be run", command);
    char line[512];
    int exported = 0;
    while (fgets(line, sizeof line, nm) != NULL) {
        char type;
        char name[256];
        if (sscanf(line, "%*s %c %255[^@ \n]", &type, name) != 2 || type == 'A') {
            continue; /* A: the version node itself */
        }
        exported++;
        char entry[260];
        snprintf(entry, sizeof entry, "%s\n", name);
        const char *at = strstr(list, entry);
        CHECK(at != NULL && (at == list || at[-1] == '\n'), "the library exports %s, which is not in abi.txt", name);
    }
    int status = pclose(nm);
    CHECK(status == 0, "%s failed", command);
    int listed = 0;
    char *state = NULL;
    const char *previous = "";
    for (char *name = strtok_r(list, "\n", &state); name != NULL; name = strtok_r(NULL, "\n", &state)) {
        listed++;
        CHECK(strcmp(previous, name) < 0, "abi.txt is not sorted at %s", name);
        previous = name;
        CHECK(dlsym(RTLD_DEFAULT, name) != NULL, "abi.txt has %s, which the library does not export", name);
    }
    CHECK(exported == listed, "the library exports %d symbols, abi.txt has %d", exported, listed);
    free(list);
}

/* Every function that the header declares is in the list, and no other. */
static void declarations(void) {
    char *header = read_headers();
    char *list = read_file("GATUN_ABI_LIST", "tests/abi.txt");
    int declared = 0;
    int listed = 0;
    if (header != NULL && list != NULL) {
        blank_comments(header);
        for (char *c = header; (c = strstr(c, "\nGATUN_API ")) != NULL; c++) {
            char *open = strchr(c, '(');
            REQUIRE(open != NULL, "a declaration without parenthesis");
            char *name = open;
            while (isalnum((unsigned char)name[-1]) || name[-1] == '_') {
                name--;
            }
            char entry[128];
            snprintf(entry, sizeof entry, "%.*s\n", (int)(open - name), name);
            const char *at = strstr(list, entry);
            CHECK(at != NULL && (at == list || at[-1] == '\n'), "the header declares %.*s, which is not in abi.txt",
                (int)(open - name), name);
            declared++;
        }
        for (const char *c = list; *c != '\0'; c++) {
            listed += *c == '\n';
        }
        CHECK(declared == listed, "the header declares %d functions, abi.txt has %d", declared, listed);
    }
    free(header);
    free(list);
}

const test_case abi_tests[] = {{"no_pointers", no_pointers}, {"layout_text", layout_text},
    {"layout_is_whole", layout_is_whole}, {"exports", exports}, {"declarations", declarations}, {NULL, NULL}};

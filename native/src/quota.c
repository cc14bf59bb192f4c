/*
 * The CPU quota of a container: how much time of the CPUs a control group may use. Groups are nested, and each level
 * limits what is below it.
 */
#define _GNU_SOURCE
#include "internal.h"

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { LINE_BYTES = 1536, PATH_BYTES = 512 };

typedef struct lines {
    int file;
    size_t begin, end;
    char text[LINE_BYTES];
} lines;

static int open_below(const char *root, const char *name) {
    char path[PATH_BYTES];
    int length = snprintf(path, sizeof path, "%s%s", root, name);
    return length < 0 || (size_t)length >= sizeof path ? -1 : open(path, O_RDONLY | O_CLOEXEC);
}

/* The next line that fits, without its end, or NULL. Longer ones are left out: those of overlays, say. */
static char *next_line(lines *in) {
    for (int skip = 0;;) {
        char *end = memchr(in->text + in->begin, '\n', in->end - in->begin);
        if (end != NULL) {
            char *line = in->text + in->begin;
            *end = '\0';
            in->begin = (size_t)(end - in->text) + 1;
            if (!skip)
                return line;
            skip = 0;
            continue;
        }
        if (in->begin == 0 && in->end == sizeof in->text) {
            skip = 1;
            in->end = 0;
        }
        memmove(in->text, in->text + in->begin, in->end - in->begin);
        in->end -= in->begin;
        in->begin = 0;
        ssize_t count = read(in->file, in->text + in->end, sizeof in->text - in->end);
        if (count <= 0)
            return NULL;
        in->end += (size_t)count;
    }
}

/* Cuts the field before the first of the separators off. */
static char *next_field(char **rest, const char *separators) {
    char *field = *rest;
    if (field == NULL)
        return NULL;
    char *end = field + strcspn(field, separators);
    *rest = *end == '\0' ? NULL : end + 1;
    *end = '\0';
    return field;
}

static int has_item(char *list, const char *item) {
    for (char *next = list, *found; (found = next_field(&next, ",")) != NULL;) {
        if (strcmp(found, item) == 0)
            return 1;
    }
    return 0;
}

/* mountinfo writes blanks and the like as \040. */
static void unescape(char *text) {
    char *to = text;
    for (const char *from = text; *from != '\0'; to++) {
        if (from[0] == '\\' && from[1] >= '0' && from[1] <= '3' && from[2] >= '0' && from[2] <= '7' && from[3] >= '0' &&
            from[3] <= '7') {
            *to = (char)((from[1] - '0') << 6 | (from[2] - '0') << 3 | (from[3] - '0'));
            from += 4;
        } else {
            *to = *from++;
        }
    }
    *to = '\0';
}

/* The group of this process in the hierarchy that has the cpu controller: version 2, or 1. */
static int find_group(const char *root, int version, char path[static PATH_BYTES]) {
    lines in = {.file = open_below(root, "/proc/self/cgroup")};
    int found = 0;
    if (in.file < 0)
        return 0;
    for (char *line; !found && (line = next_line(&in)) != NULL;) {
        char *rest = line;
        (void)next_field(&rest, ":");
        char *controllers = next_field(&rest, ":");
        if (controllers == NULL || rest == NULL || strlen(rest) >= PATH_BYTES)
            continue;
        found = version == 2 ? *controllers == '\0' : has_item(controllers, "cpu");
        if (found)
            memcpy(path, rest, strlen(rest) + 1);
    }
    close(in.file);
    return found;
}

/* Where that hierarchy is mounted, and which of its groups is seen there. */
static int find_mount(
    const char *root, int version, char point[static PATH_BYTES], char mounted_group[static PATH_BYTES]) {
    lines in = {.file = open_below(root, "/proc/self/mountinfo")};
    int found = 0;
    if (in.file < 0)
        return 0;
    for (char *line; !found && (line = next_line(&in)) != NULL;) {
        /* 31 23 0:28 GROUP POINT options [optional fields] - TYPE source OPTIONS */
        char *separator = strstr(line, " - ");
        if (separator == NULL)
            continue;
        *separator = '\0';
        char *type_rest = separator + 3, *rest = line;
        for (int i = 0; i < 3; i++)
            (void)next_field(&rest, " ");
        char *group = next_field(&rest, " "), *at = next_field(&rest, " ");
        char *type = next_field(&type_rest, " ");
        (void)next_field(&type_rest, " ");
        char *options = next_field(&type_rest, " ");
        if (at == NULL || strlen(group) >= PATH_BYTES || strlen(at) >= PATH_BYTES)
            continue;
        found = version == 2 ? strcmp(type, "cgroup2") == 0
                             : strcmp(type, "cgroup") == 0 && options != NULL && has_item(options, "cpu");
        if (found) {
            memcpy(point, at, strlen(at) + 1);
            memcpy(mounted_group, group, strlen(group) + 1);
            unescape(point);
            unescape(mounted_group);
        }
    }
    close(in.file);
    return found;
}

/* The first words of a file. */
static int read_text(const char *root, const char *folder, const char *name, char text[static 64]) {
    char path[PATH_BYTES];
    int length = snprintf(path, sizeof path, "%s/%s", folder, name);
    if (length < 0 || (size_t)length >= sizeof path)
        return 0;
    int file = open_below(root, path);
    if (file < 0)
        return 0;
    ssize_t count = read(file, text, 63);
    close(file);
    text[count < 0 ? 0 : count] = '\0';
    return count > 0;
}

/* CPUs, rounded up, or INT32_MAX for no limit. */
static int32_t cpus_of(const char *quota, const char *period) {
    long long q = strtoll(quota, NULL, 10), p = strtoll(period, NULL, 10);
    if (q <= 0 || p <= 0) /* "max", or -1 */
        return INT32_MAX;
    long long cpus = q / p + (q % p != 0);
    return cpus > INT32_MAX ? INT32_MAX : (int32_t)cpus;
}

static int32_t limit_of(const char *root, int version, const char *folder) {
    char quota[64], period[64];
    if (version == 2) {
        if (!read_text(root, folder, "cpu.max", quota))
            return INT32_MAX;
        const char *second = strchr(quota, ' ');
        return cpus_of(quota, second == NULL ? "0" : second);
    }
    return read_text(root, folder, "cpu.cfs_quota_us", quota) && read_text(root, folder, "cpu.cfs_period_us", period)
               ? cpus_of(quota, period)
               : INT32_MAX;
}

static int32_t least_limit(const char *root, int version) {
    char folder[PATH_BYTES], mounted[PATH_BYTES], group[PATH_BYTES];
    if (!find_group(root, version, group) || !find_mount(root, version, folder, mounted))
        return INT32_MAX;
    const size_t point = strcmp(folder, "/") == 0 ? 0 : strlen(folder);
    /* Inside a container its own group may be mounted: what is above it is neither seen nor named alike. */
    size_t above = strcmp(mounted, "/") == 0 ? 0 : strlen(mounted);
    const char *below =
        strncmp(group, mounted, above) == 0 && (group[above] == '/' || group[above] == '\0') ? group + above : "";
    if (strncmp(below, "/..", 3) == 0 || point + strlen(below) >= sizeof folder)
        below = "";
    memcpy(folder + point, below, strlen(below) + 1);
    int32_t least = INT32_MAX;
    for (size_t end = strlen(folder);; end--) {
        if (end > point && folder[end] != '\0' && folder[end] != '/')
            continue;
        folder[end] = '\0';
        int32_t limit = limit_of(root, version, folder);
        if (limit < least)
            least = limit;
        if (end <= point)
            return least;
    }
}

int32_t gatun__cpu_quota(const char *root) {
    int32_t newer = least_limit(root, 2), older = least_limit(root, 1);
    int32_t least = newer < older ? newer : older;
    return least == INT32_MAX ? 0 : least;
}

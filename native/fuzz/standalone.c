/*
 * Runs a fuzz target without libFuzzer.
 *
 *     gatun-fuzz[-packed] FILE|DIRECTORY ...        replays these inputs
 *     gatun-fuzz[-packed] --random COUNT [SEED]     invents inputs; one that fails is in gatun-fuzz.input
 *     gatun-fuzz[-packed] --make-corpus DIRECTORY   writes the seed corpus
 */
#define _DEFAULT_SOURCE
#include <dirent.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "../tests/random.h"
#include "target.h"

enum { MOST = 1 << 16 };

static int replayed;

static int replay_file(const char *path) {
    static uint8_t data[MOST];
    FILE *file = fopen(path, "rb");
    if (file == NULL) {
        perror(path);
        return 1;
    }
    size_t size = fread(data, 1, sizeof data, file);
    fclose(file);
    /* before the input is run, so that one that crashes is known */
    printf("%s\n", path);
    fflush(stdout);
    LLVMFuzzerTestOneInput(data, size);
    replayed++;
    return 0;
}

static int replay(const char *path) {
    struct stat state;
    if (stat(path, &state) != 0) {
        perror(path);
        return 1;
    }
    if (!S_ISDIR(state.st_mode)) {
        return replay_file(path);
    }
    struct dirent **entries;
    int count = scandir(path, &entries, NULL, alphasort);
    int failed = count < 0;
    for (int i = 0; i < count; i++) {
        char file[4096];
        if (entries[i]->d_name[0] != '.') {
            snprintf(file, sizeof file, "%s/%s", path, entries[i]->d_name);
            failed |= replay_file(file);
        }
        free(entries[i]);
    }
    if (count >= 0) {
        free(entries);
    }
    return failed;
}

static int write_file(const char *path, const uint8_t *data, size_t size) {
    FILE *file = fopen(path, "wb");
    if (file == NULL || fwrite(data, 1, size, file) != size || fclose(file) != 0) {
        perror(path);
        return 1;
    }
    return 0;
}

static size_t invent(uint8_t *data, size_t most, rng *random) {
    size_t size = (size_t)rng_between(random, 16, (int64_t)most);
    for (size_t i = 0; i < size; i++) {
        data[i] = (uint8_t)rng_next(random);
    }
    return size;
}

static int run_random(int64_t count, uint64_t seed) {
    uint8_t data[256];
    for (int64_t n = 0; n < count; n++) {
        rng random = rng_make(seed, (uint64_t)n);
        size_t size = invent(data, sizeof data, &random);
        if (write_file("gatun-fuzz.input", data, size) != 0) {
            return 1;
        }
        LLVMFuzzerTestOneInput(data, size);
    }
    remove("gatun-fuzz.input");
    printf("%lld inputs passed\n", (long long)count);
    return 0;
}

/* For every way of building a case a few inputs. */
static int make_corpus(const char *directory) {
    for (size_t kind = 0; fuzz_kinds[kind].name != NULL; kind++) {
        for (uint64_t n = 0; n < 3; n++) {
            uint8_t data[160];
            char path[4096];
            rng random = rng_make(kind, n);
            size_t size = invent(data, sizeof data, &random);
            memcpy(data, fuzz_kinds[kind].first, sizeof fuzz_kinds[kind].first);
            snprintf(path, sizeof path, "%s/%s-%d", directory, fuzz_kinds[kind].name, (int)n);
            if (write_file(path, data, size) != 0) {
                return 1;
            }
        }
    }
    return 0;
}

int main(int argc, char **argv) {
    if (argc == 3 && strcmp(argv[1], "--make-corpus") == 0) {
        return make_corpus(argv[2]);
    }
    if (argc >= 3 && strcmp(argv[1], "--random") == 0) {
        return run_random(atoll(argv[2]), argc > 3 ? strtoull(argv[3], NULL, 0) : 1);
    }
    if (argc < 2 || argv[1][0] == '-') {
        fprintf(stderr, "usage: %s FILE|DIRECTORY ... | --random COUNT [SEED] | --make-corpus DIRECTORY\n", argv[0]);
        return 2;
    }
    int failed = 0;
    for (int i = 1; i < argc; i++) {
        failed |= replay(argv[i]);
    }
    printf("%d inputs replayed\n", replayed);
    return failed || replayed == 0 ? 1 : 0;
}

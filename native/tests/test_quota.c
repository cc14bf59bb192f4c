/* The CPU quota of control groups, from trees of files as the system shows them. The function is not exported. */
#include "../src/quota.c"

#include <ftw.h>
#include <sys/stat.h>

#include "harness.h"
#include "suites.h"

static char root[256];

static void new_root(void) {
    const char *folder = getenv("TMPDIR");
    const int length =
        snprintf(root, sizeof root, "%s/gatun-quota-XXXXXX", folder != NULL && folder[0] != 0 ? folder : "/tmp");
    if (length >= (int)sizeof root || mkdtemp(root) == NULL)
        test_fail(__FILE__, __LINE__, "no temporary folder");
}

static int remove_entry(const char *path, const struct stat *status, int type, struct FTW *position) {
    (void)status, (void)type, (void)position;
    return remove(path);
}

static void remove_root(void) {
    nftw(root, remove_entry, 8, FTW_DEPTH | FTW_PHYS);
}

/* Writes a file below the root, and makes its folders. */
static void put(const char *name, const char *text) {
    char path[512];
    snprintf(path, sizeof path, "%s%s", root, name);
    for (char *slash = strchr(path + strlen(root) + 1, '/'); slash != NULL; slash = strchr(slash + 1, '/')) {
        *slash = '\0';
        mkdir(path, 0700);
        *slash = '/';
    }
    FILE *file = fopen(path, "w");
    REQUIRE(file != NULL, "%s cannot be written", path);
    fputs(text, file);
    fclose(file);
}

static void expect(int32_t cpus) {
    int32_t got = gatun__cpu_quota(root);
    CHECK(got == cpus, "expected %d, got %d", (int)cpus, (int)got);
}

#define V2_MOUNT                                                                                                       \
    "24 1 0:22 / /proc rw - proc proc rw\n30 23 0:26 / /sys/fs/cgroup rw,relatime shared:4 - cgroup2 cgroup2 "         \
    "rw,nsdelegate\n"

static void version_2(void) {
    new_root();
    expect(0); /* no /proc at all */
    put("/proc/self/cgroup", "0::/user/app.service\n");
    expect(0);
    put("/proc/self/mountinfo", V2_MOUNT);
    expect(0); /* no cpu.max: the controller is off */
    static const struct {
        const char *max;
        int32_t cpus;
    } cases[] = {{"max 100000\n", 0}, {"100000 100000\n", 1}, {"150000 100000\n", 2}, {"50000 100000\n", 1},
        {"1000 100000\n", 1}, {"400000 100000\n", 4}, {"400001 100000\n", 5}, {"", 0}, {"nonsense\n", 0},
        {"-1 100000\n", 0}, {"100000 0\n", 0}, {"100000\n", 0}, {"9223372036854775807 1\n", 0}};
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        test_note("cpu.max \"%s\"", cases[i].max);
        put("/sys/fs/cgroup/user/app.service/cpu.max", cases[i].max);
        expect(cases[i].cpus);
    }
    /* Whoever is above limits what is below, at each level. */
    put("/sys/fs/cgroup/user/app.service/cpu.max", "400000 100000\n");
    put("/sys/fs/cgroup/user/cpu.max", "250000 100000\n");
    expect(3);
    put("/sys/fs/cgroup/cpu.max", "20000 10000\n");
    expect(2);
    put("/sys/fs/cgroup/cpu.max", "max 100000\n");
    expect(3);
    put("/proc/self/cgroup", "0::/\n");
    expect(0);
    put("/sys/fs/cgroup/cpu.max", "100000 100000\n");
    expect(1);
    test_note("%s", "");
    remove_root();
}

static void inside_a_container(void) {
    new_root();
    /* The container's own group is what is mounted. */
    put("/proc/self/mountinfo", "30 23 0:26 /docker/0af1 /sys/fs/cgroup ro - cgroup2 cgroup rw\n");
    put("/proc/self/cgroup", "0::/docker/0af1\n");
    put("/sys/fs/cgroup/cpu.max", "200000 100000\n");
    expect(2);
    put("/proc/self/cgroup", "0::/docker/0af1/inner\n");
    put("/sys/fs/cgroup/inner/cpu.max", "100000 100000\n");
    expect(1);
    put("/proc/self/cgroup", "0::/docker/0af12\n"); /* another one, whose name begins alike */
    expect(2);
    put("/proc/self/cgroup", "0::/../other\n"); /* outside of the namespace */
    expect(2);
    remove_root();
}

static void version_1(void) {
    new_root();
    put("/proc/self/cgroup", "12:cpuset:/a\n4:cpu,cpuacct:/a/b\n3:memory:/a\n1:name=systemd:/a\n0::/a\n");
    put("/proc/self/mountinfo", "31 23 0:27 / /sys/fs/cgroup/cpuset rw - cgroup cgroup rw,cpuset\n"
                                "32 23 0:28 / /sys/fs/cgroup/cpu\\040time rw - cgroup cgroup rw,cpu,cpuacct\n"
                                "33 23 0:29 / /sys/fs/cgroup/unified rw - cgroup2 cgroup2 rw\n");
    expect(0);
    put("/sys/fs/cgroup/cpu time/a/b/cpu.cfs_quota_us", "-1\n");
    expect(0);
    put("/sys/fs/cgroup/cpu time/a/b/cpu.cfs_period_us", "100000\n");
    expect(0);
    put("/sys/fs/cgroup/cpu time/a/b/cpu.cfs_quota_us", "250000\n");
    expect(3);
    put("/sys/fs/cgroup/cpu time/a/cpu.cfs_period_us", "50000\n");
    put("/sys/fs/cgroup/cpu time/a/cpu.cfs_quota_us", "60000\n");
    expect(2);
    /* Both versions at once: the least counts. */
    put("/sys/fs/cgroup/unified/a/cpu.max", "100000 100000\n");
    expect(1);
    remove_root();
}

static void long_lines(void) {
    new_root();
    char *mounts = test_allocate(20000);
    memset(mounts, 'x', 20000);
    mounts[9000] = '\n';
    strcpy(mounts + 9001, V2_MOUNT);
    put("/proc/self/mountinfo", mounts);
    free(mounts);
    put("/proc/self/cgroup", "0::/app\n");
    put("/sys/fs/cgroup/app/cpu.max", "100000 100000\n");
    expect(1);
    remove_root();
}

const test_case quota_tests[] = {{"version_2", version_2}, {"inside_a_container", inside_a_container},
    {"version_1", version_1}, {"long_lines", long_lines}, {NULL, NULL}};

# Tests of the C library: included by native/Makefile, which gives CC, CFLAGS, BUILD, WARNINGS, SANITIZE, LDLIBS and
# the rule for the library.
#
# TEST_RUNNER  a command that runs the programs: "valgrind --error-exitcode=1", "qemu-aarch64 -L /usr/aarch64-linux-gnu"
# TESTS        substrings of the names of the tests to run: make test TESTS='numbers bits.groups'
# Environment: GATUN_TEST_SEED, GATUN_TEST_CASE, GATUN_TEST_LIGHT, GATUN_TEST_FEATURES, GATUN_ISA (see tests/harness.h)
TEST_RUNNER ?=
TESTS ?=
# Counting allocations needs the system's own malloc, which sanitizers and valgrind replace.
TEST_MEMORY ?= $(if $(SANITIZE)$(TEST_RUNNER),,memory)

LIB ?= $(BUILD)/libgatun.so
TEST_OUT := $(BUILD)/tests
TEST_BASE := -std=c11 -fPIC -Iinclude -Itests -MMD -MP -pthread -ffp-contract=off $(WARNINGS) $(SANITIZE)
ifneq ($(WERROR),)
TEST_BASE += -Werror
endif
# The library is found beside the folder of the program, wherever both lie.
TEST_LINK := $(CFLAGS) $(SANITIZE) $(LDFLAGS) -L$(dir $(LIB)) -Wl,-rpath,'$$ORIGIN/..'

TEST_SUPPORT := harness guarded reference problem placement changed pairwise rows packed_layer linear_case
TEST_PROGRAM := main $(filter-out test_memory,$(patsubst tests/%.c,%,$(wildcard tests/test_*.c)))
test_objects = $(patsubst %,$(TEST_OUT)/%.o,$(1))

.PHONY: test test-build test-avxvnni test-memory test-full fuzz-build fuzz-replay fuzz-random fuzz-corpus

TEST_PROGRAMS := $(addprefix $(TEST_OUT)/,gatun-tests gatun-memory-tests libmalloc_counter.so gatun-fuzz gatun-fuzz-packed)

test-build: $(TEST_PROGRAMS) ## all test programs

# What the Java tests preload.
.PHONY: malloc-counter
malloc-counter: $(TEST_OUT)/libmalloc_counter.so

test: test-build ## all tests of the C library (TESTS=, TEST_RUNNER=, CONFIG=)
	$(TEST_RUNNER) $(TEST_OUT)/gatun-tests $(TESTS)
ifneq ($(TEST_MEMORY),)
	LD_PRELOAD=$(abspath $(TEST_OUT))/libmalloc_counter.so $(TEST_OUT)/gatun-memory-tests
endif
	$(MAKE) --no-print-directory fuzz-replay

test-full: test-build ## the same with the full products of shapes, masks and layouts (takes long)
	$(TEST_RUNNER) $(TEST_OUT)/gatun-tests --full $(TESTS)

fuzz-build: $(TEST_OUT)/gatun-fuzz $(TEST_OUT)/gatun-fuzz-packed

fuzz-replay: fuzz-build ## runs the fuzz targets, attention and packed products, on their corpora
	$(TEST_RUNNER) $(TEST_OUT)/gatun-fuzz fuzz/corpus
	$(TEST_RUNNER) $(TEST_OUT)/gatun-fuzz-packed fuzz/corpus-packed

# Kernels of AVX_VNNI on a CPU that has AVX512_VNNI: a library whose kernels have the same instruction in the encoding of AVX-512
# (GATUN_EVEX_VNNI), and ask for that one.
EVEX := $(BUILD)/evex
EVEX_OBJ := $(EVEX)/cpu.o $(EVEX)/kernels/linear/linear_i8_avxvnni.o

test-avxvnni: $(EVEX)/libgatun.so.$(ABI) test-build ## kernels of AVX_VNNI on a CPU with AVX512_VNNI instead
	GATUN_TEST_FEATURES=4 LD_LIBRARY_PATH=$(abspath $(EVEX)) $(TEST_OUT)/gatun-tests kernels. packed_linear. packed_weights.

$(EVEX_OBJ): $(EVEX)/%.o: src/%.c $(BUILD)/flags
	@mkdir -p $(@D)
	$(call say,CC,$<)
	$(Q)$(CC) $(BASE) $(CPPFLAGS) $(CFLAGS) -DGATUN_EVEX_VNNI $(if $(filter kernels/%,$*),-O3 $(ISA_avxvnni)) -c $< -o $@

$(EVEX)/libgatun.so.$(ABI): $(EVEX_OBJ) $(OBJ) gatun.map
	$(call say,LD,$@)
	$(Q)$(CC) $(CFLAGS) $(SANITIZE) $(LDFLAGS) $(LDFLAGS_SO) $(filter-out $(EVEX_OBJ:$(EVEX)/%=$(BUILD)/obj/%),$(filter %.o,$^)) $(LDLIBS) -o $@

-include $(EVEX_OBJ:.o=.d)

FUZZ_COUNT ?= 20000
FUZZ_SEED ?= 1
fuzz-random: fuzz-build ## runs the fuzz targets on FUZZ_COUNT invented inputs of FUZZ_SEED
	cd $(TEST_OUT) && $(TEST_RUNNER) ./gatun-fuzz --random $(FUZZ_COUNT) $(FUZZ_SEED)
	cd $(TEST_OUT) && $(TEST_RUNNER) ./gatun-fuzz-packed --random $(FUZZ_COUNT) $(FUZZ_SEED)

fuzz-corpus: fuzz-build ## writes the seed corpora again
	mkdir -p fuzz/corpus fuzz/corpus-packed
	$(TEST_OUT)/gatun-fuzz --make-corpus fuzz/corpus
	$(TEST_OUT)/gatun-fuzz-packed --make-corpus fuzz/corpus-packed

$(TEST_OUT)/%.o: tests/%.c $(BUILD)/flags
	@mkdir -p $(@D)
	$(call say,CC,$<)
	$(Q)$(CC) $(TEST_BASE) $(CPPFLAGS) $(CFLAGS) -c $< -o $@

$(TEST_OUT)/fuzz_%.o: fuzz/fuzz_%.c $(BUILD)/flags
	@mkdir -p $(@D)
	$(call say,CC,$<)
	$(Q)$(CC) $(TEST_BASE) $(CPPFLAGS) $(CFLAGS) -c $< -o $@

$(TEST_OUT)/standalone.o: fuzz/standalone.c $(BUILD)/flags
	@mkdir -p $(@D)
	$(call say,CC,$<)
	$(Q)$(CC) $(TEST_BASE) $(CPPFLAGS) $(CFLAGS) -c $< -o $@

# What the library does not export, and test_plan.c and test_pool.c call.
$(TEST_OUT)/gatun-tests: $(call test_objects,$(TEST_SUPPORT) $(TEST_PROGRAM)) $(addprefix $(BUILD)/obj/,plan.o predict.o pool.o clock.o) $(LIB)
	$(call say,LD,$@)
	$(Q)$(CC) $(TEST_LINK) $(filter %.o,$^) -lgatun $(LDLIBS) -ldl -o $@

$(TEST_OUT)/gatun-memory-tests: $(call test_objects,$(TEST_SUPPORT) test_memory) $(LIB)
	$(call say,LD,$@)
	$(Q)$(CC) $(TEST_LINK) $(filter %.o,$^) -lgatun $(LDLIBS) -ldl -o $@

# Never with a sanitizer: it is preloaded into programs that have none.
$(TEST_OUT)/libmalloc_counter.so: tests/malloc_counter.c tests/malloc_counter.h $(BUILD)/flags
	@mkdir -p $(@D)
	$(call say,LD,$@)
	$(Q)$(CC) -std=c11 -fPIC -fvisibility=hidden -fno-builtin $(WARNINGS) $(CFLAGS) -shared $< -o $@

$(TEST_OUT)/gatun-fuzz: $(call test_objects,fuzz_attention fuzz_case fuzz_changes standalone reference guarded) $(LIB)
	$(call say,LD,$@)
	$(Q)$(CC) $(TEST_LINK) $(filter %.o,$^) -lgatun $(LDLIBS) -o $@

$(TEST_OUT)/gatun-fuzz-packed: $(call test_objects,fuzz_packed standalone harness reference guarded rows packed_layer) $(LIB)
	$(call say,LD,$@)
	$(Q)$(CC) $(TEST_LINK) $(filter %.o,$^) -lgatun $(LDLIBS) -ldl -o $@

-include $(wildcard $(TEST_OUT)/*.d)

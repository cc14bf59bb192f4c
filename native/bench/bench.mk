# Included by ../Makefile.
.PHONY: bench bench-plan bench-linear bench-additive bench-scan bench-program bench-lib

bench: bench-program ## share of the FMA peak, kernel and peak in alternation (BENCH_ARGS="--help" for options)
	$(BUILD)/bench/bench_attention $(BENCH_ARGS)

bench-plan: $(BUILD)/bench/bench_plan ## the plan's choices against others (BENCH_ARGS="--help" for options)
	$(BUILD)/bench/bench_plan $(BENCH_ARGS)

bench-linear: $(BUILD)/bench/bench_linear ## products with packed weights, share of the peak of their type (BENCH_ARGS="--help" for options)
	$(BUILD)/bench/bench_linear $(BENCH_ARGS)

bench-additive: $(BUILD)/bench/bench_additive ## additive attention, share of what its hyperbolic tangents cost (BENCH_ARGS="--tier avx2 --dim 64 512")
	$(BUILD)/bench/bench_additive $(BENCH_ARGS)

bench-program: $(addprefix $(BUILD)/bench/,bench_attention bench_plan bench_linear bench_additive bench_scan)
bench-scan: $(BUILD)/bench/bench_scan ## the selective scan beside its bound by instructions (BENCH_ARGS=most rows)
	$(BUILD)/bench/bench_scan $(BENCH_ARGS)

bench-lib: $(BUILD)/bench/libgatunbench.so ## what the Java benchmarks need in C

# jni.h is the only thing here that comes from a JDK.
JNI_HOME ?= $(shell ../src/main/scripts/find-jdk.sh --javac)

BENCH_OBJ := $(patsubst %,$(BUILD)/bench/%.o,gatunbench workload core_contention jni_twin $(addprefix softmax_,$(TIERS)) \
	$(addprefix read_,$(TIERS)))

$(BUILD)/bench/%.o: bench/%.c $(BUILD)/flags
	@mkdir -p $(@D)
	$(call say,CC,$<)
	$(Q)$(CC) $(BASE) $(CPPFLAGS) $(CFLAGS) $(BENCH_FLAGS) -c $< -o $@

# Compiled as the kernels are.
$(BUILD)/bench/scan_bound_%.o: BENCH_FLAGS = -O3 $(ISA_$(lastword $(subst _, ,$*)))

# A peer gets what a compiler can do for it, fused multiply-adds included.
$(BUILD)/bench/softmax_%.o $(BUILD)/bench/read_%.o: BENCH_FLAGS = -O3 -ffp-contract=fast -Wno-psabi $(ISA_$(lastword $(subst _, ,$*)))
# As kernels are compiled.
$(BUILD)/bench/tanh_%.o: BENCH_FLAGS = -O3 $(ISA_$(lastword $(subst _, ,$*)))
$(BUILD)/bench/jni_twin.o: BENCH_FLAGS = -isystem $(JNI_HOME)/include -isystem $(JNI_HOME)/include/linux

$(BUILD)/bench/libgatunbench.so: $(BENCH_OBJ)
	$(call say,LD,$@)
	$(Q)$(CC) $(CFLAGS) $(SANITIZE) $(LDFLAGS) -shared $(BENCH_OBJ) $(LDLIBS) -o $@

$(BUILD)/bench/bench_attention: $(BUILD)/bench/bench_changes.o
$(BUILD)/bench/bench_additive: $(addprefix $(BUILD)/bench/tanh_,$(addsuffix .o,$(TIERS)))
$(BUILD)/bench/bench_linear: $(addprefix $(BUILD)/bench/read_,$(addsuffix .o,$(TIERS)))

$(BUILD)/bench/bench_scan: $(patsubst %,$(BUILD)/bench/scan_bound_%.o,$(TIERS))

$(BUILD)/bench/bench_%: $(BUILD)/bench/bench_%.o $(BUILD)/bench/workload.o $(BUILD)/bench/core_contention.o $(BUILD)/libgatun.a
	$(call say,LD,$@)
	$(Q)$(CC) $(CFLAGS) $(SANITIZE) $(LDFLAGS) $^ $(LDLIBS) -ldl -o $@

-include $(BENCH_OBJ:.o=.d) $(BUILD)/bench/bench_scan.d $(BUILD)/bench/bench_attention.d $(BUILD)/bench/bench_changes.d $(BUILD)/bench/bench_plan.d $(BUILD)/bench/bench_linear.d $(BUILD)/bench/bench_additive.d \
	$(patsubst %,$(BUILD)/bench/tanh_%.d,$(TIERS))

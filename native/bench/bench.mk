# Included by ../Makefile.
.PHONY: bench
bench: $(BUILD)/bench/bench_attention ## share of the FMA peak, kernel and peak in alternation (BENCH_ARGS="--help" for options)
	$(BUILD)/bench/bench_attention $(BENCH_ARGS)

$(BUILD)/bench/%: bench/%.c $(BUILD)/libgatun.a
	@mkdir -p $(@D)
	$(call say,CC,$<)
	$(Q)$(CC) $(BASE) $(CPPFLAGS) $(CFLAGS) $< $(BUILD)/libgatun.a $(LDFLAGS) $(LDLIBS) -o $@

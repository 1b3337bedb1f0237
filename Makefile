# Sexton: build, test, install. `make help` says what there is.

CARGO   ?= cargo
TARGET  := $(abspath $(or $(CARGO_TARGET_DIR),target))
BIN     := $(TARGET)/bin
DESTDIR ?=
PREFIX  ?= /usr
SYSCONFDIR ?= /etc

export SEXTON_BIN_DIR := $(BIN)

.DEFAULT_GOAL := help
.PHONY: help demo test crash storm fuzz build bench lint size install clean

help:
	@echo "make demo     build, then run real containers, plain programs where runc cannot, and check that every exit is exact"
	@echo "make test     build, then all tests: unit, and end to end with real runc (root)"
	@echo "make crash    SIGKILL before and after every system call of shim and collector; CRASH=--help for less than all;"
	@echo "              CRASH=\"--fault eio\": instead of that, its disk fails at each change"
	@echo "make storm    1,000 real containers and 10,000 processes die at once, also while the collector is killed; STORM=--help"
	@echo "make fuzz     the decoders against arbitrary bytes for FUZZ_SECONDS (600): cargo-fuzz, else property tests"
	@echo "make build    release binaries in $(BIN)"
	@echo "make bench    the same containers run by Sexton, conmon, containerd and bare runc; prints ratios, writes bench/results;"
	@echo "              BENCH=\"--quick\", \"--only start\", \"--check\": see BENCH=--help"
	@echo "make lint     rustfmt, clippy, shellcheck if installed, file lengths"
	@echo "make size     what a shim costs: file, RSS, PSS, private memory"
	@echo "make install  into DESTDIR with PREFIX (/usr): binaries, unit, tmpfiles, configuration, docs"
	@echo "make clean    remove what was built"

build:
	scripts/install-deps.sh build
	CARGO="$(CARGO)" scripts/build.sh "$(TARGET)"

demo: build
	scripts/install-deps.sh run || echo "demo: goes on with what is here"
	scripts/demo.sh "$(BIN)"

test: build
	scripts/install-deps.sh run
	CARGO="$(CARGO)" scripts/test.sh

crash: build
	scripts/install-deps.sh run
	$(CARGO) build --release -p sexton-tests --bin sexton-crash
	scripts/as-root.sh "$(TARGET)/release/sexton-crash" $(CRASH)

storm: build
	scripts/install-deps.sh run
	$(CARGO) build --release -p sexton-tests --bin sexton-storm
	scripts/as-root.sh "$(TARGET)/release/sexton-storm" $(STORM)

fuzz:
	CARGO="$(CARGO)" scripts/fuzz.sh

bench size: build
	scripts/install-deps.sh $(if $(filter size,$@),run,bench)
	$(CARGO) build --release -p sexton-bench
	install -m 0755 "$(TARGET)/release/sexton-bench" "$(BIN)/sexton-bench"
	scripts/as-root.sh "$(BIN)/sexton-bench" $(if $(filter size,$@),size,$(BENCH))

lint:
	$(CARGO) fmt --all --check
	$(CARGO) clippy --workspace --all-targets -- -D warnings
	scripts/check-files.sh

install:
	test -x "$(BIN)/sexton" -a -x "$(BIN)/sextond" -a -x "$(BIN)/sexton-shim" || $(MAKE) build
	scripts/install.sh "$(BIN)" "$(DESTDIR)" "$(PREFIX)" "$(SYSCONFDIR)"

clean:
	$(CARGO) clean
	rm -rf "$(BIN)"

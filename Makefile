# One command to run it, one to prove it. `make help` lists them.
#
# Everything is built as one workspace: RocksDB then compiles once, for running, testing and measuring.
SHELL := /bin/bash
DIR ?= $(HOME)/ozone
MOUNT ?= $(DIR)/mnt
ARGS ?=
export CARGO_TARGET_DIR ?= $(CURDIR)/target
BIN := $(CARGO_TARGET_DIR)/debug/ozone
TEST_THREADS ?= 2

.PHONY: help setup build up check lint deny root test soak bench

help:
	@echo 'make up      set up, build, and run a mounted cluster   (DIR=$(DIR) MOUNT=$(MOUNT) ARGS="--datanodes 1")'
	@echo 'make test    set up, and run every check and test; as root, for the disks that are mounted'
	@echo 'make check   formatting, lints and unit tests: the daily loop'
	@echo 'make soak    the long tests   (FILES=100000 REAL_FILES=10000 MIB=2048 KEYS=10000 S3_MIB=5120 REPEAT=5)'
	@echo '             ROUNDS=50   in each test of kills, of power cuts, and of snapshots'
	@echo '             MINUTES=0   goes on in each test of kills and of power cuts until so many have passed'
	@echo '             SEED=       that a run printed, to have it again; where not given, each test takes a new one and prints it'
	@echo 'make bench   the mount beside the raw disk and the floor of FUSE; Raft beside fsync; S3   (ARGS="--quick --minio FILE")'

setup:
	@scripts/setup.sh

build: setup
	cargo build --workspace --bins

up: build
	@mkdir -p "$(DIR)"; mkdir -p "$(MOUNT)" 2>/dev/null || true # A mount that was killed is seen to by ozone up.
	exec "$(BIN)" up --dir "$(DIR)/data" --mount "$(MOUNT)" $(ARGS)

lint:
	cargo fmt --all --check
	cargo clippy --workspace --all-targets -- -D warnings

deny:
	cargo deny --all-features check bans licenses sources

check: setup lint
	cargo test --workspace --lib --bins

root:
	@[ "$$(id -u)" = 0 ] || { echo 'The tests mount disks of their own (loop devices, tmpfs), which takes root: run as root.' \
	  '"make check" needs none.' >&2; exit 1; }

test: root setup lint deny build
	cargo test --workspace --no-run
	@start=$$SECONDS; cargo test --workspace -- --test-threads=$(TEST_THREADS) && took=$$((SECONDS - start)) && \
	  echo "make test: all passed, $$took s after the build" && \
	  { [ $$took -le 1200 ] || echo 'make test: that is more than the 20 minutes that two cores are to take' >&2; }

soak: root build
	@echo "soak: ROUNDS=$${ROUNDS:-50} kills in each test of kills, as many power cuts in each of power cuts, and on until" \
	  "MINUTES=$${MINUTES:-0} have passed in each; SEED=$${SEED:-(a new one in each, printed)};" \
	  "$${FILES:-100000} files, $${MIB:-2048} MiB"
	ROUNDS=$${ROUNDS:-50} cargo test --workspace --test durability --test write_back --test folding -- --test-threads=1 --nocapture
	FILES=$${FILES:-100000} cargo test --workspace --test many_files -- --test-threads=1 --nocapture
	MIB=$${MIB:-2048} cargo test --workspace --test large_files -- --test-threads=1 --nocapture
	FILES=$${REAL_FILES:-10000} cargo test --workspace --test real_input -- --test-threads=1 --nocapture
	KEYS=$${KEYS:-10000} cargo test --workspace --test s3_clients -- --test-threads=1 --nocapture
	MIB=$${S3_MIB:-5120} cargo test --workspace --test s3_large -- --test-threads=1 --nocapture
	ROUNDS=$${ROUNDS:-50} cargo test --workspace --test s3_snapshots -- --test-threads=1 --nocapture
	for round in $$(seq $${REPEAT:-5}); do echo "soak: outages, round $$round"; \
	  cargo test --workspace --test daemons --test full_disk --test reclaim -- --test-threads=1 || exit 1; done

bench: build
	"$(CARGO_TARGET_DIR)/debug/ozone-bench" $(ARGS)

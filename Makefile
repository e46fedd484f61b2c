# SPDX-License-Identifier: Apache-2.0
# A thin wrapper around CMake and scripts/, for people in a hurry.
PREFIX ?= /usr/local
.DEFAULT_GOAL := build
.PHONY: build demo check bench install format lint clean help

help:
	@echo "make build    build for development, in build/dev"
	@echo "make demo     as root: see Sluice at work (KEEP=1 leaves it running)"
	@echo "make check    as root: all checks and tests"
	@echo "make bench    measure; the report is build/bench/report.json"
	@echo "make install  install a release (PREFIX=$(PREFIX), DESTDIR=)"
	@echo "make format   format the C sources;   make lint   check style only;   make clean   remove build/"

build:
	@scripts/build dev

demo:
	@scripts/install-deps
	@scripts/build release
	@SLUICE_BUILD_DIR=$(CURDIR)/build/release KEEP=$(KEEP) sim/lab/demo

check:
	@scripts/check

bench:
	@scripts/bench

install:
	@scripts/install-deps runtime build
	@scripts/build release
	@DESTDIR="$(DESTDIR)" cmake --install build/release --prefix "$(PREFIX)"

format:
	@scripts/lint --list c | xargs clang-format -i

lint:
	@scripts/check lint

clean:
	@rm -rf build

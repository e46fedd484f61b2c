# SPDX-License-Identifier: Apache-2.0
# A thin wrapper around CMake and scripts/, for people in a hurry.
PREFIX ?= /usr/local
.DEFAULT_GOAL := build
.PHONY: build demo check bench install format lint clean help

help:
	@echo "make build    build for development, in build/dev"
	@echo "make demo     as root: see Sluice at work (KEEP=1 leaves it running)"
	@echo "               CARD=sim: the card's work, on a simulated one behind XRT;   CARD=cpu: the same without XRT"
	@echo "make check    as root: all checks and tests"
	@echo "make bench    measure; the report is build/bench/report.json"
	@echo "make install  install a release (PREFIX=$(PREFIX), DESTDIR=)"
	@echo "make format   format the C sources;   make lint   check style only;   make clean   remove build/"

build:
	@scripts/build dev

demo:
	@case "$(CARD)" in '' | sim | cpu) ;; *) \
	  echo "make demo: there is no CARD=$(CARD); it is sim, the card simulated behind XRT, or cpu, without one" >&2; exit 2 ;; esac
	@scripts/install-deps
	@scripts/build release
	@SLUICE_BUILD_DIR=$(CURDIR)/build/release KEEP=$(KEEP) sim/lab/demo$(if $(CARD),-card $(CARD))

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

# make demo   the whole story on a real Kubernetes and a real Patroni; KEEP=1 leaves the lab up
# make test   every test
# Both do all their own set-up. The first run builds Kubernetes: about 10 minutes on two cores.

SHELL := /bin/bash
LAB := target/release/lab
IMAGES := target/images/switchover.tar target/images/shop.tar
STATE := target/lab

.PHONY: help demo test test-unit test-light test-lab bench bench-admission bench-agent bench-fleet bench-reactions reviews fuzz fuzz-build lint deny build tools images crds lab-up lab-down lab-shell clean

help:
	@sed -n '1,4p' Makefile | sed 's/^# \?//'
	@echo "make lab-up, lab-shell, lab-down   a lab to look around in"
	@echo "make bench                         speed: admission, agent, reactions, 5,000 nodes"
	@echo "make reviews                       records what a real API server asks webhooks about pods"
	@echo "make fuzz                          every fuzz target for 20 s; FUZZ_SECONDS=600 for longer"
	@echo "make lint, deny, crds              what CI checks besides the tests"

demo: images
	$(LAB) demo $(if $(KEEP),--keep) $(addprefix --image ,$(IMAGES))

test: test-unit test-light test-lab

test-unit:
	cargo test --workspace --lib --bins --locked

# What Kubernetes alone decides: a real control plane with fake nodes.
test-light: tools
	cargo build --locked -p switchover-lab
	cargo test --locked -p switchover-lab --test light_bed
	cargo test --locked --test it -- light::

# Real nodes, real Patroni, an emulated WAN. Needs root.
test-lab: images
	cargo build --locked -p switchover-lab
	cargo test --locked -p switchover-lab --test beds --test full_lab -- --include-ignored --test-threads=1
	cargo test --locked --test it -- lab:: --include-ignored --test-threads=1

# Speed: target/bench/report.json and docs/performance.md. Needs two CPUs that have nothing else to do.
bench: bench-admission bench-agent bench-fleet bench-reactions

# The webhook beside a floor and controller-runtime.
bench-admission:
	cargo bench --locked --bench decisions
	cargo bench --locked --bench admission

# What an agent costs its node.
bench-agent: tools
	cargo bench --locked --bench agent

# The labels of 5,000 nodes after the primary has moved.
bench-fleet: tools
	cargo bench --locked --bench fleet

# Ten switchovers and ten kills in the lab: from Patroni's own word to the labels. Needs root.
bench-reactions: images
	$(LAB) reactions $(addprefix --image ,$(IMAGES))

# What a real API server asks about pods of every kind, recorded for tests/fixtures/reviews.
reviews: tools
	$(LAB) reviews

# Every fuzz target for a while: FUZZ_SECONDS=600 for long runs. What breaks one is left in fuzz/artifacts.
FUZZ_SECONDS := 20
FUZZ_TARGETS := $(basename $(notdir $(wildcard fuzz/fuzz_targets/*.rs)))
.PHONY: $(addprefix fuzz-,$(FUZZ_TARGETS))

fuzz: $(addprefix fuzz-,$(FUZZ_TARGETS))

fuzz-build:
	cd fuzz && cargo build --release --locked

$(addprefix fuzz-,$(FUZZ_TARGETS)): fuzz-%: fuzz-build
	@mkdir -p fuzz/artifacts/$* fuzz/target/corpus/$* fuzz/corpus/$*
	@echo "fuzz $*: $(FUZZ_SECONDS) s"
	@cd fuzz && target/*/release/$* -max_total_time=$(FUZZ_SECONDS) -timeout=10 -rss_limit_mb=1024 -dict=words.dict \
		-artifact_prefix=artifacts/$*/ target/corpus/$* corpus/$* > target/$*.log 2>&1 \
		|| { grep -v '^[\#"]' target/$*.log | tail -40; exit 1; }
	@grep -h '^Done' fuzz/target/$*.log

lint:
	cargo fmt --all --check
	cd fuzz && cargo fmt --check
	cargo clippy --workspace --all-targets --locked -- -D warnings

deny:
	cargo deny --all-features check bans licenses sources

build:
	cargo build --release --locked -p switchover -p switchover-lab

tools: build
	$(LAB) prepare

images: $(IMAGES)

target/images/switchover.tar: tools
	@$(LAB) image --binary target/release/switchover --binary target/release/switchover-agent --name lab.local/switchover:dev --out $@

target/images/shop.tar: tools
	@$(LAB) image --binary target/release/shop --name lab.local/shop:dev --out $@

crds: build
	target/release/switchover crds > deploy/base/crds.yaml

lab-up: images
	$(LAB) up $(addprefix --image ,$(IMAGES))

lab-down:
	$(LAB) down

lab-shell:
	$(LAB) shell

clean:
	-$(LAB) down
	cargo clean

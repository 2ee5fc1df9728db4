# make demo      the whole story on a real Kubernetes and a real Patroni; KEEP=1 leaves the lab up
# make demo-two  two data centres and nothing else: each falls, comes back, and loses sight of the other
# make test      every test
# make quick     what needs neither root nor Go: formatting, lints, documents, unit tests, rules of the house
# Each does all its own set-up. The first demo or test builds Kubernetes: about 10 minutes on two cores.

SHELL := /bin/bash
LAB := target/release/lab
# The same, as it is built with the tests, so that they need no second one.
TEST_LAB := target/debug/lab
IMAGES := target/images/switchover.tar target/images/shop.tar
.PHONY: help quick demo demo-two test-two test test-build test-unit test-light test-tools test-chart test-lab test-images failovers crosscheck nightly
.PHONY: bench bench-admission bench-agent bench-evaluate bench-fleet bench-scale bench-reactions bench-movement reviews fuzz fuzz-build
.PHONY: lint docs deny advisories build tools images crds reference chart dashboards lab-up lab-down lab-shell clean

help:
	@sed -n '1,5p' Makefile | sed 's/^# \?//'
	@echo "make test-light, test-lab          the scenes with fake nodes (no root), and those on real ones"
	@echo "make lab-up, lab-shell, lab-down   a lab to look around in"
	@echo "make bench                         speed: admission, agent, reactions, movement, 5,000 nodes"
	@echo "make crosscheck                    what is foreseen of moves, against the real scheduler; CROSSCHECK_CASES=10000 for more"
	@echo "make reviews                       records what a real API server asks webhooks about pods"
	@echo "make fuzz                          every fuzz target for 20 s; FUZZ_SECONDS=600 for longer"
	@echo "make properties                    every property on other cases, 20 times; PROPERTY_RUNS=100 for more"
	@echo "make simulate                      invented months, in which every law must hold; SIMULATE_SEEDS=100 for more"
	@echo "make failovers                     ten of them in a row on the lab, with services that are hard to move"
	@echo "make test-chart                    deploy/chart under Helm 3, too, and after kustomize"
	@echo "make alerts-test                   every alert on a real Prometheus, and every panel"
	@echo "make getting-started               what a new user does, on the lab, into docs/getting-started.md"
	@echo "make test-ui                       the page of switchover ui in a real browser; make pictures: those in the documents"
	@echo "make nightly                       what takes long: failovers, properties, cross-check, months, long fuzz, advisories, every bench"
	@echo "make release, release-test         everything that a release has, into target/release-VERSION; and whether it is as it should be"
	@echo "make lint, docs, deny, crds, reference, chart, dashboards  the parts of make quick, licenses of dependencies, generated files"

# What a machine lacks is said before anything is built. INSTALL=1 installs what Debian has of it, as root.
needs-%:
	@tests/lab/needs $*

# A file's name at the left, and when it began: how long each part took is in the log.
begin = @printf '== %s (%(%T)T)\n' '$(1)' -1

demo: needs-demo images
	$(LAB) demo $(if $(KEEP),--keep) $(addprefix --image ,$(IMAGES))

# Two data centres, Kubernetes' state in a database over both. The first time it also builds Kine.
demo-two: needs-demo images
	$(LAB) demo-two $(if $(KEEP),--keep) $(addprefix --image ,$(IMAGES))

# No root, no Go.
quick: needs-quick lint docs test-unit

# With the programs that the tests are built with: what is shipped would be built for a quarter of an hour beside them. Whatever else
# plays on the lab, `make nightly` above all, plays what is shipped.
test: PRODUCT := debug
test: needs-lab test-unit test-light test-lab

# Every test is built by the same words: with other packages or targets, dependencies would be built again, with other features.
test-build:
	$(call begin,building the tests)
	cargo test --workspace --tests --locked --no-run

test-tools: test-build
	$(call begin,tools of the beds)
	$(TEST_LAB) prepare

PRODUCT := release
test-images: test-tools
	$(call begin,images of the product ($(PRODUCT)))
	$(product-$(PRODUCT))
	$(call write-images,$(TEST_LAB),target/images/$(PRODUCT),target/debug/shop)

define product-release
cargo build --release --locked -p switchover
@mkdir -p target/images/release && ln -f $(PROGRAMS:%=target/release/%) target/images/release/
endef

# Six nodes unpack them: without what only a debugger reads.
define product-debug
@mkdir -p target/images/debug
@$(foreach program,$(PROGRAMS),strip --strip-debug -o target/images/debug/$(program) target/debug/$(program) &&) true
endef

PROGRAMS := switchover switchover-agent

# With the rules of the house, and generated files against what generates them. Properties are tried on the same cases each time:
# what a change breaks fails, and nothing else does. `make properties` tries others.
test-unit: test-build
	$(call begin,unit tests and rules of the house)
	PROPTEST_RNG_SEED=$(PROPTEST_RNG_SEED) cargo test --workspace --locked --lib --bins --test tidy --test needs

PROPTEST_RNG_SEED ?= 1
PROPERTY_RUNS := 20
.PHONY: properties
properties:
	@for run in $$(seq $(PROPERTY_RUNS)); do \
		seed=$$RANDOM$$RANDOM; \
		echo "properties, run $$run: PROPTEST_RNG_SEED=$$seed"; \
		PROPTEST_RNG_SEED=$$seed cargo test --quiet --workspace --locked --lib || exit 1; \
	done

# Months in seconds. A seed that fails is played again by SIMULATE_SEED=7 SIMULATE_SEEDS=1, and what it came to is printed as a script.
SIMULATE_SEED ?= 1
SIMULATE_SEEDS ?= 20
SIMULATE_DAYS ?= 30
.PHONY: simulate
simulate:
	cargo build --release --locked -p switchover
	target/release/switchover simulate --seed $(SIMULATE_SEED) --seeds $(SIMULATE_SEEDS) --days $(SIMULATE_DAYS)

# What Kubernetes alone decides: a real control plane with fake nodes. The scenes wait for a place to play by themselves: there
# must be no fewer threads than scenes.
test-light: needs-light test-tools
	$(call begin,light bed)
	cargo test --workspace --locked --test light_bed
	tests/it/play light:: --test-threads=200

# The chart's scenes, also those that take long or need a Helm of their own.
.PHONY: chart-test
chart-test test-chart: needs-light test-tools
	cargo test --workspace --locked --test it -- light::chart:: --include-ignored --test-threads=200

# Alerts and dashboards: rules by promtool; faults that fire them, and what panels show, by a real Prometheus that is built from its
# module, which takes minutes the first time. The scene on the light bed takes about five, the one on the lab two. Needs root.
.PHONY: alerts-test
alerts-test: needs-lab test-tools test-images
	cargo test --workspace --locked --test tidy
	cargo test --workspace --locked --test it -- light::alerts:: --include-ignored --nocapture --test-threads=4
	cargo test --workspace --locked --test it -- lab::alerts:: --include-ignored --nocapture --test-threads=1

# What Flux, Helm's --wait and others make of a database's status, by the very library: sigs.k8s.io/cli-utils. Built once, in a minute.
.PHONY: test-kstatus
test-kstatus: needs-light test-tools
	cargo test --workspace --locked --test it -- light::standing:: --include-ignored --test-threads=200

# A descheduler beside us.
.PHONY: test-descheduler
test-descheduler: needs-light test-tools
	cargo test --workspace --locked --test it -- a_descheduler --include-ignored --test-threads=200

# The light bed on older control planes: what the chart promises (kubeVersion) and `switchover check` says is tried here. The first time
# builds each of them, some ten minutes on two cores. The admission policy is of 1.36; the alerts, Helm and the page know no Kubernetes.
KUBERNETES := 1.34 1.35 1.36
.PHONY: compat $(addprefix compat-,$(KUBERNETES))
compat: $(addprefix compat-,$(KUBERNETES))

$(addprefix compat-,$(KUBERNETES)): compat-%: needs-light test-build
	$(call begin,Kubernetes $*)
	SWITCHOVER_LAB_KUBERNETES=$* $(TEST_LAB) prepare --light
	SWITCHOVER_LAB_KUBERNETES=$* tests/it/play light:: $(if $(filter 1.36,$*),,--skip light::policy_admission) \
		--skip light::alerts --skip light::chart --skip light::page --test-threads=200

# Real nodes, real Patroni, an emulated WAN. Needs root.
test-lab: needs-lab test-tools test-images
	@touch target/test-lab.began
	$(call begin,beds)
	cargo test --workspace --locked --test beds --test full_lab -- --include-ignored --test-threads=1
	$(call begin,scenes of the lab)
	tests/it/play lab:: --skip lab::marathon:: --skip lab::two:: --skip lab::getting_started:: --skip lab::alerts:: $(addprefix --skip ,$(LONG_SCENES)) --include-ignored --test-threads=1

# A minute and more each, of what shorter scenes show in part: every night.
LONG_SCENES ?= a_leader_killed_at_any_step_of_a_failover while_patronis_store_is_gone_or_hangs

# Ten failovers in a row, with services of every kind that are hard to move. Needs root.
failovers: needs-lab test-tools test-images
	cargo test --workspace --locked --test it -- lab::marathon:: --include-ignored --test-threads=1

# What a new user does, on a lab of its own, compared with docs/getting-started.md. Needs root.
.PHONY: test-getting-started
test-getting-started: needs-lab test-tools test-images
	cargo test --workspace --locked --test it -- lab::getting_started:: --include-ignored --test-threads=1

# Two data centres over Kine, with and without synchronous replication. Needs root.
test-two: needs-lab test-tools test-images
	cargo test --workspace --locked --test it -- lab::two:: --include-ignored --test-threads=1

# The page in Debian's headless Chromium: hostile names, accessibility, 5,000 nodes, an API server that is away for 30 s; and before, during
# and after a failover on the light bed. Installs what it needs, as root. UI_PICTURES=FOLDER takes pictures of the first part, too.
.PHONY: test-ui
test-ui: build ui-tools
	node tests/ui/test.mjs target/release/switchover target/ui $(UI_PICTURES)
	$(MAKE) ui-failover

.PHONY: ui-tools
ui-tools:
	test -x /usr/bin/chromium-headless-shell || { apt-get update && apt-get install -y --no-install-recommends chromium-headless-shell; }
	mkdir -p target/ui && cp tests/ui/package.json tests/ui/package-lock.json target/ui/ && cd target/ui && npm ci --no-audit --no-fund

.PHONY: ui-failover
ui-failover: needs-light test-tools ui-tools
	cargo test --workspace --locked --test it -- light::page::a_failover_is_seen_in_a_real_browser --include-ignored --test-threads=1

# The pictures in the documents: of the page before, during and after a failover, and of a terminal. Looked at before they are committed.
.PHONY: pictures
pictures: ui-failover
	mkdir -p docs/pictures && cp target/ui/pictures/*.png docs/pictures/

# The oldest compiler that Cargo.toml promises.
.PHONY: msrv
msrv:
	rustup toolchain install --profile minimal $(MSRV)
	CARGO_TARGET_DIR=target/msrv cargo +$(MSRV) check --workspace --locked

MSRV = $(shell sed -n 's/^rust-version = "\(.*\)"$$/\1/p' Cargo.toml)

# What takes too long for every change, Helm 3 among it: whoever changes what it covers runs it. Needs root, two CPUs that have nothing else
# to do, and GitHub, from which the advisories come.
nightly: needs-lab
	$(MAKE) test-light test-lab ONCE=1 LONG_SCENES=
	$(MAKE) failovers
	$(MAKE) test-two
	$(MAKE) test-getting-started
	$(MAKE) properties
	$(MAKE) crosscheck CROSSCHECK_CASES=10000 CROSSCHECK_SEED=$$RANDOM
	$(MAKE) test-chart
	$(MAKE) alerts-test
	$(MAKE) test-kstatus
	$(MAKE) test-descheduler
	$(MAKE) --keep-going compat
	$(MAKE) test-ui
	$(MAKE) simulate SIMULATE_SEED=$$RANDOM SIMULATE_SEEDS=100
	$(MAKE) fuzz FUZZ_SECONDS=600
	$(MAKE) bench
	$(MAKE) release
	$(MAKE) release-test
	$(MAKE) msrv
	$(MAKE) advisories

# What is foreseen of moves, against the real scheduler: thousands of random little clusters. The light bed throws a few of them each
# time, these are more. Another CROSSCHECK_SEED throws others; what goes wrong is printed with its case.
CROSSCHECK_SEED := 1
CROSSCHECK_CASES := 2400
crosscheck: needs-light test-tools
	$(call begin,cross-check)
	CROSSCHECK_SEED=$(CROSSCHECK_SEED) CROSSCHECK_CASES=$(CROSSCHECK_CASES) \
		cargo test --workspace --locked --test it -- light::crosscheck --nocapture

# Speed: target/bench/report.json and docs/performance.md. Needs two CPUs that have nothing else to do.
bench: bench-admission bench-policies bench-agent bench-evaluate bench-fleet bench-scale bench-reactions bench-settings bench-movement bench-movement-cases bench-kine

# The webhook beside a floor and controller-runtime.
bench-admission:
	cargo bench --locked --bench decisions
	cargo bench --locked --bench admission

# What the webhook and the admission policy add to the creation of a pod.
.PHONY: bench-policies
bench-policies: tools
	cargo bench --locked --bench policies

# What an agent costs its node.
bench-agent: tools
	cargo bench --locked --bench agent

# One evaluation of 5,000 nodes and 50,000 pods, in memory.
bench-evaluate:
	cargo bench --locked --bench evaluate

# What each setting of the movement costs, in months that are invented.
.PHONY: bench-settings
bench-settings: tools
	target/release/switchover simulate --grid --days 90 >target/settings.md
	$(LAB) section settings <target/settings.md

# The labels of 5,000 nodes after the primary has moved.
bench-fleet: tools
	cargo bench --locked --bench fleet

# What the controller takes with 50,000 pods on 5,000 nodes, and with 200 databases.
bench-scale: tools
	ulimit -n 8192; cargo bench --locked --bench scale

# Ten switchovers and ten kills in the lab: from Patroni's own word to the labels. Needs root.
bench-reactions: images
	$(LAB) reactions $(addprefix --image ,$(IMAGES))

# How long pods are far, moved by switchover, kubectl drain, kubectl rollout restart and the descheduler.
bench-movement: tools
	cargo bench --locked --bench movement

# The same with other budgets, other pods, and more of them.
.PHONY: bench-movement-cases
bench-movement-cases: tools
	cargo bench --locked --bench movement -- --movers drain,bound,switchover --budget 1
	cargo bench --locked --bench movement -- --movers drain,bound,switchover --budget none
	cargo bench --locked --bench movement -- --movers drain,bound,switchover --ready 2
	cargo bench --locked --bench movement -- --movers drain,bound,switchover --ready 30
	cargo bench --locked --bench movement -- --movers drain,bound,switchover --workloads 300 --replicas 17

# The API server with its state in etcd, and in PostgreSQL by Kine. Needs root. The first time it also builds Kine.
.PHONY: bench-kine
bench-kine: tools
	cargo bench --locked --bench kine

# What a real API server asks about pods of every kind, recorded for tests/fixtures/reviews.
reviews: tools
	$(LAB) reviews

# Every fuzz target for a while: FUZZ_SECONDS=600 for long runs. What breaks one is left in fuzz/artifacts.
FUZZ_SECONDS := 20
FUZZ_TARGETS := $(basename $(notdir $(wildcard fuzz/fuzz_targets/*.rs)))
.PHONY: $(addprefix fuzz-,$(FUZZ_TARGETS))

fuzz: $(addprefix fuzz-,$(FUZZ_TARGETS))

fuzz-build: needs-fuzz
	cd fuzz && cargo build --release --locked

$(addprefix fuzz-,$(FUZZ_TARGETS)): fuzz-%: fuzz-build
	@mkdir -p fuzz/artifacts/$* fuzz/target/corpus/$* fuzz/corpus/$*
	@echo "fuzz $*: $(FUZZ_SECONDS) s"
	@cd fuzz && target/*/release/$* -max_total_time=$(FUZZ_SECONDS) -timeout=10 -rss_limit_mb=1024 -dict=words.dict \
		-artifact_prefix=artifacts/$*/ target/corpus/$* corpus/$* > target/$*.log 2>&1 \
		|| { grep -v '^[\#"]' target/$*.log | tail -40; exit 1; }
	@grep -h '^Done' fuzz/target/$*.log

lint:
	$(call begin,formatting and lints)
	cargo fmt --all --check
	cd fuzz && cargo fmt --check
	cargo clippy --workspace --all-targets --locked -- -D warnings

docs:
	$(call begin,documents)
	RUSTDOCFLAGS='-D warnings -A rustdoc::private_intra_doc_links' cargo doc --workspace --no-deps --locked --document-private-items

deny:
	cargo deny --all-features check bans licenses sources

# What is known of the versions in Cargo.lock. RustSec's database is fetched from GitHub; ADVISORIES=--disable-fetch takes the copy that
# cargo-deny has already.
advisories:
	cargo deny --all-features check advisories $(ADVISORIES)

build:
	cargo build --release --locked -p switchover -p switchover-lab

tools: build
	$(LAB) prepare

images: tools
	$(call write-images,$(LAB),target/release,target/release/shop)

# By this lab, of the product in this folder, with this demo service.
define write-images
@$(1) image $(PROGRAMS:%=--binary $(2)/%) --name lab.local/switchover:dev --out $(word 1,$(IMAGES))
@$(1) image --binary $(3) --name lab.local/shop:dev --out $(word 2,$(IMAGES))
endef

crds:
	cargo build --locked -p switchover
	target/debug/switchover crds > deploy/base/crds.yaml

dashboards:
	cargo build --locked -p switchover
	@mkdir -p deploy/dashboards
	for name in $$(target/debug/switchover dashboards); do target/debug/switchover dashboards $$name > deploy/dashboards/$$name.json; done

# docs/reference/: every command's help, and every field of the custom resources.
reference:
	WRITE_REFERENCE=1 cargo test --locked -p switchover --lib documented::pages

# docs/first-failover.md: what each command prints, from the scene that runs them.
.PHONY: first-failover
first-failover: needs-light test-tools
	WRITE_FIRST_FAILOVER=1 cargo test --workspace --locked --test it -- light::first

# The part of docs/getting-started.md that is played on a lab. Needs root.
.PHONY: getting-started
getting-started: needs-lab test-tools test-images
	WRITE_GETTING_STARTED=1 cargo test --workspace --locked --test it -- lab::getting_started:: --include-ignored --test-threads=1

# The table of values in the chart's README.
chart:
	cd deploy/chart && { sed '/^| value |/,$$d' README.md; awk -f table.awk values.yaml; } > README.new && mv README.new README.md

# Everything that a release has, into target/release-VERSION (RELEASING.md). RELEASE_PROGRAMS=FOLDER packs programs that are there, in
# FOLDER/amd64 and FOLDER/arm64.
.PHONY: release release-build release-tools release-ready release-test release-sign release-push release-draft ci
release: $(if $(RELEASE_PROGRAMS),release-tools,release-build)
	rm -rf target/release-debian
	release/pack

release-tools: needs-release
	release/tools

release-build: release-tools
	release/build

# Packed again it is the same; the image's programs start, those of the other processor under emulation; packages, chart, krew's manifest.
release-test: release-tools
	release/test

# TAG=v0.2.0: whether everything says that it is this version.
release-ready:
	release/ready $(TAG)

# With a key in a file (KEY=FILE) or in the variable SIGNING_KEY.
release-sign:
	release/sign $(KEY)

# IMAGE=ghcr.io/switchover/switchover CHARTS=ghcr.io/switchover/charts, and on GitHub as a draft: for those who are logged in there.
release-push: release-tools
	release/push $(IMAGE) $(CHARTS)

release-draft:
	release/draft $(TAG)

# What CI runs of every change.
ci:
	.ci/run

lab-up: needs-demo images
	$(LAB) up $(addprefix --image ,$(IMAGES))

lab-down:
	$(LAB) down

lab-shell:
	$(LAB) shell

clean:
	-$(LAB) down
	cargo clean

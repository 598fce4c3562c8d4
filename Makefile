# The two commands of a newcomer are `make demo` and `make test`; the others are their parts.
.DEFAULT_GOAL := help
# `make -j` would start the tests before their set-up is done.
.NOTPARALLEL:
.PHONY: help demo test setup ui build lint unit soak strict-s3 browser screenshots bench-ingest bench-publish clean

CARGO ?= cargo
BROWSER_TESTS = npm --prefix ui run test:browser

help: ## Show this list
	@grep -E '^[a-z0-9-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 14

demo: build ## Build everything and run the reference pipeline on generated data, with its dashboard
	target/debug/daymark demo

test: setup lint unit ## Set up what tests need, then run every test, the demo and the browser tests
	target/debug/daymark demo --exit
	$(BROWSER_TESTS)

setup: ## Install the Debian packages that tests need (PostgreSQL, Chromium; fetch promtool), if they are missing
	scripts/setup.sh

ui: crates/web/dist/manifest.json ## Build the charts (npm) into crates/web/dist

ui/node_modules/.package-lock.json: ui/package.json ui/package-lock.json
	cd ui && npm ci --no-audit --no-fund
	touch $@

crates/web/dist/manifest.json: ui/node_modules/.package-lock.json ui/vite.config.js ui/tsconfig.json $(wildcard ui/src/*)
	cd ui && npm run build
	touch $@

build: ui ## Build the daymark program into target/debug
	$(CARGO) build --locked -p daymark

lint: ui ## Check format, lints and documentation
	$(CARGO) fmt --all --check
	$(CARGO) clippy --locked --workspace --all-targets -- -D warnings
	RUSTDOCFLAGS="-D warnings" $(CARGO) doc --locked --workspace --no-deps --document-private-items

unit: ui ## Run the Rust tests, on the embedded and a native PostgreSQL, and an S3 server
	$(CARGO) build --locked --workspace --all-targets
	scripts/with-postgres.sh scripts/with-s3.sh $(CARGO) test --locked --workspace --no-fail-fast

# Its folders and database stand in memory: what is asked is what is published, not how fast the disk is.
soak: ui ## Keep the schedule for three years of mornings, with all that can go wrong (DAYMARK_SOAK_SEED=N for other dice)
	TMPDIR=$${TMPDIR:-$$(test -w /dev/shm && echo /dev/shm || echo /tmp)} DAYMARK_SOAK_DAYS=$${DAYMARK_SOAK_DAYS:-1096} scripts/with-postgres.sh $(CARGO) test --locked --workspace --bin daymark -- soak::every_day_is_published_once_or_has_its_reason::native --nocapture

strict-s3: ## Try the bucket against a server that checks signatures and checksums (builds it once, 5 minutes)
	scripts/with-s3s.sh $(CARGO) test --locked -p daymark-ingest --lib strict -- --ignored

browser: build ## Run the browser tests against the demo
	$(BROWSER_TESTS)

screenshots: build ## Make the README's pictures anew
	UPDATE_SCREENSHOTS=1 $(BROWSER_TESTS)

bench-ingest: ## Measure ingestion in a release build (CASE=one-csv for some of it)
	scripts/with-s3.sh $(CARGO) bench --locked -p daymark-ingest --bench ingest -- $(CASE)

bench-publish: ## Measure loading and publishing in a release build (CASE="load keyed embedded memory fetches day peers")
	scripts/with-postgres.sh $(CARGO) bench --locked -p daymark --bench publish -- $(CASE)

clean: ## Remove what was built
	$(CARGO) clean
	rm -rf ui/node_modules crates/web/dist

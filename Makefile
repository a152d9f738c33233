# The front door: every command that CI runs, and the one that starts a gateway. Each is plain cargo or one script.

.PHONY: run test bench microbench lint ci

run:   ## Start a gateway; without CONFIG=file.yaml: embedded store, built-in model, a printed master key
	@scripts/install-deps build
	cargo run --release --bin portcullis -- $(if $(CONFIG),--config $(CONFIG))

test:  ## Every test, with what they need; ends with "N passed, N failed, N skipped"
	@scripts/test

bench: ## Measure against a bare proxy: the short set, SET=full, or SCENARIO="key_warm body_5m"; ARGS="--help" for more
	@scripts/install-deps build
	cargo build --release --bin portcullis
	cargo run --release -p portcullis-bench -- run $(SCENARIO) $(if $(SET),--set $(SET)) $(ARGS)

microbench: ## The micro-benchmarks
	cargo bench --workspace

lint:  ## Formatting, clippy, documentation, dependencies
	@scripts/lint

ci:    ## What CI runs
	@.ci/run

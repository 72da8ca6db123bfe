# ClearDigits. `make` alone lists what there is to do.
.DEFAULT_GOAL := help
SHELL := /bin/bash
PYTHON ?= python3
DEV := .venvs/dev
SERVE := .venvs/serve
EVALUATOR := .venvs/evaluator
TRAINING := .venvs/training
PIP := -m pip install --quiet --disable-pip-version-check --no-compile --require-hashes -r

help: ## list the targets
	@[ -t 1 ] && on='\033[36m' off='\033[0m'; \
	awk -v on="$$on" -v off="$$off" -F':.*## ' '/^[a-zA-Z0-9_.-]+:.*## /{printf "  %s%-20s%s %s\n", on, $$1, off, $$2} \
	/^##@ /{printf "\n%s\n", substr($$0, 5)}' Makefile

##@ Run

STACK = "$(PYTHON)" -m deploy.stack
up: ## start the chain, show its first answer (MODE=local|docker SERVING=embedded CLASSIFIERS=3 OBSERVE=1)
	@$(STACK) up $(MODE:%=--mode=%) $(SERVING:%=--serving=%) $(CLASSIFIERS:%=--classifiers=%) $(OBSERVE:%=--observe)

down: ## end all of it
	@$(STACK) down

status: ## how each service does
	@$(STACK) status

logs: ## the last lines of the logs (SERVICE=gateway FOLLOW=1)
	@$(STACK) logs $(SERVICE:%=--service=%) $(FOLLOW:%=--follow)

restart: ## stop and start again (SERVICE=classifier)
	@$(STACK) restart $(SERVICE:%=--service=%)

job: ## a one-shot container beside the chain (JOB=train|evaluate|load ARGS="--epochs 1")
	@$(STACK) job $(JOB) $(ARGS)

base-image: ## a base image from Debian's packages, where no registry is reachable (root, debootstrap)
	@deploy/docker/base-image

##@ Check

# processes that share the files of tests
WORKERS ?= 2

test: test-units test-processes ## unit, contract, conformance and integration tests, and local processes' promises: no network, no data set

test-units: $(DEV)/.done ## of those, what runs in one process: unit, contract and conformance tests, some files at a time (WORKERS=2)
	$(DEV)/bin/python -m pytest -n $(WORKERS) --dist=loadfile --no-loadscope-reorder $(COVER) tests/unit tests/contract tests/conformance

coverage: ## test-units, counting branches of services, training and deploy; fails below the floor in pyproject.toml
	@mkdir -p build
	@$(MAKE) --no-print-directory test-units COVER="--cov --cov-report=term-missing:skip-covered"

test-processes: $(DEV)/.done ## of those, what starts real processes, one after the other: integration tests and promises
	$(DEV)/bin/python -m pytest tests/integration tests/promises

test-containers: $(DEV)/.done ## the same promises and the page of containers, and how they are run; as root on Debian it installs what is missing
	@deploy/docker/with-engine $(DEV)/bin/python -m pytest --home=containers tests/promises tests/browser/test_reading.py tests/containers

promises: $(DEV)/.done ## the promises of a chain that runs somewhere (URL=http://digits.example)
	$(DEV)/bin/python -m pytest --home=$(or $(URL),local) tests/promises

test-browser: $(DEV)/.done ## the page in Chromium, against local stacks of its own (WORKERS=2; apt install chromium)
	$(DEV)/bin/python -m pytest -n $(WORKERS) --dist=loadfile tests/browser

lint: $(DEV)/.done ## ruff: style and likely mistakes; mypy, strict: types
	$(DEV)/bin/ruff check .
	$(DEV)/bin/ruff format --check .
	$(DEV)/bin/mypy

fuzz: $(DEV)/.done ## send a stack of its own what hostile senders would, seeded (MINUTES=10 ARGS="--seed 2"); exit 1 on findings
	$(DEV)/bin/python -m tests.fuzz --minutes=$(or $(MINUTES),10) $(ARGS)

torture: $(DEV)/.done ## floods, kills, freezes, full disks, versions in a loop, beside honest clients (ARGS="--seconds 10")
	$(DEV)/bin/python -m tests.fuzz.torture $(ARGS)

tagged: $(DEV)/.done ## a million pictures known by their answers, from 64 clients: is any answer mixed up? (PICTURES=1000000 ARGS="--seed 2")
	$(DEV)/bin/python -m tests.fuzz.tagged $(PICTURES:%=--pictures=%) $(ARGS)

.PHONY: fuzz torture tagged sizes int8 sign

##@ Train

train: $(TRAINING)/.done ## train a recipe and publish the next version of both models (RECIPE=default ARGS="--epochs 42")
	$(STACK) env $(TRAINING)/bin/python -m training $(RECIPE:%=--recipe=%) $(ARGS)

reproduce: $(TRAINING)/.done ## run every recipe, resuming, and write docs/reproduction.md: published beside ours
	$(TRAINING)/bin/python -m training.studies.reproduce $(ARGS)

held-out: $(TRAINING)/.done ## train without one noise kind at a time: how well is a kind read that was never seen? (ARGS="--epochs 3")
	$(TRAINING)/bin/python -m training.studies.held_out $(ARGS)

int8: $(TRAINING)/.done ## the pair in 8-bit integers beside itself, on a quiet machine: docs/results/int8.md
	$(TRAINING)/bin/python -m training.studies.int8 $(ARGS)

sizes: $(TRAINING)/.done ## three sizes of the pair, each beside one network of its cost: docs/results/sizes.md (ARGS="--epochs 100 --batch-size 512")
	$(TRAINING)/bin/python -m training.studies.sizes $(ARGS)

sign: $(TRAINING)/.done ## sign the newest version of both models, or others, with a local key (KEY=key.pem VERSIONS=models/denoiser/5 PASSPHRASE_FILE=)
	$(TRAINING)/bin/python -m training.release.signing "$(or $(KEY),key.pem)" $(VERSIONS) $(if $(PASSPHRASE_FILE),--key-passphrase-file="$(PASSPHRASE_FILE)")

fused: $(TRAINING)/.done ## both models as one graph in build/fused, to weigh what the second call costs
	$(TRAINING)/bin/python -m training.studies.fused $(ARGS)

##@ Measure

bench: $(DEV)/.done ## the gateway beside its floors, with wrk: docs/benchmarks/gateway.md (three minutes, idle machine; ARGS="--rounds 1")
	$(DEV)/bin/python -m tests.bench.gateway $(ARGS)

evaluate: $(EVALUATOR)/.done ## accuracy and latency of the running chain, digits and lines, with a report (ARGS="--quick --require 'gaussian@0.5>=0.95'")
	$(STACK) env $(EVALUATOR)/bin/python -m services.evaluator $(ARGS)

compare-versions: $(EVALUATOR)/.done ## two versions on the same pictures: agreement, accuracy, where they differ (ARGS="stable canary --require 'agreement>=0.99'")
	$(STACK) env $(EVALUATOR)/bin/python -m services.evaluator.compare_versions $(ARGS)

read: $(EVALUATOR)/.done ## read a folder of pictures of numbers into CSV (FOLDER=scans OUT=numbers.csv LENGTH=5)
	$(EVALUATOR)/bin/python -m services.evaluator.read "$(FOLDER)" $(if $(OUT),--out="$(OUT)") $(LENGTH:%=--length=%) $(ARGS)

.PHONY: read compare-versions

PROFILE ?= mix
load: $(EVALUATOR)/.done ## press the running chain, every answer checked (PROFILE=mix|step|spike|soak|open|lines MINUTES= USERS= RATE= WEB=1)
	$(STACK) env $(EVALUATOR)/bin/python -m services.evaluator.load --profile=$(PROFILE) $(MINUTES:%=--minutes=%) $(USERS:%=--users=%) \
	$(RATE:%=--rate=%) $(WEB:%=--web) $(ARGS)

loadgen: $(EVALUATOR)/.done ## MLPerf LoadGen on the running chain, all scenarios (BOUND_MS=15 SECONDS_EACH=10)
	$(STACK) env $(EVALUATOR)/bin/python -m services.evaluator.loadgen $(BOUND_MS:%=--bound-ms=%) $(SECONDS_EACH:%=--seconds=%) $(ARGS)

corrections: $(EVALUATOR)/.done ## label captured pictures in the browser (CAPTURES=var/captures ARGS="--export corrections.npz")
	$(EVALUATOR)/bin/python -m services.evaluator.corrections "$(or $(CAPTURES),var/captures)" $(ARGS)

cost: $(DEV)/.done ## what chaining costs: two served models, one fused model, in-process calls
	rm -rf build/fused && $(DEV)/bin/python -m training.studies.fused --output build/fused
	$(DEV)/bin/python -m services.evaluator.studies.chaining_cost $(ARGS)

.PHONY: evaluate load loadgen corrections cost

bench-peers: $(DEV)/.done ## beside a FastAPI app with the models inside: docs/benchmarks/peers.md (seven minutes, idle machine, wrk)
	$(DEV)/bin/python -m tests.bench.peers $(ARGS)

bench-model-server: $(DEV)/.done ## Predict beside in-process calls and a no-op server (ARGS="--model classifier")
	$(DEV)/bin/python -m tests.bench.model_server $(ARGS)

bench-engines: $(DEV)/.done ## ONNX Runtime, LiteRT and TensorFlow on the shipped pair
	$(DEV)/bin/python -m tests.bench.engines $(ARGS)

bench-pictures: $(DEV)/.done ## photographs and enlarged noisy digits, read as the gateway does: docs/benchmarks/pictures.md
	$(DEV)/bin/python -m tests.bench.pictures $(ARGS)

bench-shadow: $(DEV)/.done ## users' p99 beside a tenth of the calls shadowed: docs/benchmarks/shadow.md (six minutes, idle machine, wrk; ARGS="--rounds 2")
	$(DEV)/bin/python -m tests.bench.shadow $(ARGS)

.PHONY: bench-peers bench-model-server bench-engines bench-shadow bench-pictures

##@ Operate

prometheus: ## watch the local stack: Prometheus on http://127.0.0.1:9090 (apt install prometheus)
	@$(STACK) prometheus

rules-test: ## promtool: the rules, each alert firing and staying quiet
	promtool check rules deploy/prometheus/rules/*.yml
	promtool test rules deploy/prometheus/tests/*.yml

drift: $(DEV)/.done ## the reference that drift is measured from (ARGS="--metrics http://127.0.0.1:8080/metrics")
	$(DEV)/bin/python -m deploy.drift $(ARGS)

manifests: $(DEV)/.done ## render deploy/kubernetes for review (needs kubectl or kustomize, no cluster)
	$(DEV)/bin/python deploy/kubernetes/render.py

notebook: $(DEV)/.done ## run notebooks/walkthrough.ipynb and keep its pictures (MNIST and a gateway: make up)
	$(STACK) env $(DEV)/bin/python notebooks/run.py

capacity: $(DEV)/.done ## from the last make bench to cores a day's requests need, into docs/OPERATIONS.md
	$(DEV)/bin/python deploy/capacity.py

audit: $(DEV)/.done ## known vulnerabilities in what is locked (asks PyPI; a package it cannot ask about is a failure)
	$(DEV)/bin/pip-audit --strict --disable-pip --require-hashes --progress-spinner=off -r requirements/dev.txt

sbom: $(DEV)/.done ## CycloneDX bills of materials, one for each image and one for the models, in build/sbom
	$(DEV)/bin/python -m deploy.sbom $(ARGS)

.PHONY: prometheus rules-test drift manifests notebook capacity audit sbom

##@ Maintain

pictures: $(DEV)/.done ## screenshots of the page for the README, into docs/img (apt install chromium)
	$(DEV)/bin/python -m tests.browser.pictures $(ARGS)

.PHONY: test-browser pictures

protos: $(DEV)/.done ## regenerate services/pb from protos/
	$(DEV)/bin/python -m grpc_tools.protoc -Iprotos --python_out=services/pb --pyi_out=services/pb protos/*.proto

.PHONY: denoise-auto estimate
estimate: $(DEV)/.done ## how far a service's estimate of its own accuracy is off, at every noise: docs/results/estimate.md
	$(DEV)/bin/python -m services.evaluator.studies.estimate --report docs/results/estimate.md $(ARGS)

denoise-auto: $(DEV)/.done ## is denoise=auto as good as the better of always and never, at every noise?
	$(DEV)/bin/python -m services.evaluator.studies.denoise_auto --report docs/results/denoise-auto.md $(DENOISE_AUTO)

.PHONY: docs-page
docs-page: $(DEV)/.done ## write services/gateway/pages/docs.html from openapi.yaml
	$(DEV)/bin/python -m deploy.docs_page

ROLES := gateway model_server evaluator training serve tracing tracking signing
lock: ## pin requirements/*.in to hash-locked requirements/*.txt
	cd requirements && UV=$$(command -v ../$(DEV)/bin/uv || command -v uv); \
	set -e; for role in dev $(ROLES); do $$UV pip compile -q --python-version 3.11 --generate-hashes --no-header \
	--no-emit-index-url --no-emit-find-links $$([ $$role = dev ] || echo -c dev.txt) $$(case $$role in dev | signing) echo --no-strip-extras;; esac) \
	$(LOCKFLAGS) $$role.in -o $$role.txt; done; \
	for role in dev signing; do awk -f both-ways.awk $$role.txt > $$role.tmp; mv $$role.tmp $$role.txt; done

.venvs/dev: $(DEV)/.done
.venvs/serve: $(SERVE)/.done
$(DEV)/.done $(SERVE)/.done $(EVALUATOR)/.done $(TRAINING)/.done: .venvs/%/.done: requirements/%.txt
	@echo "installing $< into .venvs/$* (once)"
	@"$(PYTHON)" -m venv .venvs/$*
	@.venvs/$*/bin/python $(PIP) $<
	@.venvs/$*/bin/python -m compileall -qq -j 0 -x '/tests/' .venvs/$*/lib || true # on every processor; files for other Pythons fail
	@touch $@

clean: ## remove virtual environments, caches and run folders
	rm -rf .venvs .pytest_cache .ruff_cache .hypothesis build runs reports var

.PHONY: help up down status logs restart job base-image test test-units coverage test-processes test-containers promises lint protos lock clean .venvs/dev .venvs/serve

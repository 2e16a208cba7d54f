# Everything a person or CI does here has a target; `make help` lists them.

VERSION ?= $(shell git describe --tags --always --dirty 2>/dev/null || echo devel)
FUZZTIME ?= 10s
tool := go tool -modfile=tools/go.mod

.NOTPARALLEL:
.PHONY: help build build-pkcs11 demo test check format vet lint vuln cross size fmt fuzz bench soak fleet package reproduce e2e clean

help: ## list the targets
	@awk -F ':.*## ' '/^[a-z0-9-]+:.*## / { printf "%-12s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

build: ## build the static binary, bin/outrider
	CGO_ENABLED=0 go build -trimpath -ldflags '-s -w -X main.version=$(VERSION)' -o bin/outrider ./cmd/outrider

build-pkcs11: ## build the binary that can load a PKCS#11 module, bin/outrider-pkcs11; needs a C compiler
	CGO_ENABLED=1 go build -tags pkcs11 -trimpath -ldflags '-s -w -X main.version=$(VERSION)' -o bin/outrider-pkcs11 ./cmd/outrider

demo: build ## run the guided demonstration; needs only Go and make
	bin/outrider demo

test: ## run every test, installing what they run against where that is allowed
	scripts/test $(TESTFLAGS)

check: TESTFLAGS = -race -shuffle=on
# Chance must not fail a change that has nothing to do with what it finds.
check: export FUZZFINDS = told
check: format vet lint vuln cross size test demo e2e fuzz ## do all that CI does, in the same order

format: ## fail where gofmt would change a file
	@files=$$(gofmt -l .) && test -z "$$files" || { echo "not formatted (make fmt): $$files"; exit 1; }

vet: ## run go vet
	go vet ./...

lint: ## run golangci-lint, each linter's reason is in .golangci.yml; decode the Kubernetes manifests strictly
	$(tool) golangci-lint run
	go run -C tools/manifests . $(CURDIR)/configs/kubernetes/*.yaml

vuln: ## look for known vulnerabilities in what is called, where the database can be reached
	scripts/vuln

cross: ## build for arm64 as well
	CGO_ENABLED=0 GOOS=linux GOARCH=arm64 go build -trimpath -o /dev/null ./cmd/outrider

size: build ## fail when the binary is 24 MiB or more
	@size=$$(stat -c %s bin/outrider); echo "bin/outrider: $$size bytes"; test $$size -lt $$((24 << 20))

fmt: ## format the code and group its imports
	$(tool) golangci-lint fmt

fuzz: ## fuzz each target for FUZZTIME (10s); in check a find is told, and fails no earlier than as part of the corpus
	scripts/fuzz $(FUZZTIME)

bench: build ## measure what docs/performance.md tells
	scripts/bench $(BENCHFLAGS)

soak: ## hold each fault for long, kill the sidecar for an hour, rotate 10,000 times and refresh 100,000 times; takes hours
	go test -count=1 -timeout 40m ./internal/faulttest -args -hold 2m
	go test -count=1 -timeout 20m ./internal/localfault -args -full -hold 1m
	go test -count=1 -timeout 4h -v ./internal/soaktest -args -storm 1h -rotations 10000 -refreshes 100000

fleet: ## simulate thousands of sidecars and write what docs/scale.md tells; takes minutes
	go run ./internal/fleet -write

package: ## build dist/outrider_VERSION_ARCH.deb and .rpm, with a bill of materials beside each
	scripts/package $(VERSION)

reproduce: ## build the packages twice, from two places, and compare their bytes
	scripts/reproduce

e2e: ## test the package on machines that boot systemd; needs root, and Debian's debootstrap and systemd-container
	scripts/e2e $(E2EFLAGS)

clean: ## remove what the other targets made
	rm -rf bin dist

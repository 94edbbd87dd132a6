# `make` lists what can be made. Every target that compiles fetches libtorch first,
# if it is not there: see docs/setup.md.
#
# All of them use the release profile: torch-sys takes two minutes to compile, and
# every other profile would pay for it again.

PREFIX ?= $(HOME)/.local
PYTHON ?= python3
ROOT = $(DESTDIR)$(PREFIX)
# Where cargo puts both programs.
BUILT = $(or $(CARGO_TARGET_DIR),target)/release
ACTVIZ = $(BUILT)/actviz

.PHONY: help libtorch demo build test test-pytorch golden golden-compare golden-render lint bench install uninstall clean

help: ## list these targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-13s %s\n", $$1, $$2 }' Makefile

libtorch: ## fetch libtorch into .libtorch, once
	@.cargo/fetch-libtorch.sh

demo: build ## render ten layers of three ResNet50 folds into actviz-out
	$(ACTVIZ) render --model resnet50 --folds 3 --out actviz-out --force
	@echo "30 pictures, FOLD_LAYER.png, are in $(CURDIR)/actviz-out; manifest.json there says which layer is which"

build: libtorch ## compile actviz and its engine, actviz-torch, into target/release
	cargo build --release --locked

# Tests start actviz, which starts the engine beside it: both are built first.
test: build ## run all tests
	cargo test --release --locked --workspace

test-pytorch: libtorch ## hold the maps of resnet50 against PyTorch's (PYTHON=a python3 with torch)
	@$(PYTHON) -c 'import torch' || { echo "actviz: $(PYTHON) has no PyTorch; name one that has: make test-pytorch PYTHON=..." >&2; exit 1; }
	PYTHON=$(PYTHON) cargo test --release --locked -p actviz-torch --test pytorch -- --ignored

golden-render: build
	for model in cnn9 resnet50; do \
		$(ACTVIZ) render --model $$model --folds 3 --size 32 -q --force -o target/golden/$$model || exit; \
	done

golden-compare: golden-render ## render the pictures in tests/golden again and compare (FLAGS=--github ...)
	@code=0; for model in cnn9 resnet50; do \
		$(ACTVIZ) compare tests/golden/$$model target/golden/$$model --profile cross-cpu \
			--html target/golden/$$model.html $(FLAGS) || code=1; \
	done; exit $$code

golden: golden-render ## take the pictures as they are now for the golden ones
	for model in cnn9 resnet50; do \
		$(ACTVIZ) accept tests/golden/$$model target/golden/$$model --prune || exit; \
	done

lint: libtorch ## rustfmt, clippy and rustdoc, warnings are errors
	cargo fmt --all --check
	cargo clippy --release --locked --workspace --all-targets -- -D warnings
	RUSTDOCFLAGS='-D warnings' cargo doc --release --locked --workspace --no-deps

bench: build ## measure against peers (PYTHON=a python3 with torch, torchvision, numpy, Pillow)
	PYTHON=$(PYTHON) cargo bench --locked

# actviz looks for ../lib/actviz/actviz-torch and ../share/actviz from where it is, and the
# engine's libtorch lies beside the engine: the installation outlives this checkout. A
# libtorch of your own (LIBTORCH, LIBTORCH_USE_PYTORCH) stays where it is.
install: build ## install actviz, its engine, libtorch and models below PREFIX (~/.local)
	rm -rf "$(ROOT)/share/actviz" "$(ROOT)/lib/actviz"
	mkdir -p "$(ROOT)/bin" "$(ROOT)/lib/actviz" "$(ROOT)/share/actviz/models" "$(ROOT)/share/actviz/examples"
	install -m 755 $(BUILT)/actviz "$(ROOT)/bin/actviz"
	install -m 755 $(BUILT)/actviz-torch "$(ROOT)/lib/actviz/actviz-torch"
	for file in models/*/model.json; do cp -R "$$(dirname "$$file")" "$(ROOT)/share/actviz/models" || exit; done
	cp -R examples/images "$(ROOT)/share/actviz/examples"
	[ -n "$${LIBTORCH+set}$${LIBTORCH_USE_PYTORCH+set}" ] || { mkdir "$(ROOT)/lib/actviz/libtorch" && \
		cp -R .libtorch/lib .libtorch/build-version "$(ROOT)/lib/actviz/libtorch"; }

uninstall: ## remove what install has put below PREFIX
	rm -rf "$(ROOT)/bin/actviz" "$(ROOT)/share/actviz" "$(ROOT)/lib/actviz"

clean: ## remove what was compiled; libtorch and pictures stay
	cargo clean

# `make run` and `make test` set up all that they need. The set-up is done once, in steps: each writes its stamp last,
# so one that was broken off is done again, and a change of setup.cfg does again what hangs on it.
# PYTHON=python3.13 make run    takes another interpreter than the first that fits

.DEFAULT_GOAL := help
.NOTPARALLEL:  # the steps share one environment
.PHONY: help setup run test test-slow bench cases lint format wheel clean

help:  ## list the targets
	@sed -n 's/^\([a-z-]*\):.*## */\1\t/p' Makefile | expand -t 12

setup: .venv/stamps/selfcheck  ## make .venv: the dependencies, Horovod, this project; show that two ranks can add

run: setup  ## set up, then run the default case
	@.venv/bin/hvdedge run jobs/digits.toml

test: setup .venv/stamps/test  ## set up, then run the tests but the slow ones
	@.venv/bin/pytest -q -m "not slow" -n 2 --dist loadfile

test-slow: setup .venv/stamps/test  ## run the tests that take minutes
	@.venv/bin/pytest -q -m slow

bench: setup  ## run the benchmarks in turn; each prints one JSON line a figure
	@for file in $(filter-out bench/cases.py,$(wildcard bench/*.py)); do .venv/bin/python $$file || exit; done

cases: setup  ## run the case studies whose data is there on two ranks; each prints one JSON line: seconds, scores
	@.venv/bin/python bench/cases.py

lint: setup .venv/stamps/lint  ## check style and types
	@.venv/bin/ruff check
	@.venv/bin/ruff format --check
	@.venv/bin/mypy hvdedge jobs

format: setup .venv/stamps/lint  ## write the code anew in the house's format
	@.venv/bin/ruff check --fix
	@.venv/bin/ruff format

wheel: setup  ## put the built Horovod into wheelhouse/: with it, machines of the same kind need no compiler
	$(horovod-wheel)
	@echo $(wheel)

clean:  ## remove all that was made, but no results
	@rm -rf .venv bench/.venv build wheelhouse *.egg-info .hypothesis .mypy_cache .pytest_cache .ruff_cache
	@find . -path ./results -prune -o -name __pycache__ -prune -exec rm -rf {} +

# --- what the machine must have -------------------------------------------------------------------------------------

# $(call need,NAME,PACKAGES): stop with the line no-NAME unless has-NAME passes; root on Debian gets PACKAGES installed.
need = $(if $(shell { $(has-$(1)); } >/dev/null 2>&1 || { $(apt-get); } >&2; \
    { $(has-$(1)); } >/dev/null 2>&1 || echo no),$(error set-up: $(no-$(1))))
apt-get = [ -n "$(2)" ] && [ "$$(id -u)" = 0 ] && command -v apt-get && apt-get -q update && \
    apt-get -q install --yes --no-install-recommends $(2)

# The first that runs and has the right version: a name on PATH may be a shim with no interpreter behind it.
find-python = for p in $(or $(PYTHON),python3 python3.13 python3.12 python3.11); do \
    $$p -c 'import sys; sys.exit(not (3, 11) <= sys.version_info < (3, 14) or sys.maxsize < 2**32)' 2>/dev/null && \
    command -v $$p && break; done
python = $(shell $(find-python))
has-python = $(find-python) | grep .
no-python = Python: received $(or $(shell $(or $(PYTHON),python3) --version 2>/dev/null || true),none that runs), \
    allowed 3.11 to 3.13 with 64 bits (TensorFlow 2.21 has wheels for no other): \
    install one and type 'PYTHON=python3.11 make run'

has-venv = $(python) -c 'import ensurepip, venv'
venv-package = $(shell $(python) -c 'import sys; print("python%d.%d-venv" % sys.version_info[:2])')
no-venv = $(python): received no module ensurepip, allowed a Python that can make environments: \
    type 'sudo apt-get install $(venv-package)' and make again

has-compiler = command -v g++
no-compiler = C++ compiler: received no g++ on PATH, allowed any g++ from 8 on: \
    type 'sudo apt-get install g++' and make again

CPUINFO = /proc/cpuinfo
has-avx = [ "$$(uname -m)" != x86_64 ] || grep -qw avx $(CPUINFO)
no-avx = processor: received x86_64 without AVX, allowed one with it (TensorFlow's wheels use it): \
    take another machine, or in a virtual one pass the host's processor on (qemu: type '-cpu host')

has-path = ! echo '$(CURDIR)' | grep ' '
no-path = '$(CURDIR)': received a path with a blank, allowed one without (Horovod's build breaks at it): \
    type 'mv' to give the folder another name

has-turn = ! grep -sx make /proc/$$(cat .venv/unfinished)/comm
no-turn = .venv: received a second make while process $(shell cat .venv/unfinished) sets it up, \
    allowed one at a time: type it again when that one is done

# --- the steps ------------------------------------------------------------------------------------------------------

# A pip that was broken off may leave half a package, which the next pip takes for a whole one: then all begins anew.
pip-install = @echo $$PPID >.venv/unfinished && \
    .venv/bin/pip install -q --disable-pip-version-check $(1) && rm .venv/unfinished
minor = -c 'import sys; print("%d.%d" % sys.version_info[:2])' 2>/dev/null || echo none
other-python = $(and $(PYTHON),$(wildcard .venv/stamps/venv),\
    $(filter-out $(shell .venv/bin/python $(minor)),$(shell $(PYTHON) $(minor))))
.PHONY: $(if $(wildcard .venv/unfinished)$(other-python),.venv/stamps/venv)

.venv/stamps/venv:
	$(call need,turn)
	$(call need,path)
	$(call need,avx)
	$(call need,python,$(if $(PYTHON),,python3))
	$(call need,venv,$(venv-package))
	$(if $(wildcard wheelhouse/*.whl),,$(call need,compiler,g++))
	@rm -rf .venv
	@$(python) -m venv .venv
	@mkdir .venv/stamps && touch $@

# All but Horovod, whose build must see TensorFlow.
read-setup.cfg = import configparser; c = configparser.ConfigParser(); c.read("setup.cfg"); \
    print(c["options"]["install_requires"])
.venv/stamps/dependencies: setup.cfg .venv/stamps/venv
	@echo "set-up: installing the dependencies (2.3 GB, some minutes)"
	@.venv/bin/python -c '$(read-setup.cfg)' | grep -v ^horovod >.venv/requirements.txt
	$(call pip-install,wheel -r .venv/requirements.txt)
	@touch $@

.venv/stamps/horovod: .venv/stamps/dependencies
	$(horovod-wheel)
	$(call pip-install,--no-deps --force-reinstall $(wheel))
	@touch $@

.venv/stamps/project: .venv/stamps/horovod
	$(call pip-install,--no-build-isolation --editable .)
	@touch $@

# Open MPI refuses two ranks on one core without --oversubscribe, and root without --allow-run-as-root.
.venv/stamps/selfcheck: .venv/stamps/project
	@mkdir -p build
	@timeout 300 .venv/bin/mpirun -np 2 --oversubscribe --bind-to none --allow-run-as-root \
	    .venv/bin/python -m mpi4py -m hvdedge.selfcheck >build/selfcheck.log 2>&1 || { \
	    grep -m 1 ^selfcheck: build/selfcheck.log || echo "set-up: two-rank all-reduce: received no answer," \
	    "allowed the right sum within 300 s: type 'cat build/selfcheck.log' to see why"; exit 1; } >&2
	@touch $@

.venv/stamps/test .venv/stamps/lint: .venv/stamps/%: .venv/stamps/project
	$(call pip-install,--no-build-isolation --editable '.[$*]')
	@touch $@

# --- Horovod --------------------------------------------------------------------------------------------------------

horovod = $(shell sed -n 's/^ *\(horovod==\)/\1/p' setup.cfg)
tag = import sys, sysconfig; v = "cp%d%d" % sys.version_info[:2]; \
    print(v, v, sysconfig.get_platform().replace("-", "_"), sep="-")
wheel = wheelhouse/$(subst ==,-,$(horovod))-$(shell .venv/bin/python -c '$(tag)').whl

# The library is bound to one TensorFlow, glibc and processor; a wheel that was built for others is built again.
built-for = $(strip tensorflow \
    $(shell sed -n 's/^Version: //p' .venv/lib/python3*/site-packages/tensorflow*-2.*info/METADATA) \
    $(shell getconf GNU_LIBC_VERSION) $(filter avx f16c fma,$(shell grep -m 1 ^flags $(CPUINFO))))
horovod-wheel = $(if $(shell [ -e $(wheel) ] && grep -Fx "$(built-for)" $(wheel).txt),,$(build-horovod))

# Horovod includes these, which TensorFlow no longer ships; only code that is left out here would use what was in them.
headers = tf2xla/xla_op_kernel.h tf2xla/xla_op_registry.h xla/client/xla_builder.h xla/service/hlo.pb.h \
    xla/service/custom_call_target_registry.h xla/shape.h xla/xla_data.pb.h

# With TensorFlow's headers a compiler takes 0.6 GB: run as many at once as there are cores, and gigabytes.
jobs = $(shell { nproc; awk '/MemTotal/ {print $$2 < 2e6 ? 1 : int($$2 / 1e6)}' /proc/meminfo; } | sort -n | head -n 1)

# cmake from PyPI is the same everywhere; PATH leads to this environment's mpicxx; --no-cache-dir, as pip would take a
# wheel of other flags; with the rpath the library finds this environment's Open MPI wherever the wheel is installed.
define build-horovod
	$(call need,compiler,g++)
	@echo "set-up: building $(horovod) (2 minutes on a PC, 20 on a Pi; build/horovod.log)"
	@rm -rf build/horovod $(wheel) && mkdir -p build/horovod wheelhouse
	@for f in $(headers); do install -D /dev/null build/horovod/tensorflow/compiler/$$f; done
	$(call pip-install,cmake)
	@PATH="$(CURDIR)/.venv/bin:$$PATH" CXXFLAGS="-I$(CURDIR)/build/horovod" MAKEFLAGS=-j$(jobs) \
	LDFLAGS='-Wl,-rpath,$$ORIGIN/../../../..' HOROVOD_WITH_MPI=1 HOROVOD_WITH_TENSORFLOW=1 \
	HOROVOD_WITHOUT_PYTORCH=1 HOROVOD_WITHOUT_MXNET=1 HOROVOD_WITHOUT_GLOO=1 \
	.venv/bin/pip wheel --no-build-isolation --no-cache-dir --no-deps --no-binary horovod --wheel-dir build/horovod \
	    $(horovod) >build/horovod.log 2>&1 || { echo "set-up: building $(horovod): received an error, allowed none:" \
	    "type 'grep -m 5 error: build/horovod.log' to see it" >&2; exit 1; }
	@echo "$(built-for)" >$(wheel).txt && mv build/horovod/*.whl wheelhouse && rm -rf build/horovod
endef

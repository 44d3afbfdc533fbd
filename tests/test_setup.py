"""The set-up of the Makefile, with real make and shell in an empty folder, but with a pretended Python and pip."""

import os
import platform
import shutil
import subprocess
import sys
import time
from pathlib import Path

import pytest

PROJECT = Path(__file__).parents[1]
TOOLS = (
    *("awk", "cat", "cp", "echo", "expand", "find", "getconf", "grep", "head", "install", "ln", "make"),
    *("mkdir", "mv", "nproc", "rm", "sed", "sh", "sleep", "sort", "tail", "timeout", "touch"),
)
TAG = f"cp{sys.version_info[0]}{sys.version_info[1]}"
WHEEL = f"horovod-0.28.1-{TAG}-{TAG}-linux_{platform.machine()}.whl"

# Makes what `python -m venv` would, with TensorFlow in it and tools that only write down what they were asked for.
PYTHON = f"""#!/bin/sh
[ "$*" = "-m venv .venv" ] || exec {sys.executable} -S "$@"  # -S: no site, a third of the time
echo python "$@" >> calls
tensorflow=.venv/lib/python3/site-packages/tensorflow_cpu-2.21.0.dist-info
mkdir -p .venv/bin $tensorflow
echo "Version: ${{TENSORFLOW:-2.21.0}}" > $tensorflow/METADATA
cp pip mpirun .venv/bin
cp "$0" .venv/bin/python
"""
PIP = f"""#!/bin/sh
case "$*" in
    wheel*) echo build >> calls; [ "$BREAK" != build ] && touch build/horovod/{WHEEL} ;;
    *) shift 3; echo pip "$@" >> calls; case "$*" in $BREAK) exit 1 ;; esac ;;
esac
"""
MPIRUN = """#!/bin/sh
echo mpirun >> calls
[ "$BREAK" != mpirun ] || { echo noise; echo "selfcheck: a sum is wrong" >&2; exit 1; }
"""
OLD_PYTHON = "#!/bin/sh\n[ $1 = --version ] && echo Python 3.9.2\n"
NO_VENV = f'#!/bin/sh\ncase "$*" in *ensurepip*) exit 1 ;; *) exec {sys.executable} "$@" ;; esac\n'


@pytest.fixture
def machine(tmp_path):
    return Machine(tmp_path / "tree", tmp_path / "bin")


class Machine:
    """A tree with the project's Makefile, and the few programs that this pretended machine has on its PATH."""

    def __init__(self, tree: Path, path: Path):
        self.tree, self.path = tree, path
        tree.mkdir()
        path.mkdir()
        for name in ("Makefile", "setup.cfg", "pyproject.toml"):
            shutil.copy2(PROJECT / name, tree)
        for name in TOOLS:
            (path / name).symlink_to(shutil.which(name))
        self.program("id", "#!/bin/sh\necho 1000\n")
        self.program("g++", "#!/bin/sh\n")
        self.program("python3", PYTHON)
        self.program("uname", "#!/bin/sh\necho x86_64\n")
        _program(tree / "pip", PIP)
        _program(tree / "mpirun", MPIRUN)
        (tree / "cpuinfo").write_text("flags\t: fpu avx f16c\n")

    def program(self, name: str, text: str) -> None:
        _program(self.path / name, text)

    def make(self, *words: str, **environment: str) -> subprocess.CompletedProcess:
        return subprocess.run(
            ["make", *words, "CPUINFO=cpuinfo"],
            cwd=self.tree,
            env={"PATH": str(self.path), **environment},
            capture_output=True,
            text=True,
            timeout=60,
        )

    def calls(self) -> list[str]:
        """Return what was called since the last time."""
        calls = self.tree / "calls"
        lines = calls.read_text().splitlines() if calls.exists() else []
        calls.unlink(missing_ok=True)
        return lines


def _program(path: Path, text: str) -> None:
    path.write_text(text)
    path.chmod(0o755)


DEPENDENCIES = "pip wheel -r .venv/requirements.txt"
VENV, BUILD, MPI = "python -m venv .venv", "build", "mpirun"
HOROVOD = f"pip --no-deps --force-reinstall wheelhouse/{WHEEL}"
PROJECT_ITSELF = "pip --no-build-isolation --editable ."
ALL_STEPS = [VENV, DEPENDENCIES, "pip cmake", BUILD, HOROVOD, PROJECT_ITSELF, MPI]


def test_setup_takes_its_steps_in_order_and_once(machine):
    assert machine.make("setup").returncode == 0
    assert machine.calls() == ALL_STEPS
    assert machine.make("setup").stdout == "make: Nothing to be done for 'setup'.\n"
    assert machine.calls() == []


def test_all_of_setup_cfg_but_horovod_is_installed_before_its_build(machine):
    machine.make("setup")
    lines = (machine.tree / ".venv/requirements.txt").read_text().split("\n")
    assert 'tensorflow-cpu==2.21.*; platform_machine == "x86_64"' in lines
    assert not [line for line in lines if line.startswith("horovod")]


def test_a_change_of_setup_cfg_installs_again_but_builds_nothing(machine):
    machine.make("setup")
    machine.calls()
    later = time.time() + 5
    os.utime(machine.tree / "setup.cfg", (later, later))
    machine.make("setup")
    assert machine.calls() == [DEPENDENCIES, HOROVOD, PROJECT_ITSELF, MPI]


def test_a_broken_build_says_where_to_look_and_starts_again_at_the_build(machine):
    done = machine.make("setup", BREAK="build")
    assert done.returncode == 2
    assert "type 'grep -m 5 error: build/horovod.log'" in done.stderr
    assert machine.calls() == ALL_STEPS[:4]
    assert machine.make("setup").returncode == 0
    assert machine.calls() == ALL_STEPS[2:]


@pytest.mark.parametrize("step", [1, 2, 4, 5])
def test_a_broken_installation_begins_anew_because_half_a_package_may_lie_there(machine, step):
    broken = ALL_STEPS[step].removeprefix("pip ")
    assert machine.make("setup", BREAK=broken).returncode == 2
    assert machine.calls() == ALL_STEPS[: step + 1]
    assert machine.make("setup").returncode == 0
    assert machine.calls()[:2] == ALL_STEPS[:2]


def test_a_second_make_leaves_alone_what_the_first_one_is_setting_up(machine):
    slow_pip = PIP.replace("shift 3;", 'shift 3; [ "$*" != "wheel -r .venv/requirements.txt" ] || sleep 2;')
    _program(machine.tree / "pip", slow_pip)
    first = subprocess.Popen(
        ["make", "setup", "CPUINFO=cpuinfo"],
        cwd=machine.tree,
        env={"PATH": str(machine.path)},
        stdout=subprocess.DEVNULL,
    )
    while not (machine.tree / ".venv/unfinished").exists():
        assert first.poll() is None
        time.sleep(0.02)
    second = machine.make("setup")
    assert second.returncode == 2
    assert f"received a second make while process {first.pid} sets it up" in second.stderr
    assert len(second.stderr.splitlines()) == 1
    assert first.wait(30) == 0
    assert machine.calls() == ALL_STEPS


def test_a_wrong_sum_leaves_the_set_up_undone_and_one_line(machine):
    done = machine.make("setup", BREAK="mpirun")
    assert done.returncode == 2
    assert [line for line in done.stderr.splitlines() if "make" not in line] == ["selfcheck: a sum is wrong"]
    machine.calls()
    machine.make("setup")
    assert machine.calls() == [MPI]


def test_a_wheel_from_a_machine_of_the_same_kind_needs_no_compiler(machine):
    machine.make("wheel")
    shutil.rmtree(machine.tree / ".venv")
    (machine.path / "g++").unlink()
    machine.calls()
    assert machine.make("setup").returncode == 0
    assert machine.calls() == [VENV, DEPENDENCIES, HOROVOD, PROJECT_ITSELF, MPI]


@pytest.mark.parametrize("difference", ["TensorFlow", "processor", "no note"])
def test_a_wheel_for_something_else_is_built_again(machine, difference):
    machine.make("wheel")
    shutil.rmtree(machine.tree / ".venv")
    machine.calls()
    if difference == "processor":
        (machine.tree / "cpuinfo").write_text("flags\t: fpu avx\n")
    if difference == "no note":
        (machine.tree / f"wheelhouse/{WHEEL}.txt").unlink()
    machine.make("setup", **({"TENSORFLOW": "2.21.1"} if difference == "TensorFlow" else {}))
    assert machine.calls() == ALL_STEPS


def test_the_note_beside_the_wheel_names_what_it_was_built_for(machine):
    assert machine.make("wheel").stdout.endswith(f"wheelhouse/{WHEEL}\n")
    libc = subprocess.check_output(["getconf", "GNU_LIBC_VERSION"], text=True).strip()
    assert (machine.tree / f"wheelhouse/{WHEEL}.txt").read_text() == f"tensorflow 2.21.0 {libc} avx f16c\n"


def test_another_interpreter_begins_anew_and_the_same_one_does_not(machine):
    machine.make("setup")
    machine.calls()
    machine.make("setup", PYTHON="python3")
    assert machine.calls() == []
    other = PYTHON.replace("[ ", '[ "$1" = -c ] && [ "${2#*%d}" != "$2" ] && echo 3.99 && exit\n[ ', 1)
    machine.program("python3.99", other)
    machine.make("setup", PYTHON="python3.99")
    assert machine.calls()[:2] == ALL_STEPS[:2]


def test_an_interpreter_that_does_not_run_is_passed_over(machine):
    (machine.path / "python3").rename(machine.path / "python3.12")
    machine.program("python3", "#!/bin/sh\nexit 127\n")  # as pyenv's shims do
    assert machine.make("setup").returncode == 0
    assert machine.calls() == ALL_STEPS


def one_line(machine, **environment):
    """Return what make said when it had to stop before it did anything."""
    done = machine.make("setup", **environment)
    assert done.returncode == 2
    assert done.stdout == ""
    assert machine.calls() == []
    assert not (machine.tree / ".venv").exists()
    (line,) = done.stderr.splitlines()
    return line


def test_a_missing_compiler_gives_one_line(machine):
    (machine.path / "g++").unlink()
    assert "received no g++ on PATH" in one_line(machine)
    assert "type 'sudo apt-get install g++'" in one_line(machine)


def test_a_python_that_is_too_old_gives_one_line(machine):
    machine.program("python3", OLD_PYTHON)
    line = one_line(machine)
    assert "received Python 3.9.2, allowed 3.11 to 3.13" in line
    assert "type 'PYTHON=python3.11 make run'" in line


def test_no_python_gives_one_line(machine):
    (machine.path / "python3").unlink()
    assert "received none that runs" in one_line(machine)
    assert "received none that runs" in one_line(machine, PYTHON="python3.99")


def test_a_python_without_venv_gives_one_line(machine):
    machine.program("python3", NO_VENV)
    assert f"type 'sudo apt-get install python3.{sys.version_info[1]}-venv'" in one_line(machine)


def test_a_processor_without_avx_gives_one_line(machine):
    (machine.tree / "cpuinfo").write_text("flags\t: fpu avx2-not\n")
    assert "received x86_64 without AVX" in one_line(machine)


def test_a_blank_in_the_path_gives_one_line(machine):
    machine.tree = machine.tree.rename(machine.tree.with_name("my tree"))
    assert "my tree': received a path with a blank, allowed one without" in one_line(machine)


def test_other_processors_need_no_avx(machine):
    (machine.tree / "cpuinfo").write_text("Features\t: fp asimd\n")
    machine.program("uname", "#!/bin/sh\necho aarch64\n")
    assert machine.make("setup").returncode == 0


def test_root_on_debian_gets_what_is_missing_installed(machine):
    (machine.path / "g++").unlink()
    machine.program("id", "#!/bin/sh\necho 0\n")
    apt_get = (
        f'#!/bin/sh\necho apt-get "$@" >> calls\n[ $2 = update ] || cp {machine.path}/python3 {machine.path}/g++\n'
    )
    machine.program("apt-get", apt_get)
    assert machine.make("setup").returncode == 0
    assert machine.calls() == [
        "apt-get -q update",
        "apt-get -q install --yes --no-install-recommends g++",
        *ALL_STEPS,
    ]


def test_others_are_asked_to_install_it(machine):
    (machine.path / "g++").unlink()
    machine.program("apt-get", "#!/bin/sh\necho apt-get >> calls\n")
    assert "sudo apt-get install g++" in one_line(machine)


def test_clean_removes_all_that_was_made_but_no_results(machine):
    results = machine.tree / "results/digits/mine/__pycache__"
    results.mkdir(parents=True)
    before = sorted(machine.tree.rglob("*"))
    machine.make("setup")
    machine.calls()
    for made in (
        "hvdedge.egg-info/PKG-INFO",
        "bench/.venv/x",
        "hvdedge/__pycache__/x.pyc",
        ".pytest_cache/x",
        ".ruff_cache/x",
    ):
        (machine.tree / made).parent.mkdir(parents=True)
        (machine.tree / made).touch()
    assert machine.make("clean").returncode == 0
    for folder in ("hvdedge", "bench"):
        (machine.tree / folder).rmdir()
    assert sorted(machine.tree.rglob("*")) == before


def test_a_second_setup_here_does_nothing_and_at_once():
    done = PROJECT / ".venv/stamps/selfcheck"
    if not done.exists() or done.stat().st_mtime < (PROJECT / "setup.cfg").stat().st_mtime:
        pytest.skip("this tree is not set up by make for the setup.cfg that it has")
    environment = {
        name: value for name, value in os.environ.items() if name not in ("PYTHON", "MAKEFLAGS", "MAKELEVEL")
    }
    start = time.monotonic()
    assert subprocess.run(["make", "--question", "setup"], cwd=PROJECT, env=environment).returncode == 0
    assert time.monotonic() - start < 1  # measured: 0.01 s


def selfcheck(ranks, before=""):
    """Run the check as the set-up does, after the line `before`; return its exit status and what it said."""
    mpirun = Path(sys.executable).parent / "mpirun"
    flags = ["--oversubscribe", "--bind-to", "none", "--allow-run-as-root"]
    program = f"{before}\nfrom hvdedge.selfcheck import main\nmain()"
    done = subprocess.run(
        [mpirun, "-np", str(ranks), *flags, sys.executable, "-m", "mpi4py", "-c", program],
        capture_output=True,
        text=True,
        timeout=100,
    )
    return done.returncode, [line for line in (done.stdout + done.stderr).splitlines() if line.startswith("selfcheck:")]


def test_two_real_all_reduces_give_the_right_sums():
    assert selfcheck(2) == (0, ["selfcheck: mpi4py and Horovod give the right sums on 2 ranks"])


def test_a_sum_that_lacks_a_rank_is_found():
    status, (line,) = selfcheck(2, "import horovod.tensorflow as h; h.allreduce = lambda rows, op: rows")
    assert status == 1
    # the second row holds 1 on rank 0 and 2 on rank 1; every hundredth of 100,000 rows is 0 on all ranks
    assert "the sum by Horovod: received 1 in row 1 (99000 rows are wrong), allowed 3" in line


def test_one_rank_alone_proves_nothing():
    status, (line,) = selfcheck(1)
    assert status == 1
    assert "received 1 rank, allowed 2 or more" in line

"""The two things that hold the design: what the command loads, and where Horovod may stand."""

import pathlib
import re
import subprocess
import sys

ROOT = pathlib.Path(__file__).resolve().parent.parent
HEAVY = ("mpi4py.MPI", "tensorflow", "keras", "horovod", "pyarrow", "matplotlib", "sklearn")


def test_the_command_loads_neither_mpi_nor_tensorflow():
    code = f"""
import runpy, sys
from hvdedge import __main__, clusters, config, launch, listing, page, progress, records, runs
config.read_pipeline(__import__("pathlib").Path("jobs/digits.toml"))
listing.show_methods()
print([name for name in {HEAVY!r} if name in sys.modules])
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=ROOT)
    assert done.stdout.splitlines()[-1:] == ["[]"], done.stdout + done.stderr


def test_horovod_stands_in_strategies_alone():
    imports = re.compile(r"^\s*(import|from) horovod", re.MULTILINE)
    found = {
        str(path.relative_to(ROOT)) for path in (ROOT / "hvdedge").rglob("*.py") if imports.search(path.read_text())
    }
    assert found == {
        "hvdedge/strategies/ring_allreduce.py",
        "hvdedge/selfcheck.py",
    }  # the set-up's proof uses the real one


def test_imports_do_nothing():
    """Statements at the top of a module are imports, constants, definitions and the main guard."""
    import ast

    allowed = (ast.Import, ast.ImportFrom, ast.FunctionDef, ast.ClassDef, ast.Assign, ast.AnnAssign)
    for path in sorted([*(ROOT / "hvdedge").rglob("*.py"), *(ROOT / "jobs").glob("*.py")]):
        for statement in ast.parse(path.read_text()).body:
            is_text = isinstance(statement, ast.Expr) and isinstance(statement.value, ast.Constant)
            is_guard = isinstance(statement, ast.If) and ast.unparse(statement.test) in (
                "__name__ == '__main__'",
                "TYPE_CHECKING",
            )
            assert isinstance(statement, allowed) or is_text or is_guard, f"{path}:{statement.lineno}"


def test_every_call_that_moves_bytes_over_a_communicator_is_counted():
    """What methods call on `comm` is overridden by MeteredComm, or moves nothing."""
    from hvdedge.parallel import MeteredComm

    silent = {
        "Abort",
        "Free",
        "Get_group",
        "Get_failed",
        "Set_errhandler",
        "Revoke",
        "Agree",
        "Iprobe",
        "Recv_init",
        "Is_revoked",
    }
    for path in [*(ROOT / "hvdedge").rglob("*.py"), *(ROOT / "jobs").glob("*.py")]:
        if path.name != "selfcheck.py":
            called = set(re.findall(r"\bcomm\.([A-Z]\w+)\(", path.read_text()))
            assert called <= set(vars(MeteredComm)) | silent, path

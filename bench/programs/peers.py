"""The systems that ours is measured beside: installed into bench/.venv at the first call that needs them."""

import pathlib
import subprocess
import venv

FOLDER = pathlib.Path(__file__).resolve().parent.parent / ".venv"


def python_with(*packages: str) -> pathlib.Path:
    """Return a Python that has `packages`, such as "pandas==2.3.3"."""
    python = FOLDER / "bin" / "python"
    if not python.exists():
        venv.create(FOLDER, with_pip=True)
    installed = FOLDER / "installed"
    known = installed.read_text().split() if installed.exists() else []
    missing = [package for package in packages if package not in known]
    if missing:
        subprocess.run([python, "-m", "pip", "install", "--quiet", *missing], check=True)
        installed.write_text("\n".join([*known, *missing]) + "\n")
    return python

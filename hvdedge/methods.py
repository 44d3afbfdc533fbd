"""Finding a method by its file's name and checking its options against its signature, without importing it.

A method is one file with one public function. Its keyword-only arguments are its options: name, type, default.
They are read with `ast`, so that the command knows them all and loads neither MPI nor TensorFlow.
"""

import ast
import contextlib
import difflib
import functools
import importlib
import pathlib
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import Any, Literal

from hvdedge import options
from hvdedge.errors import InputError

PACKAGE = pathlib.Path(__file__).resolve().parent
FUNCTIONS = {
    "datasets": "read",
    "structure": "repair",
    "cleaning": "clean",
    "profiling": "profile",
    "features": "extract",
    "reduction": "reduce",
    "selection": "select",
    "models": "build",
    "strategies": "train",
    "searches": "search",
    "compression": "compress",
    "reports": "tabulate",
}
_TYPES = {
    **{
        name: getattr(options, name)
        for name in (
            "Count",
            "Several",
            "SomeRanks",
            "Natural",
            "Bits",
            "Positive",
            "NonNegative",
            "Share",
            "Fraction",
            "Between",
            "Portion",
            "Scaling",
            "Path",
            "ColumnName",
            "ColumnRule",
        )
    },
    **{"Literal": Literal, "bool": bool, "int": int, "float": float, "str": str, "tuple": tuple},
}


@dataclass(frozen=True)
class Option:
    """One keyword-only argument of a method: its type, as msgspec checks it, and its default."""

    type: Any
    default: Any


@dataclass(frozen=True)
class Method:
    """A file of one of the folders, and what its public function takes.

    Attributes:
        constants: those that the file defines by a literal.
    """

    kind: str
    name: str
    summary: str
    options: dict[str, Option]
    constants: dict[str, Any] = field(default_factory=dict)

    @property
    def examples(self) -> tuple[str, ...]:
        """What an extractor makes, or a model takes: images, vectors, windows, tokens, nodes."""
        return self.constants.get("EXAMPLES", ())

    @property
    def order(self) -> int:
        """A compressor's place: it would undo what one of the same or a higher number did before it; 0: anywhere."""
        return self.constants.get("ORDER", 0)

    @property
    def tasks(self) -> tuple[str, ...]:
        """For which a compressor works; nothing: for all."""
        return self.constants.get("TASKS", ())

    @property
    def calibrates(self) -> bool:
        """Whether a compressor looks at training rows where it does not train, too."""
        return self.constants.get("CALIBRATES", False)

    @property
    def private(self) -> tuple[str, ...]:
        """Options of a strategy, or options with values (`name = value`), under which rows stay where they are."""
        return self.constants.get("PRIVATE", ())

    def load(self) -> Callable:
        """Import the method's file and return its function."""
        return getattr(importlib.import_module(f"hvdedge.{self.kind}.{self.name}"), FUNCTIONS[self.kind])


def names(kind: str) -> list[str]:
    """Return the methods of a folder, sorted."""
    return sorted(path.stem for path in (PACKAGE / kind).glob("*.py") if not path.stem.startswith("_"))


def find(kind: str, name: str, where: str) -> Method:
    """Return a method by its name.

    Raises:
        InputError: where there is none of this name; offers the nearest.
    """
    return find_among((kind,), name, where)


def find_among(kinds: Iterable[str], name: str, where: str) -> Method:
    """Return a method by its name, which is that of one file in all the folders `kinds`.

    Raises:
        InputError: where there is none of this name; offers the nearest.
    """
    kind_of = {known: kind for kind in kinds for known in names(kind)}
    if name not in kind_of:
        raise InputError(unknown(where, name, kind_of))
    return _parse(kind_of[name], name)


def unknown(where: str, received: object, allowed: Iterable[str]) -> str:
    """Return the line that says what is allowed at `where`, and which of it is nearest to what was received."""
    allowed = sorted(map(str, allowed))
    near = difflib.get_close_matches(str(received), allowed, n=1)
    remedy = f"did you mean {near[0]!r}?" if near else "name one of these" if allowed else "leave it out"
    return f"{where}: received {received!r}, allowed: {', '.join(allowed) or 'nothing'}; {remedy}"


@functools.cache
def _parse(kind: str, name: str) -> Method:
    tree = ast.parse((PACKAGE / kind / f"{name}.py").read_text(encoding="utf-8"))
    function = next(
        node for node in tree.body if isinstance(node, ast.FunctionDef) and node.name == FUNCTIONS[kind]
    )  # a file without it is a bug of ours; a test looks at every file
    summary = (ast.get_docstring(function) or "").split("\n")[0].removeprefix("Collective. ")
    found = {}
    for argument, default in zip(function.args.kwonlyargs, function.args.kw_defaults, strict=True):
        assert argument.annotation is not None and default is not None, f"{kind}/{name}.py: {argument.arg}"
        written = ast.unparse(argument.annotation)
        found[argument.arg] = Option(eval(written, {"__builtins__": {}}, _TYPES), ast.literal_eval(default))  # noqa: S307
    constants = _constants(tree)
    assert "EXAMPLES" in constants or kind not in ("features", "models"), f"{kind}/{name}.py: EXAMPLES"
    return Method(kind, name, summary, found, constants)


def _constants(tree: ast.Module) -> dict[str, Any]:
    """Return name -> value of what the file's top level sets to a literal."""
    found = {}
    for node in tree.body:
        if isinstance(node, ast.Assign):
            with contextlib.suppress(ValueError):
                found[ast.unparse(node.targets[0])] = ast.literal_eval(node.value)
    return found

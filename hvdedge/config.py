"""The only reader of pipelines: TOML -> a checked Pipeline, in which every option has its value.

A stage's section holds the stage's own settings (SETTINGS), the names of its methods (CHOICES: `model = "cnn"`) and
these methods' options beside them. Stages that run several methods (LISTS) have a sub-section for each
(`[extract.pca]`), of whichever of their kinds, run in the order in which they stand.
"""

import contextlib
import copy
import json
import os
import pathlib
import re
import tomllib
import typing
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any, Literal, NoReturn

import msgspec

from hvdedge import consistency, methods, qualities, records, search_space
from hvdedge.errors import InputError
from hvdedge.methods import Method, Option, unknown
from hvdedge.options import Between, ColumnName, Count, Fraction, Natural, Path, Positive, spelled
from hvdedge.records import STAGES
from hvdedge.search_space import Space

ROOT = methods.PACKAGE.parent
NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]*")
CHOICES = {
    "prepare": {"reader": "datasets"},
    "extract": {"extractor": "features"},
    "train": {"model": "models", "strategy": "strategies"},
    "tune": {"search": "searches"},
}
LISTS: dict[str, tuple[str, ...]] = {
    "clean": ("cleaning",),
    "profile": ("profiling",),
    "extract": ("reduction", "selection"),
    "compress": ("compression",),
}
DEFAULTS = {"extractor": "image", "strategy": "ring_allreduce", "search": "tpe"}
ALWAYS = {"profile": ("statistics",)}
LEARNED = ("label", "targets", "by", "client")  # the options of extract that name what is learned, or split by
IN_RUN = "{run}/"  # begins a path in the run's folder, which only its stages know
SIZE = re.compile(r"(\d+(?:\.\d+)?)\s*([KMGT]?)(i?)B?", re.IGNORECASE)


class Prepare(msgspec.Struct, forbid_unknown_fields=True):
    """What is read. `source`: a file, a list of files, a folder or a glob; nothing for a reader that makes its own.

    `origin` says where it can be had and `sha256` what each file must be; both stand in the error where one is missing,
    and a file that is there is held against its checksum.
    """

    source: str | tuple[str, ...] = ()
    origin: str = ""
    sha256: str | tuple[str, ...] = ()


class Extract(msgspec.Struct, forbid_unknown_fields=True):
    """How rows are split; `uncleaned` extracts the rows as they were before clean, too, to compare.

    `client`: the column that says who has a row, for federated training by clients. `split`: stratified keeps the
    shares in every class, random among all rows, group leaves no value of the column `by` in two splits, time makes
    the rows with the largest `by` the test, given takes the split that `by` names, files those of `test_files`, names
    or patterns, for the test. `borders`, with time: when validation begins, the test begins and, if there is a third,
    ends, instead of the shares. `storage` is how x is kept on disk.
    """

    split: Literal["stratified", "random", "group", "time", "given", "files"] = "stratified"
    by: ColumnName = ""
    test_files: tuple[str, ...] = ()
    client: ColumnName = ""
    validation: Fraction = 0.1
    test: Between = 0.2
    borders: tuple[str, ...] = ()
    uncleaned: bool = False
    storage: Literal["auto", "uint8", "float16", "float32"] = "auto"


class Train(msgspec.Struct, forbid_unknown_fields=True):
    """What every strategy needs.

    `patience`: epochs without a better validation loss before the end, 0: never. `plateau`: epochs without a better
    loss before the rate is halved, 0: never. `divergence`: whether a training that diverges goes back to the last good
    epoch. `precision`: what gradients are computed in. `rows`: shared reads them in the run's folder in each epoch, or
    once if they fit into memory; dealt copies each rank's to its own disk before the first. `micro_batches`: whether
    batches are taken in parts where memory is short. `initial_weights`: a Keras file, such as a run's model.keras,
    with whose weights the layers of the same names and shapes begin; of these, `frozen`, names or patterns, stay so.
    """

    epochs: Count = 10
    batch_size: Count = 32
    learning_rate: Positive = 0.001
    optimizer: Literal["adam", "sgd"] = "adam"
    momentum: Fraction = 0.9
    patience: Natural = 0
    plateau: Natural = 0
    divergence: Literal["restore", "stop"] = "restore"
    precision: Literal["float32", "bfloat16", "float16", "auto"] = "float32"
    checkpoint_every: Count = 1
    rows: Literal["shared", "dealt"] = "shared"
    micro_batches: bool = True
    initial_weights: Path = ""
    frozen: tuple[str, ...] = ()


class Tune(msgspec.Struct, forbid_unknown_fields=True):
    """How options are searched for before the model is kept; `[tune.space]` says which, and among which values.

    `trials`: how many combinations are tried, those in the pipeline first. `ranks`: on how many ranks each; as many
    trials run side by side as there are such groups. `metric`: what is best in the best trial, a measure of evaluate or
    train, on the rows for validation.
    """

    trials: Count = 20
    ranks: Count = 1
    metric: str = "loss"


class Evaluate(msgspec.Struct, forbid_unknown_fields=True):
    """`truth`: the folder with what is true of raw files that were made, against which the repairs are compared."""

    truth: Path = ""


class Empty(msgspec.Struct, forbid_unknown_fields=True):
    """A stage without settings of its own."""


SETTINGS: dict[str, type[msgspec.Struct]] = {
    "prepare": Prepare,
    "extract": Extract,
    "train": Train,
    "tune": Tune,
    "evaluate": Evaluate,
}


@dataclass(frozen=True)
class Chosen:
    """A method of the pipeline with the values of all its options."""

    method: Method
    options: dict[str, Any]

    @property
    def name(self) -> str:
        return self.method.name


def in_run(options: dict[str, Any], run: pathlib.Path) -> dict[str, Any]:
    """Return the options with every `{run}/...` in the run's folder."""

    def resolved(value: Any) -> Any:
        if isinstance(value, tuple):
            return tuple(map(resolved, value))
        is_inside = isinstance(value, str) and value.startswith(IN_RUN)
        return str(run / value.removeprefix(IN_RUN)) if is_inside else value

    return {name: resolved(value) for name, value in options.items()}


@dataclass(frozen=True)
class Section:
    """What a pipeline says of one stage: its settings, the methods chosen by key, the methods run in order."""

    settings: dict[str, Any]
    choices: dict[str, Chosen]
    methods: tuple[Chosen, ...]

    def as_written(self) -> dict[str, Any]:
        """Return the section as TOML would hold it, with all defaults."""
        chosen = {key: value for choice in self.choices.values() for key, value in choice.options.items()}
        named = {key: choice.name for key, choice in self.choices.items()}
        return {**self.settings, **named, **chosen, **{one.name: dict(one.options) for one in self.methods}}


@dataclass(frozen=True)
class Tuning:
    """How a pipeline is tuned: the section of `tune`, and what may be chosen."""

    section: Section
    space: Space

    @property
    def settings(self) -> dict[str, Any]:
        """Those of `Tune`."""
        return self.section.settings

    @property
    def search(self) -> Chosen:
        """The way to search."""
        return self.section.choices["search"]

    def first_stage(self) -> str:
        """Return the first stage that has an option that is searched for: trials begin with it."""
        return min((key.split(".")[0] for key in self.space), key=STAGES.index)

    def as_written(self) -> dict[str, Any]:
        """Return the section as TOML would hold it, with all defaults."""
        return {**self.section.as_written(), "space": search_space.as_written(self.space)}

    def searched(self) -> dict[str, Any]:
        """Return what is searched for and how, but for how long."""
        return {key: value for key, value in self.as_written().items() if key != "trials"}


@dataclass(frozen=True)
class Pipeline:
    """A checked pipeline.

    Attributes:
        sources: the files that prepare reads, found and resolved.
        stages: those that it is about: without a section on learning those up to its features, or tables, and the
            report; compress where it has a section.
        tune: how it is tuned, if it is.
        tree: what the file says, with the changes made to it.
    """

    path: pathlib.Path
    case: str
    seed: int
    memory_bytes: int
    sections: dict[str, Section]
    sources: tuple[pathlib.Path, ...]
    stages: tuple[str, ...] = STAGES
    tune: Tuning | None = None
    tree: Mapping[str, Any] = field(default_factory=dict)

    def changed(self, options: Mapping[str, Any]) -> "Pipeline":
        """Return this pipeline with other values for some dotted keys, and no search for better ones.

        Raises:
            InputError: where one is not allowed.
        """
        tree = copy.deepcopy({key: value for key, value in self.tree.items() if key != "tune"})
        for key, value in options.items():
            _set(tree, key.split("."), value)
        return replace(_parse(self.path, tree, self.stages[-1]), sources=self.sources)

    def value(self, key: str) -> Any:
        """Return what stands under a dotted key."""
        found: Any = {stage: section.as_written() for stage, section in self.sections.items()}
        for word in key.split("."):
            found = found[word]
        return found

    @property
    def learned(self) -> dict[str, str]:
        """The columns, or patterns, that are learnt or split by, and the option that names each."""
        options = self.sections["extract"].as_written() if "extract" in self.stages else {}
        named: dict[str, Any] = {f"extract.{key}": options.get(key) or () for key in LEARNED}
        for one in self.sections["clean"].methods:
            named |= {f"clean.{one.name}.label": one.options["label"]} if "label" in one.options else {}
        return {name: key for key, value in named.items() for name in ((value,) if isinstance(value, str) else value)}

    def options(self, stage: str) -> dict[str, Any]:
        """Return all that decides what `stage` makes of its inputs, as its record keeps it."""
        general: dict[str, Any] = {"seed": self.seed, "memory_bytes": self.memory_bytes}
        if stage == "clean":
            general["learned"] = self.learned
        if stage == "prepare":
            status = [path.stat() for path in self.sources]
            general["sources"] = [
                [str(path), found.st_size, found.st_mtime_ns] for path, found in zip(self.sources, status, strict=True)
            ]
        if stage == "train" and self.tune:
            general["tune"] = self.tune.as_written()
        return {**general, **self.sections[stage].as_written()}

    def as_written(self) -> dict[str, Any]:
        """Return the pipeline as TOML would hold it, with all defaults."""
        sections = {stage: self.sections[stage].as_written() for stage in self.stages}
        sections["prepare"]["source"] = [str(path) for path in self.sources]
        if self.tune:
            sections["tune"] = self.tune.as_written()
        return {"case": self.case, "seed": self.seed, "memory": self.memory_bytes, **sections}


def read_pipeline(
    path: pathlib.Path,
    changes: Iterable[str] = (),
    last: str = "report",
    *,
    find_sources: bool = True,
    results: pathlib.Path | None = None,
) -> Pipeline:
    """Return the pipeline in `path` with the `changes` (`train.epochs=3`) made to it.

    Args:
        last: the last stage that will run; those after it need not name their methods.
        find_sources: whether what prepare reads is looked for.
        results: where runs are kept, which no folder that prepare reads may hold.
    Raises:
        InputError: for a file that cannot be read, an unknown key, a wrong type, an impossible value, a missing source.
    """
    tree = read_toml(path)
    for change in changes:
        _change(tree, change)
    found = _parse(path, tree, last)
    sources = _sources(path, Prepare(**found.sections["prepare"].settings), results) if find_sources else ()
    consistency.check_tables(path, found.sections, sources)
    if found.tune and STAGES.index(last) >= STAGES.index("train"):
        _check_space(found)
    return replace(found, sources=sources)


def _parse(path: pathlib.Path, tree: dict[str, Any], last: str) -> Pipeline:
    """Return the pipeline that `tree` holds, without its sources, which stand in files."""
    top = {"case", "seed", "memory", "tune", *STAGES}
    for key in tree:
        if key not in top:
            raise InputError(unknown(f"{path}: {key}", key, top))
    case = _checked(path, "case", tree.get("case", path.stem), str)
    if not NAME.fullmatch(case):
        raise InputError(
            f"{path}: case: received {case!r}, allowed: letters, digits and _ . -, as it names a folder; rename it"
        )
    seed = _checked(path, "seed", tree.get("seed", 0), Natural)
    stages = _stages(tree, last)
    reading = _Reading(path, seed, last if "train" in stages else stages[-2])
    sections = {stage: reading.section(stage, tree.get(stage, {})) for stage in STAGES}
    consistency.check_rules(path, sections)
    consistency.check_privacy(path, sections)
    consistency.check_split(path, sections)
    if last in STAGES[STAGES.index("train") :]:
        consistency.check_features(path, sections, is_given="extract" in tree)
        consistency.check_model(path, sections)
        consistency.check_frozen(path, sections)
        if "compress" in stages:
            consistency.check_compress(path, sections)
        consistency.check_clients(path, sections)
    memory_bytes = size_bytes(path, "memory", tree.get("memory", "1GB"))
    tune = _tuning(path, reading, tree["tune"]) if "tune" in tree and "train" in stages else None
    return Pipeline(path, case, seed, memory_bytes, sections, (), stages, tune, tree)


def _tuning(path: pathlib.Path, reading: "_Reading", given: object) -> Tuning:
    if not isinstance(given, dict):
        raise InputError(f"{path}: tune: received {given!r}, allowed: a section [tune]")
    section = reading.section("tune", {key: value for key, value in given.items() if key != "space"})
    section.settings["metric"] = qualities.find(path, section.settings["metric"])
    return Tuning(section, search_space.parse(path, given.get("space")))


def _check_space(pipeline: Pipeline) -> None:
    """Hold that each value that a search may choose is allowed; take whole numbers as any where those are allowed.

    Where methods are searched for, such as train.model, values are held against each of them.
    """
    assert pipeline.tune
    consistency.check_searched(pipeline.path, pipeline.sections, pipeline.tune)
    space = pipeline.tune.space
    chosen = {f"{stage}.{key}" for stage, keys in CHOICES.items() for key in keys} & space.keys()
    for key, dimension in space.items():
        for value in dimension.examples:
            for beside in [{other: name} for other in chosen - {key} for name in space[other].examples] or [{}]:
                _try(pipeline, key, {**beside, key: value})
        try:
            pipeline.value(key)
        except KeyError:
            section = key.rpartition(".")[0]
            raise InputError(
                f"{pipeline.path}: tune.space.{key}: received an option of a method that does not run, allowed: one of "
                f"a section that there is; add [{section}], or take it out"
            ) from None
        if isinstance(dimension, search_space.Range) and dimension.is_whole:
            with contextlib.suppress(InputError):
                pipeline.changed({key: dimension.low + 0.5})
                space[key] = replace(dimension, is_whole=False)


def _try(pipeline: Pipeline, key: str, options: Mapping[str, Any]) -> None:
    """Raise InputError, naming the key of the space, where options are not allowed."""
    try:
        pipeline.changed(options)
    except InputError as error:
        told = str(error).removeprefix(f"{pipeline.path}: ").removeprefix(f"{key}: ")
        beside = "".join(f" (with {name} = {value!r})" for name, value in options.items() if name != key)
        raise InputError(f"{pipeline.path}: tune.space.{key}: {told}{beside}") from None


def tuned(pipeline: Pipeline, folder: pathlib.Path) -> Pipeline:
    """Return a pipeline with the options that its search in the run's folder found best; as it is without one."""
    if pipeline.tune is None or not (folder / "train.json").exists():
        return pipeline
    with contextlib.suppress(InputError, KeyError, TypeError, StopIteration):  # what is no such search is none
        record = records.read(folder / "train.json")
        searched = json.loads(json.dumps(pipeline.tune.searched()))
        if record.status == "done" and record.options["tune"] | {"trials": None} == searched | {"trials": None}:
            best = record.metrics["search"]["best"]
            trial = next(trial for trial in record.metrics["trials"] if trial["number"] == best)
            return settled(pipeline, trial["options"])
    return pipeline


def settled(pipeline: Pipeline, options: Mapping[str, Any]) -> Pipeline:
    """Return a pipeline with the options that its search found best, and what it searched for."""
    return replace(pipeline.changed(options), tune=pipeline.tune)


def read_toml(path: pathlib.Path) -> dict[str, Any]:
    """Return what a TOML file holds.

    Raises:
        InputError: where it cannot be read or is no TOML.
    """
    try:
        return tomllib.loads(path.read_bytes().decode("utf-8"))
    except OSError as error:
        raise InputError(
            f"{path}: received no file that can be read ({error.strerror}); give the path of a TOML file"
        ) from None
    except UnicodeDecodeError:
        raise InputError(
            f"{path}: received a file that is no text in UTF-8, allowed: TOML; give the pipeline, and the data in it "
            "as prepare.source"
        ) from None
    except tomllib.TOMLDecodeError as error:
        raise InputError(f"{path}: received broken TOML ({error}); mend that line") from None


def size_bytes(path: pathlib.Path, key: str, value: object) -> int:
    """Return a size such as 512MB, 1 GiB or 1000000 in bytes."""
    found = SIZE.fullmatch(str(value).strip())
    if not found or isinstance(value, bool):
        raise InputError(
            f'{path}: {key}: received {value!r}, allowed: a size such as "512MB", "2GB" or 1000000 bytes; change it'
        )
    number, unit, binary = found.groups()
    size = int(float(number) * (1024 if binary else 1000) ** " KMGT".index(unit.upper() or " "))
    if size < 64_000_000:
        raise InputError(f'{path}: {key}: received {value!r}, allowed: at least "64MB"; a rank needs that much')
    return size


def to_toml(tree: Mapping[str, Any], name: str = "") -> str:
    """Return `tree`, nested mappings of what TOML can hold, as TOML; tables come after values."""
    lines = [
        f"{_key(key)} = {_value(value)}"
        for key, value in tree.items()
        if not isinstance(value, Mapping) and value is not None
    ]
    text = (f"[{name}]\n" if name else "") + "".join(line + "\n" for line in lines)
    for key, value in tree.items():
        if isinstance(value, Mapping):
            text += "\n" + to_toml(value, f"{name}.{_key(key)}" if name else _key(key))
    return text


def _stages(tree: Mapping[str, Any], last: str) -> tuple[str, ...]:
    """Return the stages that a file is about, of which `last` is one.

    Those up to its features, or tables, and the report, or all; compress, on which none depends, by its section alone.
    """
    for ending in ("extract", "profile"):
        before = STAGES[: STAGES.index(ending) + 1]
        if last not in (*before, "report") or tree.keys() & {*STAGES} - {*before, "report"}:
            break
        if ending in tree or ending == "profile":
            return (*before, "report")
    return tuple(stage for stage in STAGES if stage != "compress" or stage in tree or stage == last)


class _Reading:
    """What the sections of one file have in common while they are read."""

    def __init__(self, path: pathlib.Path, seed: int, last: str):
        self.path = path
        self.seed = seed
        self.last = last

    def section(self, stage: str, given: object) -> Section:
        if not isinstance(given, dict):
            raise InputError(f"{self.path}: {stage}: received {given!r}, allowed: a section [{stage}]")
        rest = dict(given)
        settings = {
            field.name: Option(field.type, field.default)
            for field in msgspec.structs.fields(SETTINGS.get(stage, Empty))
        }
        chosen = {}
        for key, kind in CHOICES.get(stage, {}).items():
            where = f"{self.path}: {stage}.{key}"
            name = rest.pop(key, DEFAULTS.get(key))
            if name is None and stage in STAGES and STAGES.index(stage) > STAGES.index(self.last):
                continue
            if name is None:
                raise InputError(
                    f"{where}: received nothing, allowed: {', '.join(methods.names(kind))}; name one under [{stage}]"
                )
            chosen[key] = methods.find(kind, _checked(self.path, f"{stage}.{key}", name, str), where)
        several = self._several(stage, rest)
        allowed = {**settings}
        for method in chosen.values():
            clash = allowed.keys() & method.options.keys()
            assert not clash, f"{method.kind}/{method.name}.py: option {clash} is taken"
            allowed |= method.options
        values = self._values(stage, rest, allowed, [*allowed, *CHOICES.get(stage, {})])
        return Section(
            {key: values[key] for key in settings},
            {key: Chosen(method, {name: values[name] for name in method.options}) for key, method in chosen.items()},
            several,
        )

    def _several(self, stage: str, rest: dict[str, Any]) -> tuple[Chosen, ...]:
        if stage not in LISTS:
            return ()
        found = []
        given_names = [name for name, value in rest.items() if stage not in CHOICES or isinstance(value, dict)]
        for name in [*(name for name in ALWAYS.get(stage, ()) if name not in rest), *given_names]:
            given, where = rest.pop(name, {}), f"{stage}.{name}"
            method = methods.find_among(LISTS[stage], name, f"{self.path}: {where}")
            if not isinstance(given, dict):
                raise InputError(f"{self.path}: {where}: received {given!r}, allowed: a section [{where}]")
            found.append(Chosen(method, self._values(where, given, method.options, method.options)))
        return tuple(found)

    def _values(self, where: str, given: dict[str, Any], allowed: dict[str, Option], offered: Iterable[str]) -> dict:
        for key in given:
            if key not in allowed:
                raise InputError(
                    _of_others(self.path, where, key) or unknown(f"{self.path}: {where}.{key}", key, offered)
                )
        values: dict[str, Any] = {}
        for key, option in allowed.items():
            default = self.seed if key == "seed" else option.default
            values[key] = _checked(self.path, f"{where}.{key}", given[key], option.type) if key in given else default
            place = values[key]
            if option.type is Path and place and not place.startswith(IN_RUN):
                values[key] = str(_find_path(self.path, f"{where}.{key}", place))
            elif option.type == tuple[Path, ...]:
                values[key] = tuple(str(each) for one in place for each in self._paths(f"{where}.{key}", one))
        return values

    def _paths(self, where: str, value: str) -> list[pathlib.Path] | list[str]:
        """Return what a path or pattern names; a folder, and what is in the run's folder, as it is."""
        if value.startswith(IN_RUN):
            return [value]
        place = _find_path(self.path, where, value)
        return [place] if place.is_dir() else _glob(place)


def _of_others(path: pathlib.Path, where: str, key: str) -> str:
    """Return the line that names the methods with an option that the chosen ones lack; nothing where none has it."""
    owners = [
        f"{choice} = {name!r}"
        for choice, kind in CHOICES.get(where, {}).items()
        for name in methods.names(kind)
        if key in methods.find(kind, name, "").options
    ]
    if not owners:
        return ""
    return (
        f"{path}: {where}.{key}: received an option of another method, allowed with {' or '.join(owners)}; leave it out"
    )


def _checked(path: pathlib.Path, where: str, value: object, wanted: Any) -> Any:
    if typing.get_origin(wanted) is tuple and isinstance(value, str):
        value = [value]  # a list of one may be written without brackets
    try:
        return msgspec.convert(value, wanted)
    except msgspec.ValidationError:
        if typing.get_origin(wanted) is Literal:
            raise InputError(unknown(f"{path}: {where}", value, typing.get_args(wanted))) from None
        raise InputError(
            f"{path}: {where}: received {value!r}, allowed: {spelled(wanted)}; change that value"
        ) from None


def _change(tree: dict[str, Any], change: str) -> None:
    key, equals, text = change.partition("=")
    words = key.strip().split(".")
    if not equals or not all(words):
        raise InputError(f"--set: received {change!r}, allowed: KEY=VALUE such as train.epochs=3; write it so")
    try:
        value = tomllib.loads(f"value = {text}")["value"]
    except tomllib.TOMLDecodeError:
        value = text  # a bare word stands for itself, as a shell user expects
    try:
        _set(tree, words, value)
    except TypeError as error:
        raise InputError(
            f"--set: received {change!r}, but {error} is a value, not a section; set {error} itself"
        ) from None


def _set(tree: dict[str, Any], words: list[str], value: Any) -> None:
    """Set what stands under a key of several words.

    Raises:
        TypeError: naming what is a value and not a section.
    """
    for depth, word in enumerate(words[:-1], start=1):
        tree = tree.setdefault(word, {})
        if not isinstance(tree, dict):
            raise TypeError(".".join(words[:depth]))
    tree[words[-1]] = value


def listed(value: str | tuple[str, ...]) -> tuple[str, ...]:
    """Return what may be written as one text or a list of them as a list; of an empty text, none."""
    return (value,) * bool(value) if isinstance(value, str) else value


def _sources(path: pathlib.Path, prepare: Prepare, results: pathlib.Path | None) -> tuple[pathlib.Path, ...]:
    found: list[pathlib.Path] = []
    wanted, checksums = listed(prepare.source), listed(prepare.sha256)
    for number, one in enumerate(wanted):
        try:
            place = _find_path(path, "prepare.source", one)
        except InputError as error:
            checksum = checksums[number] if len(checksums) == len(wanted) else ""
            hints = [
                f"it can be had from {prepare.origin}" * bool(prepare.origin),
                f"SHA-256 {checksum}" * bool(checksum),
            ]
            raise InputError("; ".join([str(error), *filter(None, hints)])) from None
        if place.is_dir() and results is not None and results.resolve().is_relative_to(place):
            raise InputError(
                f"{path}: prepare.source: received {one!r}, a folder that is read with all below it, the results in "
                f"{results} too, allowed: one of raw files alone; name a pattern such as '*.csv', move the files into "
                "a folder of their own, or give other --results"
            )
        files = _below(path, one, place) if place.is_dir() else _glob(place)
        if not files:
            raise InputError(
                f"{path}: prepare.source: received {one!r}, a folder without files; name one that has some"
            )
        for file in files:
            if not _is_text(file):
                raise InputError(
                    f"{path}: prepare.source: received {one!r}, with a name that is no UTF-8, {os.fsencode(file)!r}, "
                    "allowed: names in UTF-8, which TOML and the record can hold; rename it"
                )
        found += files
    if checksums and len(checksums) != len(found):
        raise InputError(
            f"{path}: prepare.sha256: received {len(checksums)} checksums for {len(found)} files of prepare.source, "
            "allowed: one a file, or none; change them"
        )
    return tuple(found)


def _is_text(path: pathlib.Path) -> bool:
    """Tell whether a path is UTF-8; Python holds other bytes as half characters, which cannot be written."""
    return not any("\udc80" <= character <= "\udcff" for character in str(path))


def _below(path: pathlib.Path, value: str, folder: pathlib.Path) -> list[pathlib.Path]:
    """Return the files below a folder that prepare.source names as `value`, but for the pipeline itself.

    Raises:
        InputError: where it, or a folder in it, may not be read.
    """

    def refuse(error: OSError) -> NoReturn:
        raise InputError(
            f"{path}: prepare.source: received {value!r}, of which {error.filename} cannot be read ({error.strerror}), "
            "allowed: folders that you may read; change its rights, or name another"
        ) from None

    try:
        found = [pathlib.Path(here, name) for here, _, names in os.walk(folder, onerror=refuse) for name in names]
        return sorted(file for file in found if file.is_file() and not file.samefile(path))
    except OSError as error:
        refuse(error)


def _find_path(path: pathlib.Path, where: str, value: str) -> pathlib.Path:
    """Return where a path named in a pipeline is: beside the TOML, else under $HVDEDGE_DATA."""
    data = pathlib.Path(os.environ.get("HVDEDGE_DATA") or ROOT / "data")
    for place in (path.parent / value, data / value):
        try:
            if place.exists() or _glob(place):
                return place.resolve() if place.exists() else place.absolute()
        except PermissionError as error:
            raise InputError(
                f"{path}: {where}: received {value!r}, of which {error.filename} cannot be read ({error.strerror}), "
                "allowed: files and folders that you may read; change their rights, or name others"
            ) from None
    raise InputError(
        f"{path}: {where}: received {value!r}, found neither in {path.parent.resolve()} nor in {data.resolve()}"
        "; put it there, or set HVDEDGE_DATA to the folder that holds it"
    )


def _glob(place: pathlib.Path) -> list[pathlib.Path]:
    if place.is_file():
        return [place]
    return sorted(file for file in place.parent.glob(place.name) if file.is_file()) if place.parent.is_dir() else []


def _key(key: str) -> str:
    return key if re.fullmatch(r"[A-Za-z0-9_-]+", key) else _value(key)


def _value(value: Any) -> str:
    if isinstance(value, (list, tuple)):
        return "[" + ", ".join(map(_value, value)) + "]"
    return msgspec.json.encode(value).decode()  # JSON's strings, numbers and booleans are TOML's

"""What the sections of a pipeline must say of each other, held before anything runs."""

import itertools
import json
import os
import pathlib
from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING

from hvdedge import methods
from hvdedge.errors import InputError
from hvdedge.options import ColumnRule, Natural, Path, SomeRanks, is_fraction

if TYPE_CHECKING:
    from hvdedge.config import Section, Tuning

VECTORS = ("vectors",)  # what every reduction makes
SEARCHED_STAGES = ("prepare", "clean", "extract", "train")
JUDGING = ("split", "by", "test_files", "validation", "test", "borders", "label", "targets", "client")
CHANGED_IN_TRAINING = ("learning_rate", "batch_size", "momentum")  # beside all that methods take as fractions
UNLABELLED = ("anomalies", "clusters")  # tasks, and the options of extractors that ask for them


def check_split(path: pathlib.Path, sections: Mapping[str, "Section"]) -> None:
    """Hold that shares leave some rows for training, and that `by` and `borders` belong to the split.

    Raises:
        InputError: where they do not.
    """
    shares = sections["extract"].settings
    if shares["validation"] + shares["test"] >= 1:
        raise InputError(
            f"{path}: extract: received validation = {shares['validation']} and test = {shares['test']}"
            ", allowed: together below 1, as the rest is for training; lower one"
        )
    if (shares["split"] in ("group", "time", "given")) != bool(shares["by"]):
        raise InputError(
            f"{path}: extract.by: received {shares['by']!r} with split = {shares['split']!r}, allowed: a column for "
            "group, time and given, nothing for the others; change one"
        )
    if (shares["split"] == "files") != bool(shares["test_files"]):
        raise InputError(
            f"{path}: extract.test_files: received {list(shares['test_files'])} with split = {shares['split']!r}, "
            "allowed: names of files or patterns with split = 'files', nothing with the others; change one"
        )
    if shares["borders"] and (shares["split"] != "time" or len(shares["borders"]) not in (2, 3)):
        raise InputError(
            f"{path}: extract.borders: received {list(shares['borders'])} with split = {shares['split']!r}, allowed: "
            "with time, when validation and the test begin, and when it ends; leave them out or change the split"
        )


def check_features(path: pathlib.Path, sections: Mapping[str, "Section"], *, is_given: bool) -> None:
    """Hold that a pipeline that trains on the user's own files says what of them is learnt; a reader may make its rows.

    Args:
        is_given: whether it has a section [extract].
    Raises:
        InputError: where it has none.
    """
    model = sections["train"].choices.get("model")
    if is_given or model is None or not sections["prepare"].settings["source"]:
        return
    able = [name for name in methods.names("features") if {*_examples("features", name)} & {*model.method.examples}]
    raise InputError(
        f"{path}: extract: received no section, though [train] needs it to know what is learnt; add [extract] "
        f"with an extractor ({', '.join(able)}) and its columns, such as label"
    )


def check_model(path: pathlib.Path, sections: Mapping[str, "Section"]) -> None:
    """Hold that the model takes what extract makes.

    Raises:
        InputError: where it does not.
    """
    model, extractor = sections["train"].choices.get("model"), sections["extract"].choices["extractor"]
    made, maker = extractor.method.examples, f"extractor = {extractor.name!r}"
    for reduction in sections["extract"].methods:
        if reduction.method.kind == "reduction":
            made, maker = VECTORS, f"extract.{reduction.name}"
    if model is None or {*made} & {*model.method.examples}:
        return
    able = [name for name in methods.names("models") if {*made} & {*_examples("models", name)}]
    raise InputError(
        f"{path}: train.model: received {model.name!r}, which takes {', '.join(model.method.examples)}, for the "
        f"{', '.join(made)} of {maker}, allowed: {', '.join(able)}; change one"
    )


def check_frozen(path: pathlib.Path, sections: Mapping[str, "Section"]) -> None:
    """Hold that what is frozen has weights to begin with.

    Raises:
        InputError: where it has none.
    """
    settings = sections["train"].settings
    if settings["frozen"] and not settings["initial_weights"]:
        raise InputError(
            f"{path}: train.frozen: received {list(settings['frozen'])} without initial_weights, allowed: layers whose "
            "weights are taken from a file; name it in train.initial_weights"
        )


def check_compress(path: pathlib.Path, sections: Mapping[str, "Section"]) -> None:
    """Hold that the model can be compressed, in this order, and without rows that nobody is to see.

    Raises:
        InputError: where it is of a graph, which TensorFlow Lite has no place for, or a step cannot work for the task,
            undoes an earlier one, or looks at rows that stay where they are while the model is trained.
    """
    model = sections["train"].choices.get("model")
    if model is not None and {*model.method.examples} == {"nodes"}:
        raise InputError(
            f"{path}: compress: received a section for {model.name!r}, whose graph is no part of the model, allowed: "
            "none; take it out"
        )
    extractor, steps = sections["extract"].choices["extractor"], sections["compress"].methods
    task = next((name for name in UNLABELLED if extractor.options.get(name)), "")
    for step in steps:
        if task and step.method.tasks and task not in step.method.tasks:
            raise InputError(
                f"{path}: compress.{step.name}: received a step for extract.{task}, allowed: for "
                f"{', '.join(step.method.tasks)}; take it out"
            )
    _check_rows(path, sections)
    for before, step in itertools.combinations(steps, 2):
        if step.method.order and before.method.order >= step.method.order:
            remedy = "before it; change the order" if before.method.order > step.method.order else "one; take one out"
            raise InputError(
                f"{path}: compress.{step.name}: received a step behind compress.{before.name}, whose work it undoes, "
                f"allowed: {remedy}"
            )


def _check_rows(path: pathlib.Path, sections: Mapping[str, "Section"]) -> None:
    """Hold that no step looks at rows that stay where they are."""
    strategy = sections["train"].choices.get("strategy")
    for named in strategy.method.private if strategy else ():
        option, _, wanted = named.partition(" = ")
        value = strategy.options[option] if strategy else None
        if not (value == wanted if wanted else value):
            continue
        for step in sections["compress"].methods:
            if step.method.calibrates or step.options.get("epochs"):
                can_rest = not step.method.calibrates and step.method.options["epochs"].type == Natural
                raise InputError(
                    f"{path}: compress.{step.name}: received a step that looks at the rows themselves with "
                    f"train.{option} = {json.dumps(value)}, which keeps them private, allowed: "
                    f"{'epochs = 0, or none; set it' if can_rest else 'none; take it out'}"
                )


def check_privacy(path: pathlib.Path, sections: Mapping[str, "Section"]) -> None:
    """Hold that no column is named in two treatments, nor dropped and counted in groups, and that k has its columns.

    Raises:
        InputError: where one is, or it has none.
    """
    for chosen in (one for one in sections["clean"].methods if one.name == "privacy"):
        options, taken = chosen.options, dict[str, str]()
        for option in ("drop", "hash", "generalise", "mask"):
            for name in dict.fromkeys(options[option]):
                if name in taken:
                    raise InputError(
                        f"{path}: clean.privacy.{option}: received {name!r}, which is in {taken[name]!r}, too, "
                        "allowed: one; choose"
                    )
                taken[name] = option
        for name in options["quasi"]:
            if taken.get(name) == "drop":
                raise InputError(
                    f"{path}: clean.privacy.quasi: received {name!r}, which is dropped, allowed: columns that are kept"
                    "; leave it out"
                )
        if bool(options["k"]) != bool(options["quasi"]):
            raise InputError(
                f"{path}: clean.privacy.k: received {options['k']} with quasi = {list(options['quasi'])}, allowed: k "
                "of at least 1 with columns, or neither; name the columns that could tell a person together"
            )
        if options["suppress"] and not options["k"]:
            raise InputError(f"{path}: clean.privacy.suppress: received true without k, allowed: with; set k and quasi")


def check_key(path: pathlib.Path, sections: Mapping[str, "Section"]) -> None:
    """Hold that what [clean.privacy] hashes has a key here: for ranks that all run on this machine.

    Raises:
        InputError: where it has none.
    """
    for chosen in (one for one in sections["clean"].methods if one.name == "privacy"):
        key, variable = chosen.options["key"], chosen.options["key_variable"]
        if chosen.options["hash"] and not key and not os.environ.get(variable):
            raise InputError(
                f"{path}: clean.privacy.hash: received no key, neither in a file (key = {key!r}) nor in the "
                f"environment variable {variable}, allowed: at least 16 bytes; make one with: openssl rand -hex 32"
            )


def check_rules(path: pathlib.Path, sections: Mapping[str, "Section"]) -> None:
    """Hold that rules between columns have an arrow, with columns on both sides.

    Raises:
        InputError: where one has none.
    """
    for stage, section in sections.items():
        for chosen in section.methods:
            rules = [name for name, option in chosen.method.options.items() if option.type == tuple[ColumnRule, ...]]
            for name, rule in ((one, its) for one in rules for its in chosen.options[one]):
                columns = [part.strip() for part in rule.replace("->", ",").split(",")]
                if rule.count("->") != 1 or not all(columns):
                    raise InputError(
                        f"{path}: {stage}.{chosen.name}.{name}: received {rule!r}, allowed: columns -> columns, such "
                        "as ZipCode -> City; write it so"
                    )


def check_clients(path: pathlib.Path, sections: Mapping[str, "Section"]) -> None:
    """Hold that who has which rows is known where training goes by it, and asked of rows alone.

    Raises:
        InputError: where it is not.
    """
    extractor, column = sections["extract"].choices["extractor"], sections["extract"].settings["client"]
    if column and extractor.method.options.keys() & {"window", "edges"}:
        raise InputError(
            f"{path}: extract.client: received {column!r} for extractor = {extractor.name!r}, whose examples are no "
            "rows, allowed: nothing; take it out"
        )
    asked = [
        choice.name for choice in sections["train"].choices.values() if choice.options.get("partition") == "client"
    ]
    if asked and not column:
        raise InputError(
            f'{path}: train.partition: received "client" without extract.client, allowed: with it; name the column '
            "that says who has a row"
        )


def check_tables(path: pathlib.Path, sections: Mapping[str, "Section"], sources: Iterable[pathlib.Path]) -> None:
    """Hold that no further table, or folder of tables, is what prepare reads: its columns would be there twice.

    Raises:
        InputError: where one is.
    """
    own = {str(place): source.name for source in sources for place in (source.resolve(), source.resolve().parent)}
    for stage, section in sections.items():
        for chosen in section.methods:
            names = [name for name, option in chosen.method.options.items() if option.type == tuple[Path, ...]]
            for name, place in ((one, its) for one in names for its in chosen.options[one] if its in own):
                raise InputError(
                    f"{path}: {stage}.{chosen.name}.{name}: received {place!r}, which is or holds {own[place]!r} that "
                    "prepare reads, allowed: other tables; name these alone"
                )


def _examples(kind: str, name: str) -> tuple[str, ...]:
    return methods.find(kind, name, "").examples


def check_searched(path: pathlib.Path, sections: Mapping[str, "Section"], tune: "Tuning") -> None:
    """Hold that what a search may choose changes what it goes by, and not the rows that judge.

    Raises:
        InputError: where something does not.
    """
    where = f"{path}: tune.space"
    changes_training = tune.search.method.constants.get("WHILE_TRAINING")
    methods_of = sections["train"].choices.values()
    fractions = [name for one in methods_of for name, option in one.method.options.items() if is_fraction(option.type)]
    changed = [f"train.{name}" for name in (*CHANGED_IN_TRAINING, *fractions)]
    for key in tune.space:
        stage, _, option = key.partition(".")
        if stage not in SEARCHED_STAGES or not option:
            raise InputError(
                f"{where}: received {key!r}, allowed: options of {', '.join(SEARCHED_STAGES)}, as a trial ends with "
                'its training, such as "train.learning_rate"; name others'
            )
        if stage == "extract" and option in JUDGING:
            raise InputError(
                f"{where}: received {key!r}, which decides by what trials are judged, allowed: options that do not; "
                "take it out"
            )
        if changes_training and key not in changed:
            raise InputError(
                f"{where}: received {key!r} with search = {tune.search.name!r}, which changes options while models "
                f"train, allowed: {', '.join(changed)}; take it out, or search otherwise"
            )
    if changes_training and sections["train"].settings["patience"]:
        raise InputError(
            f"{path}: train.patience: received {sections['train'].settings['patience']} with search = "
            f"{tune.search.name!r}, whose trials all train to their end, allowed: 0; change it, or search otherwise"
        )
    extract = sections["extract"].settings
    if extract["split"] in ("stratified", "random", "group") and not extract["validation"]:
        raise InputError(
            f"{path}: extract.validation: received 0 with [tune], allowed: above 0, as these rows judge the trials; "
            "raise it"
        )


def check_ranks(
    path: pathlib.Path, sections: Mapping[str, "Section"], ranks: int, tune: "Tuning | None" = None
) -> None:
    """Hold that there are ranks for a trial, and that no method takes so many that none is left for the rest.

    Raises:
        InputError: where there are not, or one does.
    """
    if tune and "train" in sections:
        if tune.settings["ranks"] > ranks:
            raise InputError(
                f"{path}: tune.ranks: received {tune.settings['ranks']} on {ranks} ranks, allowed: up to {ranks}; "
                "set it lower or give more --ranks"
            )
        ranks = tune.settings["ranks"]
    for stage, section in sections.items():
        for chosen in (*section.choices.values(), *section.methods):
            for name, option in chosen.method.options.items():
                if option.type == SomeRanks and chosen.options[name] >= ranks:
                    raise InputError(
                        f"{path}: {stage}.{name}: received {chosen.options[name]} on {ranks} ranks, allowed: fewer "
                        "than there are ranks, as the others do the work; set it lower or give more --ranks"
                    )

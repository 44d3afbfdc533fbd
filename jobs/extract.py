"""Turn rows into tensors, split for training, validation and test: cleaned/ -> features.h5, features.json."""

import dataclasses
import math
import pathlib
import shutil
import time

import numpy as np
import pyarrow as pa

from hvdedge import splits, storage, tensors
from hvdedge.class_labels import check_label
from hvdedge.clients import find_clients
from hvdedge.columns import of_classes
from hvdedge.errors import InputError
from hvdedge.label_values import find_task
from hvdedge.parallel import agree, allgather_json, bcast_json
from hvdedge.stage import Stage, start
from hvdedge.storage import Storage
from hvdedge.tables import SPLIT, Table, part_path
from hvdedge.tensors import Features
from hvdedge.uncleaned import same_split


def main(stage: Stage) -> None:
    """Turn rows into tensors, split for training, validation and test."""
    settings = stage.settings
    _check(stage)
    cleaned = stage.read_table("cleaned")
    codes = _split(stage, cleaned)
    cleaned = cleaned.append(SPLIT, codes)
    stage.metrics.update(_extract(stage, cleaned, ""))
    _tell_empty(stage)
    if settings["uncleaned"]:
        stage.tell("the rows as they were before clean")
        prepared = stage.read_table("prepared")
        dirty = prepared.append(SPLIT, same_split(prepared, cleaned, stage.read_table("changes/clean"), stage.comm))
        tests = cleaned.filter(codes == splits.SPLITS.index("test"))
        with agree(stage.comm):
            if tests.schema != dirty.schema:
                raise InputError(
                    "extract.uncleaned: received true, though clean changed the columns, allowed: false; turn it off"
                )
        stage.metrics["uncleaned"] = _extract(stage, Table.chain([dirty, tests]), "uncleaned/")
        task, other = stage.metrics["task"], stage.metrics["uncleaned"]["task"]
        if task != other:
            raise InputError(
                f"extract.task: received a label for {task}, which before clean is one for {other}, allowed with "
                "uncleaned: the same; set task"
            )


def _check(stage: Stage) -> None:
    """Hold that a graph, whose nodes are all in one piece, is not asked for what parts them.

    Raises:
        InputError: on every rank.
    """
    if "edges" not in stage.section.choices["extractor"].options:
        return
    if stage.section.methods:
        raise InputError(
            f"extract.{stage.section.methods[0].name}: received a section for a graph's nodes, allowed: none; take "
            "it out"
        )
    if stage.settings["uncleaned"]:
        raise InputError(
            "extract.uncleaned: received true for a graph, whose nodes cannot be there twice, allowed: false; turn it "
            "off"
        )


def _split(stage: Stage, table: Table) -> np.ndarray:
    """Collective. Return the split of each of this rank's rows, as the stage's settings ask for it."""
    settings, seed = stage.settings, stage.pipeline.seed
    labels = _labels(stage, table)
    shares = {"validation": settings["validation"], "test": settings["test"]}
    how, remedy = f"{settings['split']!r}", "change extract.validation and extract.test"
    if settings["by"]:
        how += f" by {settings['by']!r}"
        by = _column(stage, table, "by", settings["by"])
        if settings["split"] == "group":
            codes = splits.grouped(labels, by, stage.comm, **shares, seed=seed)
        elif settings["split"] == "given":
            remedy = "name some in the column"
            codes = splits.as_given(labels, by, stage.comm)
        else:
            if settings["borders"]:
                how, remedy = f"{how} and borders = {list(settings['borders'])}", "change extract.borders"
            codes = splits.by_time(labels, by, stage.comm, **shares, borders=settings["borders"])
    elif settings["test_files"]:
        how, remedy = f"{how} with test_files = {list(settings['test_files'])}", "change extract.test_files"
        files = table.select(["_file"]).to_arrow()["_file"]
        validation = settings["validation"]
        codes = splits.by_files(
            labels, files, stage.comm, test_files=settings["test_files"], validation=validation, seed=seed
        )
    else:
        deal = splits.stratified if settings["split"] == "stratified" else splits.random
        codes = deal(labels, stage.comm, **shares, seed=seed)
    missing = splits.classes_left_out(codes, labels, how, remedy, stage.comm)
    stage.metrics["classes_left_out"] = missing
    for name, classes in missing.items():
        action = f"no row for {name} of the {of_classes(classes)}; give more rows of them, or {remedy}"
        stage.note(what="classes_left_out", action=action)
    return codes


def _tell_empty(stage: Stage) -> None:
    """Make it an event that nothing is for validation though the settings ask for some."""
    settings, rows = stage.settings, stage.metrics["rows"]
    if rows["validation"] or settings["split"] == "given" or not (settings["borders"] or settings["validation"]):
        return
    asked = f"borders = {[*settings['borders']]}" if settings["borders"] else f"validation = {settings['validation']}"
    remedy = "change them" if settings["borders"] else "raise it, give more rows, or set it to 0"
    action = f"{asked} leaves none of {sum(rows.values())} examples for validation; {remedy}"
    stage.note(what="validation_empty", action=action)


def _labels(stage: Stage, table: Table) -> pa.Array | pa.ChunkedArray:
    """Collective. Return what is dealt out: this rank's labels, or one class for all where there are no classes."""
    options = stage.section.choices["extractor"].options
    if "window" in options:  # the examples are no rows, which need no label then
        return pa.array(np.zeros(table.num_rows, np.uint8))
    labels = _column(stage, table, "label", options["label"])
    task, why = find_task(table, options["label"], options.get("task", "classification"), stage.comm)
    if task == "classification":
        check_label(table, options["label"], stage.comm)
        return labels
    stage.note(what="regression", action=f"took the label {options['label']!r} for a number to be told: {why}")
    return splits.alike(labels)


def _column(stage: Stage, table: Table, option: str, name: str) -> pa.ChunkedArray:
    """Collective. Return this rank's values of a column that an option of extract names."""
    with agree(stage.comm):
        if name not in table.columns:
            raise InputError(
                f"extract.{option}: received {name!r}, allowed: {', '.join(table.columns)}; name one of these"
            )
    return table.select([name]).to_arrow()[name]


def _extract(stage: Stage, table: Table, variant: str) -> dict:
    """Collective. Write the features into the run's folder `variant`; return the metrics."""
    features = stage.method("extractor")(table, stage.comm)
    features = _with_clients(stage, features, table)
    kinds = {chosen.name: chosen.method.kind for chosen in stage.section.methods}
    found: dict[str, dict] = {"reduction": {}, "selection": {}}
    for name, method in stage.methods():
        began = time.perf_counter()
        features = method(features, stage.comm)
        found[kinds[name]][name] = features.facts | {"seconds": time.perf_counter() - began}
        if "adapted" in features.facts:
            stage.note(what="adapted", method=name, action=features.facts["adapted"])
    part = str(part_path(pathlib.Path(f"{variant}features"), stage.comm.rank, ".h5"))
    kept = _write_part(stage, features, part)
    parts = allgather_json(f"features/{pathlib.Path(part).name}", stage.comm)
    rows: dict[str, int] = {}
    with agree(stage.comm):
        if stage.is_root:
            with stage.output(f"{variant}features.h5") as path:
                rows = tensors.join(stage.folder / variant, parts, path, kept)
            stage.write_json(f"{variant}features.json", features.spec)
    rows = bcast_json(rows, stage.comm)
    shape = features.spec["input_shape"]
    return {
        "rows": rows,
        "rows_left_out": features.rows_left_out,
        "task": features.spec["task"],
        "shape": shape,
        "storage": kept.told(sum(rows.values()) * math.prod(shape)),
        "left_out": features.left_out,
        "decisions": features.decisions,
        "reductions": found["reduction"],
        "selections": found["selection"],
    }


def _with_clients(stage: Stage, features: Features, table: Table) -> Features:
    """Collective. Return the features with the client of each training row, where the settings ask for it."""
    column, options = stage.settings["client"], stage.section.choices["extractor"].options
    if not column:
        return features
    _column(stage, table, "client", column)
    clients, names = find_clients(table, column, options["label"], stage.comm)
    return dataclasses.replace(features, clients=clients, spec={**features.spec, "clients": names})


def _write_part(stage: Stage, features: Features, part: str) -> Storage:
    """Collective. Write this rank's part; return how x is kept.

    HDF5 writes to scratch only: where the disk of the results is full it was seen to crash instead of raising.
    """
    draft, packed = stage.workspace.scratch / "draft.h5", stage.workspace.scratch / "packed.h5"
    with agree(stage.comm):
        tensors.write_part(features, draft)
    kept = storage.choose(
        lambda: (x for _, x in tensors.blocks(draft)),
        features.x_type,
        stage.settings["storage"],
        stage.comm,
        [level["place"] for level in features.spec.get("embedded", ())],
    )
    with agree(stage.comm):
        tensors.pack(draft, packed, kept)
        draft.unlink()
    with agree(stage.comm), stage.output(part) as path:
        shutil.copyfile(packed, path)
        packed.unlink()
    return kept


if __name__ == "__main__":
    start("extract", main)

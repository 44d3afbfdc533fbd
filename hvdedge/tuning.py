"""The search for the options of a pipeline that make the best model: trials, each trained by a group of the ranks.

    ranks 0 1   trial 0 . trial 2 ......... trial 5 (ended early) . trial 6 ....
    ranks 2 3   trial 1 ......... trial 3 . trial 4 ............... trial 7 ....    the best one's files are the run's

A trial is a run in `trials/<number>/`: of the stages from the first one whose options are searched for up to train;
what earlier stages made is linked there. Its value is its measure on the rows for validation. What was tried, and how
far it came, is in `trials/ledger.json`, see `hvdedge.search_office`.
"""

import functools
import gc
import hashlib
import json
import math
import sys
import time
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
from mpi4py import MPI

from hvdedge import consistency, qualities, records, recovery, runs, tasks, training
from hvdedge.config import IN_RUN, settled
from hvdedge.errors import FULL, InputError, RankError, one_line
from hvdedge.judging import judge
from hvdedge.launch import is_done
from hvdedge.methods import unknown
from hvdedge.parallel import MeteredComm, agree, bcast_json
from hvdedge.records import STAGES
from hvdedge.recovery import Survivors
from hvdedge.search_office import NO_OFFICE, Office, ask
from hvdedge.stage import Stage
from hvdedge.tensors import FeatureReader, open_features
from hvdedge.trial_folders import Folders
from hvdedge.trial_stages import TrialStage

Works = Mapping[str, Callable[[Stage], None]]
"""Stage -> what its program does."""
POLL_SECONDS = 0.02
MEETING_SECONDS = 60.0  # that ranks have to end a trial in which one of them failed


def tune(stage: Stage, works: Works, then: Callable[[Stage], None] | None = None) -> None:
    """Collective. Search, then let the run be that of the best trial.

    Args:
        then: is done afterwards, by as many ranks as a trial has.
    Raises:
        RuntimeError: where no trial came to its end.
    """
    search = _Search(stage, works)
    search.go()
    search.settle()
    if then:
        search.go_on(then)


class _Search:
    """The search as one rank sees it."""

    def __init__(self, stage: Stage, works: Works):
        """Collective."""
        tune = stage.pipeline.tune
        assert tune
        self._stage, self._works, self._tune = stage, works, tune
        self._metric = tune.settings["metric"]
        self._rises = qualities.rises(self._metric)
        self._folders = Folders(stage.folder)
        between = STAGES[STAGES.index(tune.first_stage()) : STAGES.index("train") + 1]
        is_profiled = f"{IN_RUN}data_profile" in json.dumps(stage.pipeline.sections["extract"].as_written())
        self._stages = [name for name in between if name != "profile" or is_profiled]
        self._late = [name for name in between if name not in self._stages]
        self._linked = STAGES[: STAGES.index(self._stages[0])]
        size = tune.settings["ranks"]
        with agree(stage.comm):
            consistency.check_ranks(stage.pipeline.path, {"train": stage.section}, stage.comm.size, tune)
            self._check(open_features(stage.folder / "features.h5"))
        self._groups = [list(range(first, first + size)) for first in range(0, stage.comm.size - size + 1, size)]
        left = stage.comm.size - size * len(self._groups)
        if left:
            stage.note(what="idle_ranks", ranks=left, action=f"no trial, as {size} ranks work on each")
        self._control = MPI.Intracomm(stage.comm).Dup()
        self._control.Set_errhandler(MPI.ERRORS_RETURN)
        self._group = stage.comm.Split(min(stage.comm.rank // size, len(self._groups)))
        self._works_on_trials = stage.comm.rank < size * len(self._groups)
        self._office: Office | None = None
        self._fatal: Exception | None = None  # what ends the search, and is of no trial
        key = self._key()
        with agree(stage.comm):
            if stage.is_root:
                self._office = self._open(key)

    def _check(self, reader: FeatureReader) -> None:
        """Raise InputError where the run's own features show that no trial could be judged."""
        task = tasks.find(reader.spec)
        able = ("loss", task.score, *task.judged, *qualities.COSTS)
        if self._metric not in able:
            raise InputError(unknown("tune.metric", self._metric, {*able}))
        if not reader.rows("validation"):
            raise InputError(
                "extract.validation: received no rows for validation with [tune], allowed: some, as they judge the "
                "trials; raise it, or name some in the column of extract.by"
            )

    def _key(self) -> str:
        """Collective. Return what all trials have in common: how and what is searched for, other options, inputs."""
        pipeline, tune = self._stage.pipeline, self._tune
        options = {name: pipeline.options(name) for name in self._stages}
        for key in tune.space:
            _take_out(options, key.split("."))
        options["train"].pop("tune")
        inputs: dict[str, str] = {}
        with agree(self._stage.comm):
            for record in records.read_run(self._stage.folder).values() if self._stage.is_root else ():
                if record.stage in self._linked:
                    inputs |= {name: output.sha256 for name, output in record.outputs.items()}
        text = json.dumps([tune.searched(), options, inputs], sort_keys=True, default=list)
        return bcast_json(hashlib.sha256(text.encode()).hexdigest(), self._stage.comm)

    def _open(self, key: str) -> Office:
        tune, pipeline = self._tune, self._stage.pipeline
        written = {name: pipeline.value(name) for name in tune.space}
        beyond = {name: value for name, value in written.items() if value not in tune.space[name]}
        if beyond:
            told = ", ".join(f"{name} = {value}" for name, value in beyond.items())
            self._stage.tell(f"the pipeline's own {told} is not among what is searched, and not tried")
        ledger, told = self._folders.open(key)
        if told:
            self._stage.tell(told)
        wanted = tune.settings["trials"]
        epochs = pipeline.sections["train"].settings["epochs"]
        search = tune.search.method.load()(
            *(tune.space, None if beyond else written, self._rises, pipeline.seed, wanted, epochs),
            **tune.search.options,
        )
        search.recall(ledger.trials)
        if ledger.trials:
            done = sum(trial.has_ended for trial in ledger.trials)
            self._stage.tell(f"goes on with {done} trials done and {len(ledger.trials) - done} begun")
        return Office(
            *(self._control, search, ledger, self._folders, self._groups),
            **{"wanted": wanted, "epochs": epochs, "metric": self._metric, "tell": self._stage.tell},
        )

    def go(self) -> None:
        """Collective. Work on trials until none is left."""
        if self._office:
            self._office.open()
        try:
            while self._works_on_trials and self._work():
                pass
            if self._office:
                self._office.close()
            self._meet()
        except MPI.Exception as error:
            if 0 in self._stage.comm.Get_failed().Translate_ranks(None, self._stage.comm.Get_group()):
                raise RuntimeError(NO_OFFICE) from error
            raise

    def _meet(self) -> None:
        """Collective. Wait for all ranks that are left, and let the stage go on with these."""

        with Survivors(self._stage.comm) as survivors:
            survivors.work(lambda: survivors.comm.rest(), lambda: None)
        if survivors.noticed is not None:
            self._stage.go_on(survivors.comm, time.perf_counter() - survivors.noticed)

    def _work(self) -> bool:
        """Collective over the group. Take up one trial, or wait; tell whether there may be more."""
        try:
            turn = self._ask(self._group, "work", ranks=self._ranks())
        except MPI.Exception as error:
            if MPI.Get_error_class(error.Get_error_code()) not in recovery.LOST:
                raise
            self._group.Revoke()
            self._group = self._group.Shrink()
            return True
        if "number" in turn:
            self._try(**turn)
        elif "wait" in turn:
            time.sleep(turn["wait"])
            self._stage.comm.traffic.idle_seconds += turn["wait"]
        return "done" not in turn

    def _ranks(self) -> list[int]:
        mine = self._group.Get_group()
        return [int(rank) for rank in mine.Translate_ranks(None, self._stage.comm.Get_group())]

    def _ask(self, comm: MeteredComm, question: str, **values: Any) -> dict[str, Any]:
        """Collective over the group. Return what the office answers.

        Raises:
            RuntimeError, InputError: what ends the search, on all ranks of the group.
        """
        answer = bcast_json(ask(self._control, question, **values) if comm.rank == 0 else None, comm)
        if "error" in answer:
            self._fatal = (InputError if answer["is_input"] else RuntimeError)(answer["error"])
            raise self._fatal
        return answer

    def _try(self, number: int, options: dict[str, Any], until: int, ends: bool) -> None:
        """Collective over the group. Take a trial as far as it is to go, and tell how it went."""
        began = time.perf_counter()
        trial = _Turn(self._metric, self._rises, began)
        comm = MeteredComm(MPI.Intracomm(self._group).Dup(), self._stage.comm.traffic)
        failure: Exception | None = None
        try:
            self._train(trial, number, options | ({} if ends else {"train.epochs": until}), comm)
        except Exception as error:  # of the trial: others may do better
            failure = error
        self._group = trial.comm or self._group
        if self._fatal:
            raise self._fatal
        cause = self._agree_on(failure)
        if cause and FULL in cause:
            raise InputError(cause)  # others would find no room either
        if trial.comm is None:
            comm.Free()
        self._ask(
            self._group,
            "end",
            **{"number": number, "ends": ends or trial.epochs < until, "cause": cause},
            **{
                "seconds": time.perf_counter() - began,
                "epochs": trial.epochs,
                "value": trial.value,
                "rows": trial.rows,
            },
        )
        _tidy(bool(cause))

    def _train(self, trial: "_Turn", number: int, options: dict[str, Any], comm: MeteredComm) -> None:
        """Collective. Run the stages of a trial, but for those that it has done, and find its value."""
        pipeline = self._stage.pipeline.changed(options)
        folder = self._folders[number]
        done: list[str] = []
        with agree(comm):
            if comm.rank == 0:
                self._folders.prepare(number, self._linked)
                done = [name for name in self._stages if is_done(name, pipeline, folder)]
        done = bcast_json(done, comm)
        for name in self._stages:
            if name in done:
                continue
            stage = TrialStage(name, number, pipeline, folder, comm, self._stage)
            if name == "train":
                stage.goes_on = functools.partial(self._goes_on, trial, number)  # type: ignore[method-assign]
                if self._tune.search.method.constants.get("WHILE_TRAINING"):
                    stage.changing = tuple(key.removeprefix("train.") for key in self._tune.space)
            try:
                self._run(stage)
            finally:
                comm = stage.comm
                trial.comm = comm if stage.lost else trial.comm
        if "train" in done:  # but the run was broken off before that was told
            with agree(comm):
                record = records.read(folder / "train.json")
            trial.take(record.metrics, record.history)
        else:
            trial.take(stage.metrics, stage.history)
        if trial.value is None and not qualities.is_cost(self._metric):
            trial.value = runs.number(judge(folder, "validation", comm).get(self._metric))
        with agree(comm):
            trial.rows = open_features(folder / "features.h5").rows("validation")
            if trial.value is None:
                raise RuntimeError(f"its {self._metric} on the validation rows is no number")

    def _run(self, stage: TrialStage) -> None:
        """Collective over the stage's ranks. Do its work."""
        try:
            stage.begin()
            self._works[stage.name](stage)
            stage.end()
        except Exception as error:
            stage.fail(error)
            raise
        finally:
            stage.close()

    def _goes_on(self, trial: "_Turn", number: int, comm: MeteredComm, epoch: int, curves: dict[str, list]) -> bool:
        """Collective. Tell the office how an epoch ended; return whether it lets the trial go on."""
        seconds = time.perf_counter() - trial.began
        told = {"number": number, "epoch": epoch, "value": trial.early(curves), "seconds": seconds}
        return self._ask(comm, "epoch", **told)["goes_on"]

    def _agree_on(self, failure: Exception | None) -> str | None:
        """Collective over the group. Return why a trial failed on any of its ranks, the same on all of them.

        Raises:
            RuntimeError: where others do not come, as they wait in the trial for this rank, which failed alone.
        """
        told = failure.cause if isinstance(failure, RankError) else one_line(failure) if failure else None
        if self._group.size == 1:
            return told
        places = np.array(self._group.size if told is None else self._group.rank)
        request = self._group.Iallreduce(MPI.IN_PLACE, places, op=MPI.MIN)
        limit = math.inf if told is None else time.monotonic() + MEETING_SECONDS
        while not request.Test():
            if time.monotonic() > limit:
                raise RuntimeError(f"a trial failed on this rank alone: {told}")
            time.sleep(POLL_SECONDS)
        first = int(places)
        return None if first == self._group.size else bcast_json(told, self._group, first)

    def settle(self) -> None:
        """Collective. Let what the best trial made be what the run made, and tell of all trials in the record."""
        stage = self._stage
        told: dict[str, Any] | None = None
        with agree(stage.comm):
            told = self._settle(self._office) if self._office else None
        told = bcast_json(told, stage.comm)
        assert told
        stage.pipeline = settled(stage.pipeline, told["options"])
        for name in self._late:
            self._run(TrialStage(name, told["number"], stage.pipeline, stage.folder, stage.comm, stage))
        stage.metrics.update(told["metrics"])
        stage.history = told["history"]
        stage.inputs |= told["inputs"]
        with agree(stage.comm):
            for name in told["outputs"] if stage.is_root else ():
                stage.keep(name)
            if stage.is_root:
                options = ", ".join(f"{name} = {value}" for name, value in told["options"].items())
                stage.tell(f"kept trial {told['number']}: {options}")

    def go_on(self, work: Callable[[Stage], None]) -> None:
        """Collective. Let the root's group do a work, as part of the stage, while the others wait."""
        stage = self._stage
        everyone, is_working = stage.comm, bcast_json(self._ranks(), stage.comm)
        if stage.number in is_working:
            stage.comm = MeteredComm(self._group, everyone.traffic)
            work(stage)
            stage.comm = everyone
        self._meet()

    def _settle(self, office: Office) -> dict[str, Any]:
        ledger = office.ledger
        best = ledger.best(self._rises)
        if best is None:
            causes = [trial.cause for trial in ledger.trials if trial.cause]
            first = f"; the first that failed: {causes[0]}" if causes else ""
            raise RuntimeError(f"none of {len(ledger.trials)} trials came to its end{first}")
        record = self._folders.promote(best.number, self._stages)["train"]
        for trial in ledger.trials:
            if trial is not best:
                self._folders.forget(trial.number)
        found = {
            **{"search": self._tune.search.name, "metric": self._metric, "best": best.number},
            **{"direction": "maximize" if self._rises else "minimize", "seconds": ledger.seconds},
            **{"groups": len(self._groups), "ranks": self._tune.settings["ranks"], "trials": len(ledger.trials)},
        }
        return {
            "number": best.number,
            "options": best.options,
            "metrics": record.metrics | {"trials": ledger.told(), "search": found},
            "history": record.history,
            "inputs": record.inputs,
            "outputs": sorted(record.outputs),
        }


class _Turn:
    """What a rank knows of the trial that it works on.

    Attributes:
        value: of the measure, once it is known.
        comm: the ranks that are left, where some of the group were lost.
        rows: for validation.
    """

    def __init__(self, metric: str, rises: bool, began: float):
        self._metric, self._rises, self.began = metric, rises, began
        self.value: float | None = None
        self.comm: MeteredComm | None = None
        self.epochs = 0
        self.rows: int | None = None

    def early(self, curves: dict[str, list]) -> float | None:
        """Return what early ending compares after the newest epoch; None where there is nothing to compare."""
        if qualities.is_cost(self._metric):
            return None
        name = f"{qualities.VALIDATION}{self._metric}"
        if name in curves:
            return runs.number(curves[name][-1])
        loss = runs.number(curves[f"{qualities.VALIDATION}loss"][-1])
        return None if loss is None else -loss if self._rises else loss

    def take(self, metrics: dict[str, Any], history: dict[str, list]) -> None:
        """Take in what the record of train says."""
        name = self._metric if qualities.is_cost(self._metric) else f"{qualities.VALIDATION}{self._metric}"
        self.value = runs.number(metrics.get(name))
        self.epochs = len(history["loss"])


def _tidy(failed: bool) -> None:
    """Let go of what a trial leaves in this process; of what libraries were in the midst of, where it failed."""
    if failed:
        recovery.abandon()
        horovod = sys.modules.get("horovod.tensorflow")
        if horovod is not None and horovod.is_initialized():
            horovod.shutdown()
    training.forget_gradients()
    gc.collect()


def _take_out(tree: dict[str, Any], words: list[str]) -> None:
    """Take what stands under a key of several words out of nested mappings, if it is there."""
    for word in words[:-1]:
        tree = tree.get(word, {})
    tree.pop(words[-1], None)

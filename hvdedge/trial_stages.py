"""A stage of one trial: as a stage of a run, for a group of the ranks, in the trial's own folder."""

import pathlib
import tempfile
from typing import Any

from hvdedge.config import Pipeline
from hvdedge.errors import is_users, one_line
from hvdedge.meter import Meter, Traffic
from hvdedge.parallel import MeteredComm
from hvdedge.stage import Stage


class TrialStage(Stage):
    """A stage of a trial, which tells how far it is through the stage that the search is part of."""

    goes_on_from = ("checkpoints",)

    def __init__(
        self, name: str, number: int, pipeline: Pipeline, folder: pathlib.Path, comm: MeteredComm, search: Stage
    ):
        """Collective over `comm`."""
        self._before = tempfile.tempdir
        self._search, self._number = search, number
        traffic = Traffic()
        meter = Meter(traffic, from_now=True)
        super().__init__(name, pipeline, search.cluster, folder, MeteredComm(comm, traffic), meter)
        self.local_ranks = search.local_ranks
        self._rank = search.number

    def tell(self, text: str = "", **values: Any) -> None:
        """Show how far the trial is; any rank may call it."""
        if self.is_root:
            told = {} if text else {"trial": self._number}
            self._search.tell(text and f"trial {self._number}: {text}", **told, **values)

    def end(self) -> None:
        """Collective. Say that the stage is done, and add to the search what it moved."""
        super().end()
        self._charge()

    def fail(self, error: BaseException) -> None:
        """Keep why the trial failed; it is not said, as the search goes on."""
        cause = getattr(error, "cause", one_line(error))
        if self.is_root:
            self.write_failure(error, {"rank": self._rank, "cause": cause, "is_input": is_users(error)})
        self._charge()

    def close(self) -> None:
        """Give back what the stage had of this process."""
        super().close()
        tempfile.tempdir = self._before

    def _charge(self) -> None:
        """Add to the costs of the search those of the trial, which were counted apart."""
        ours, its = self._search.comm.traffic, self.comm.traffic
        for name in ("bytes_sent", "bytes_received", "idle_seconds"):
            setattr(ours, name, getattr(ours, name) + getattr(its, name))

"""How far a run is: the events that ranks send to the launcher, and their display on a terminal or in a pipe."""

import sys
import time
from collections.abc import Mapping
from typing import Any, Self

EVENT = "@hvdedge "  # begins a line in which a rank tells the launcher something, as JSON
PLAIN_SECONDS = 5.0  # between two lines of numbers in a pipe
NOT_TOLD = {"event", "rank", "is_root", "rss_bytes"}  # of an event


def size(count: float | None) -> str:
    """Return a number of bytes with three digits and a unit."""
    if count is None:
        return "–"
    units = ["B", "kB", "MB", "GB", "TB"]
    while count >= 999.5 and len(units) > 1:
        count /= 1000
        units.pop(0)
    return f"{count:.3g} {units[0]}"


def describe(text: str = "", **numbers: Any) -> list[str]:
    """Return the words for how far a stage is, such as `epoch 3/12`, `loss 0.25`."""
    words = [text] if text else []
    if "trial" in numbers:
        words.append(f"trial {numbers.pop('trial')}")
    if "epoch" in numbers:
        words.append(f"epoch {numbers.pop('epoch')}/{numbers.pop('epochs')}")
    return words + [
        f"{name.replace('_per_second', '/s').replace('_', ' ')} {_number(value)}" for name, value in numbers.items()
    ]


def describe_totals(totals: Mapping[str, int]) -> list[str]:
    """Return the words for what a stage made of a table, such as `612 rows`, `12 cells emptied`; rows, and no zeros."""
    words = {key: key.split("_", 1) for key, count in totals.items() if count or key == "rows"}
    return [
        " ".join(
            [f"{totals[key]:,}", thing[:-1] if totals[key] == 1 else thing, *(done.replace("_", " ") for done in rest)]
        )
        for key, (thing, *rest) in words.items()
    ]


def _number(value: Any) -> str:
    if not isinstance(value, float):
        return str(value)
    return f"{value:,.0f}" if abs(value) >= 1000 else f"{value:.4g}"


class Display:
    """What the user sees while a run goes on: one live line on a terminal, plain lines in a pipe."""

    def __init__(self, stages: int):
        self._stages = stages
        self._number = 0
        self._stage = ""
        self._rss: dict[int, int] = {}
        self._began = self._told = 0.0
        self._live: Any = None
        if sys.stdout.isatty():
            from rich.console import Console

            self._live = Console(highlight=False).status("")

    def __enter__(self) -> Self:
        if self._live:
            self._live.start()
        return self

    def __exit__(self, *error: object) -> None:
        if self._live:
            self._live.stop()

    def begin(self, stage: str, ranks: int) -> None:
        """Say that a stage begins."""
        self._number += 1
        self._stage = f"[{self._number}/{self._stages}] {stage}"
        self._rss, self._began = {}, time.monotonic()
        self._say(f"{self._stage} on {ranks} rank{'s' * (ranks > 1)}", always=not self._live)

    def show(self, event: dict[str, Any]) -> None:
        """Show a rank's progress event; memory is that of the fullest rank."""
        self._rss[event["rank"]] = event["rss_bytes"]
        words = describe(**{key: value for key, value in event.items() if key not in NOT_TOLD})
        if not event["is_root"] or not words:
            return
        words.append(f"memory {size(max(self._rss.values()))}")
        self._say(f"{self._stage}: " + ", ".join(words), always=bool(event.get("text")) and not self._live)

    def end(self, result: str) -> None:
        """Say how the stage ended."""
        fullest = size(max(self._rss.values(), default=None))
        self._say(f"{self._stage}: {result}, {time.monotonic() - self._began:.1f} s, memory {fullest}", always=True)

    def tell(self, event: dict[str, Any]) -> None:
        """Say what happened in the stage beside its work, such as a file that was left out."""
        rest = [f"{key} = {value}" for key, value in event.items() if key not in ("seconds", "what", "error")]
        told = [event["error"]] if "error" in event else rest
        self._say(f"{self._stage}: {event['what'].replace('_', ' ')}: {', '.join(told)}", always=True)

    def _say(self, text: str, always: bool) -> None:
        if self._live and not always:
            self._live.update(text)
        elif self._live:
            self._live.console.print(text, markup=False)
        elif always or time.monotonic() - self._told > PLAIN_SECONDS:
            self._told = time.monotonic()
            print(text, flush=True)

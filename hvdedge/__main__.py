"""The command. It loads neither MPI nor TensorFlow: the stages that it starts do."""

import datetime
import io
import os
import pathlib
import sys
from typing import TYPE_CHECKING

import click

from hvdedge.errors import InputError
from hvdedge.records import STAGES

if TYPE_CHECKING:
    from hvdedge.config import Pipeline
    from hvdedge.launch import Job

RESULTS = pathlib.Path("results")


class Commands(click.Group):
    """Commands whose wrong input is one line and exit status 2, never a traceback."""

    def invoke(self, context: click.Context) -> object:
        try:
            return super().invoke(context)
        except InputError as error:
            click.echo(f"hvdedge: {error}", err=True)
            sys.exit(2)
        except click.UsageError as error:
            where = error.ctx.command_path if error.ctx else "hvdedge"
            click.echo(f"{where}: {error.format_message()} Try '{where} --help'.", err=True)
            sys.exit(2)
        except KeyboardInterrupt:
            click.echo("hvdedge: interrupted", err=True)
            sys.exit(130)
        except BrokenPipeError:
            sys.stderr.close()  # the reader of our output went away, as `| head` does
            sys.exit(1)
        except OSError as error:
            place = f"{error.filename}: " if error.filename else ""
            remedy = "change its rights" if isinstance(error, PermissionError) else "make room"
            click.echo(
                f"hvdedge: {place}cannot be read or written ({error.strerror}); {remedy} or name another", err=True
            )
            sys.exit(2)


@click.group(cls=Commands, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(package_name="hvdedge")
def main() -> None:
    """Run machine-learning pipelines over the nodes of a small cluster, stage by stage as MPI programs."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="replace")  # a terminal without Unicode shows ? and not a traceback


@main.command()
@click.argument("pipeline", type=click.Path(path_type=pathlib.Path))
@click.option(
    "--cluster", default="local", show_default=True, help="A cluster in hostfiles/, or the path of a hostfile."
)
@click.option("--ranks", type=int, help="How many ranks; all slots of the cluster by default (locally: one a core).")
@click.option(
    "--results",
    default=RESULTS,
    show_default=True,
    type=click.Path(path_type=pathlib.Path),
    help="Where runs are kept.",
)
@click.option("--run", "name", help="The run's name; an earlier one goes on where it stopped. By default the time.")
@click.option("--from", "first", type=click.Choice(STAGES), help="Start at this stage, done or not.")
@click.option("--to", "last", type=click.Choice(STAGES), default="report", help="Stop after this stage.")
@click.option("--set", "changes", multiple=True, metavar="KEY=VALUE", help="Change an option: --set train.epochs=3.")
@click.option("--submit", is_flag=True, help="Write a Slurm batch script and submit it.")
@click.option("--dry-run", is_flag=True, help="Print the command lines and start nothing.")
def run(
    pipeline: pathlib.Path,
    cluster: str,
    ranks: int | None,
    results: pathlib.Path,
    name: str | None,
    first: str | None,
    last: str,
    changes: tuple[str, ...],
    submit: bool,
    dry_run: bool,
) -> None:
    """Run a PIPELINE.toml, from the first stage that is not done."""
    from hvdedge import clusters, config, consistency, launch

    if name is not None and not config.NAME.fullmatch(name) or name == "latest":
        raise InputError(
            f"--run: received {name!r}, allowed: letters, digits and _ . -, as it names a folder; not latest"
        )
    if first and STAGES.index(first) > STAGES.index(last):
        raise InputError(
            f"--from: received {first!r}, allowed: {', '.join(STAGES[: STAGES.index(last) + 1])}, as --to is {last!r}"
        )
    machines = clusters.read_cluster(cluster)
    ranks = machines.default_ranks if ranks is None else ranks
    machines.check_ranks(ranks)
    checked = config.read_pipeline(pipeline, changes, last, results=results)
    if first and first not in checked.stages:
        raise InputError(
            f"--from: received {first!r}, allowed: {', '.join(checked.stages)}, as {pipeline} has no [{first}]"
        )
    name = name or datetime.datetime.now().strftime("%Y-%m-%dT%H-%M-%S")
    results = results.absolute()
    folder = results / checked.case / name
    if first and not dry_run:
        _check_begun(checked, first, folder)
    starting = launch.between(checked, first, last)
    consistency.check_ranks(pipeline, {stage: checked.sections[stage] for stage in starting}, ranks, checked.tune)
    jobs = {stage: launch.Job(stage, pipeline.absolute(), folder, machines, ranks, changes) for stage in starting}
    if submit:
        words = [str(pipeline.absolute()), "--results", str(results), "--run", name, "--to", last]
        words += [*(["--from", first] if first else []), *(word for change in changes for word in ("--set", change))]
        script = launch.sbatch_script(machines, f"{checked.case}-{name}", ranks, folder, words)
        if not dry_run:
            launch.run_folder(results, checked.case, name)
            click.echo(f"{launch.submit(script, folder)}; its output: {folder}")
            return
        click.echo(script)
    if dry_run:
        for job in jobs.values():
            click.echo(launch.paste(job.command()))
        return
    launch.check_start(machines)
    launch.run_folder(results, checked.case, name)
    with launch.interruptible(), launch.locked(folder):
        status = _run(checked, jobs, folder, first, last)
    sys.exit(status)


def _check_begun(pipeline: "Pipeline", first: str, folder: pathlib.Path) -> None:
    """Raise InputError where a run is to start at a stage, and none before it was run."""
    earlier = pipeline.stages[: pipeline.stages.index(first)]
    if earlier and not any((folder / f"{stage}.json").exists() for stage in earlier):
        latest = folder.parent / "latest"
        newest = f" such as {latest.resolve().name}" if latest.exists() else ""
        raise InputError(
            f"--from: received {first!r} for {folder}, in which no stage before it was run, allowed: a run that has "
            f"begun; name it by --run{newest}, or leave --from out"
        )


def _run(pipeline: "Pipeline", jobs: "dict[str, Job]", folder: pathlib.Path, first: str | None, last: str) -> int:
    from hvdedge import config, consistency, launch, records
    from hvdedge.named_columns import check_columns
    from hvdedge.progress import Display, describe_totals
    from hvdedge.trial_folders import Folders

    stages = launch.pending(config.tuned(pipeline, folder), folder, first, last)
    given = {change.partition("=")[0].strip() for job in jobs.values() for change in job.changes}
    searched = sorted(given & pipeline.tune.space.keys()) if pipeline.tune and "train" not in stages else []
    if searched:
        click.echo(
            f"hvdedge: --set: {', '.join(searched)} was searched for, and is what the best trial has; --from train "
            "searches anew, beginning with what is set",
            err=True,
        )
    if not stages:
        click.echo(f"nothing to do: all stages up to {last} are done in {folder}")
        return 0
    if first and "train" in stages:
        Folders(folder).begin_anew()
    if "clean" in stages and jobs[stages[0]].cluster.settings.start == "local":
        consistency.check_key(pipeline.path, pipeline.sections)
    records.replace(folder / "pipeline.toml", config.to_toml(pipeline.as_written()).encode())
    records.replace(folder / "cluster.toml", config.to_toml(jobs[stages[0]].cluster.as_written()).encode())
    outcome = launch.Outcome(0)
    later = [stage for stage in stages if stage != "prepare"]
    with Display(len(stages)) as display:
        for stage in stages:
            if stage in later[:1]:
                check_columns(pipeline, later, folder)
            display.begin(stage, jobs[stage].ranks)
            outcome = launch.run_job(jobs[stage], display.show)
            if outcome.status:
                break
            for event in outcome.record.events if outcome.record else ():
                display.tell(event)
            if stage == "train" and pipeline.tune:
                found = config.tuned(pipeline, folder).as_written()
                records.replace(folder / "pipeline.toml", config.to_toml(found).encode())
            made = outcome.record.metrics.get("totals", {}) if outcome.record else {}
            display.end(", ".join(["done", *describe_totals(made)]))
    if outcome.status:
        click.echo(f"hvdedge: {outcome.message}", err=True)
        return outcome.status
    page = folder / "report" / "index.html"
    click.echo(f"results: {folder}" + (f"\nreport: {page}" if last == "report" else ""))
    return 0


@main.command()
@click.argument("run", type=click.Path(path_type=pathlib.Path))
@click.argument("file")
@click.option("--output", default="-", show_default=True, help="The CSV file to write; - for standard output.")
@click.option("--model", "name", help="A compressed model of the run; by default the smallest of those about as good.")
def predict(run: pathlib.Path, file: str, output: str, name: str | None) -> None:
    """Tell the new rows in FILE, a file, folder or pattern, by the model of a RUN: neither MPI nor, mostly, TensorFlow.

    What is told of them as a whole, such as rows that could not be read, stands on standard error.
    """
    from hvdedge import alone

    alone.install()
    os.environ.setdefault("ARROW_DEFAULT_MEMORY_POOL", "system")  # the usual one keeps what was needed once
    from hvdedge import prediction

    prediction.predict(run, file, output, name, lambda line: click.echo(f"hvdedge: {line}", err=True))


@main.command()
@click.argument("results", type=click.Path(path_type=pathlib.Path))
def report(results: pathlib.Path) -> None:
    """Collect all runs below RESULTS into tables, plots and one HTML page."""
    from hvdedge import page, runs

    found, left_out = runs.load(results)
    _tell_left_out(left_out)
    page.write(found, None, results / "report", left_out)
    click.echo(f"report over {len(found)} run{'s' * (len(found) > 1)}: {results / 'report' / 'index.html'}")


@main.command()
@click.argument("what", default=str(RESULTS), metavar="[RESULTS | TABLE | methods | clusters]")
@click.option("--csv", "as_csv", is_flag=True, help="All rows of a TABLE as CSV.")
def show(what: str, as_csv: bool) -> None:
    """Print tables: of the runs below RESULTS, the rows of a TABLE (RESULTS/.../cleaned), all methods, the clusters."""
    from hvdedge import listing, page, runs
    from hvdedge.methods import unknown

    if what == "methods":
        listing.show_methods()
    elif what == "clusters":
        listing.show_clusters()
    elif not pathlib.Path(what).exists():
        raise InputError(f"{unknown('show', what, ['methods', 'clusters'])}; or give a folder of results that exists")
    else:
        from hvdedge import table_view

        if table_view.is_table(pathlib.Path(what)):
            table_view.show(pathlib.Path(what), as_csv)
            return
        if pathlib.Path(what).is_file():
            raise InputError(
                f"show: received {what!r}, a file, allowed: a folder of results, or a table of a run, such as "
                "RESULTS/cleaned; run a pipeline on it first, and show what it made"
            )
        if as_csv:
            raise InputError(f"--csv: received {what!r}, allowed: a table of a run, such as RESULTS/cleaned; name one")
        found, left_out = runs.load(pathlib.Path(what))
        page.show(found, left_out)
        _tell_left_out(left_out)


def _tell_left_out(lines: list[str]) -> None:
    for line in lines:
        click.echo(f"hvdedge: left out: {line}", err=True)


if __name__ == "__main__":
    main(prog_name="hvdedge")

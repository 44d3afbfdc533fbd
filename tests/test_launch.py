"""Command lines as whole lists, what reaches the ranks' environment, and which stages are still to be run."""

import errno
import pathlib
import subprocess
import sys

import pytest
from click.testing import CliRunner

from hvdedge import clusters, config, launch, records
from hvdedge.__main__ import main
from hvdedge.errors import InputError
from hvdedge.records import Output, RunRecord

BIN = pathlib.Path(sys.executable).parent
TUNED = [
    *("--bind-to", "none", "--mca", "mpi_yield_when_idle", "1", "--mca", "pml", "ob1"),
    *("--mca", "coll_tuned_use_dynamic_rules", "1", "--mca", "coll_tuned_allreduce_algorithm", "4"),
]
EXPORTED = ["-x", "HOROVOD_CYCLE_TIME=1", "-x", "TF_CPP_MIN_LOG_LEVEL=2", "-x", "OMP_NUM_THREADS=1"]


@pytest.fixture(autouse=True)
def plain_environment(monkeypatch):
    monkeypatch.setattr("os.geteuid", lambda: 1000)
    for name in ("HOROVOD_CYCLE_TIME", "TF_CPP_MIN_LOG_LEVEL", "OMP_NUM_THREADS", "HVDEDGE_DATA", "SLURM_JOB_ID"):
        monkeypatch.delenv(name, raising=False)


def job(name, ranks, stage="train"):
    return launch.Job(
        stage,
        pathlib.Path("/p.toml"),
        pathlib.Path("/results/c/r"),
        clusters.read_cluster(name),
        ranks,
        ("train.epochs=3",),
    )


def test_the_command_on_this_machine():
    assert job("local", 2).command() == [
        *(
            str(BIN / "mpirun"),
            "--hostfile",
            str(config.ROOT / "hostfiles/local"),
            "-np",
            "2",
            *("--with-ft", "ulfm"),  # training goes on without a rank that is lost
            *TUNED,
            "--mca",
            "btl",
            "self,sm",
            *EXPORTED,
        ),
        *("--wdir", str(config.ROOT), sys.executable, "-m", "mpi4py", str(config.ROOT / "jobs/train.py"), "/p.toml"),
        *("--results", "/results/c/r", "--cluster", "local", "--set", "train.epochs=3"),
    ]


def test_the_command_on_several_hosts_names_their_network():
    assert job("pi", 12, "profile").command() == [
        *(
            str(BIN / "mpirun"),
            "--hostfile",
            str(config.ROOT / "hostfiles/pi"),
            "-np",
            "12",
            *TUNED,
            "--mca",
            "btl",
            "self,tcp",
        ),
        *("--mca", "btl_tcp_if_include", "192.168.1.0/24", "--prtemca", "prte_if_include", "192.168.1.0/24"),
        *("--prtemca", "plm_ssh_args", "-o BatchMode=yes -o ConnectTimeout=10", *EXPORTED),
        *(
            "--wdir",
            str(config.ROOT),
            sys.executable,
            "-m",
            "mpi4py",
            str(config.ROOT / "jobs/profile_data.py"),
            "/p.toml",
        ),
        *("--results", "/results/c/r", "--cluster", "pi", "--set", "train.epochs=3"),
    ]


def test_under_slurm_the_allocation_stands_for_the_hostfile():
    command = job("server", 4).command()
    assert "--hostfile" not in command
    assert command[command.index("btl") + 1] == "self,sm,tcp"


def test_root_is_let_through(monkeypatch):
    monkeypatch.setattr("os.geteuid", lambda: 0)
    assert "--allow-run-as-root" in job("local", 1).command()


def test_a_setting_of_the_cluster_goes_before_ours(tmp_path):
    (tmp_path / "own").write_text("a slots=1\nb slots=1\n")
    (tmp_path / "own.toml").write_text('[mpi]\ncoll_tuned_allreduce_algorithm = "5"\n')
    command = launch.mpirun("x.py", [], ranks=2, cluster=clusters.read_cluster(str(tmp_path / "own")))
    assert command[command.index("coll_tuned_allreduce_algorithm") + 1] == "5"


def test_only_what_is_allowed_reaches_the_ranks(monkeypatch):
    secrets = {"API_TOKEN", "AWS_SECRET_ACCESS_KEY", "SLURM_JWT"}
    for name in (*secrets, "HVDEDGE_DATA", "OMPI_MCA_btl", "LC_ALL", "SLURM_JOB_ID"):
        monkeypatch.setenv(name, "value")
    found = launch.environment()
    assert {"HVDEDGE_DATA", "OMPI_MCA_btl", "LC_ALL", "PATH", "SLURM_JOB_ID"} <= found.keys()
    assert not secrets & found.keys()


def test_the_data_folder_is_exported_absolute_as_ranks_start_elsewhere(monkeypatch):
    monkeypatch.setenv("HVDEDGE_DATA", "here/data")
    assert f"HVDEDGE_DATA={pathlib.Path.cwd() / 'here/data'}" in launch.exported()


@pytest.fixture
def run(tmp_path):
    """A pipeline and a run's folder in which the first three stages are done."""
    (tmp_path / "rows.csv").write_text("a\n1\n")
    text = '[prepare]\nreader = "csv"\nsource = "rows.csv"\n[extract]\n[train]\nmodel = "cnn"\n[compress]\n'
    (tmp_path / "some.toml").write_text(text)
    pipeline = config.read_pipeline(tmp_path / "some.toml")
    for stage in ("prepare", "clean", "profile"):
        (tmp_path / f"{stage}.out").write_text("made")
        outputs = {f"{stage}.out": Output(4, records.sha256(tmp_path / f"{stage}.out"))}
        record = RunRecord(
            stage,
            "some",
            "r",
            "done",
            "local",
            "2026-01-01T00:00:00Z",
            1.0,
            1,
            options=pipeline.options(stage),
            outputs=outputs,
        )
        record.write(tmp_path)
    return pipeline, tmp_path


def test_a_run_goes_on_at_the_first_stage_that_is_not_done(run):
    pipeline, folder = run
    assert launch.pending(pipeline, folder, None, "train") == ["extract", "train"]
    assert launch.pending(pipeline, folder, None, "clean") == []
    assert launch.pending(pipeline, folder, "clean", "profile") == ["clean", "profile"]


def test_a_changed_option_an_output_cut_or_a_broken_record_is_not_done(run):
    pipeline, folder = run
    changed = config.read_pipeline(pipeline.path, ["clean.missing.method=mean"])
    assert launch.pending(changed, folder, None, "profile") == ["clean", "profile"]
    (folder / "clean.out").write_text("ma")
    assert launch.pending(pipeline, folder, None, "profile") == ["clean", "profile"]
    (folder / "prepare.json").write_text("{")
    assert launch.pending(pipeline, folder, None, "profile") == ["prepare", "clean", "profile"]


def test_a_stage_whose_input_was_made_anew_or_whose_source_was_changed_is_not_done(run):
    pipeline, folder = run
    record = records.read(folder / "profile.json")
    record.inputs = {"clean.out": records.sha256(folder / "clean.out")}
    record.write(folder)
    assert launch.pending(pipeline, folder, None, "profile") == []
    clean = records.read(folder / "clean.json")
    clean.outputs["clean.out"].sha256 = "another"
    clean.write(folder)
    assert launch.pending(pipeline, folder, None, "profile") == ["profile"]
    (folder / "rows.csv").write_text("a\n1\n2\n")
    assert launch.pending(pipeline, folder, None, "profile") == ["prepare", "clean", "profile"]


def test_a_run_has_one_process_at_a_time(tmp_path):
    with launch.locked(tmp_path):
        code = "import pathlib, sys; from hvdedge import launch\nwith launch.locked(pathlib.Path(sys.argv[1])): pass"
        other = subprocess.run([sys.executable, "-c", code, str(tmp_path)], capture_output=True, text=True)
    assert "which another hvdedge is running" in other.stderr
    with launch.locked(tmp_path):
        pass


def test_a_folder_that_cannot_be_written_is_one_line(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(InputError, match="--results: received .*which cannot be written"):
        launch.run_folder(tmp_path / "file", "case", "run")


def test_latest_links_to_the_newest_run(tmp_path):
    launch.run_folder(tmp_path, "case", "one")
    launch.run_folder(tmp_path, "case", "two")
    assert (tmp_path / "case" / "latest").resolve() == (tmp_path / "case" / "two").resolve()


def test_a_slurm_cluster_outside_slurm_asks_for_submit():
    with pytest.raises(InputError, match="add --submit"):
        launch.check_start(clusters.read_cluster("server"))


def test_the_batch_script_asks_for_the_ranks_and_quotes_its_arguments(tmp_path):
    script = launch.sbatch_script(
        clusters.read_cluster("server"), "digits-x", 6, tmp_path, ["jobs/my case.toml", "--run", "x"]
    )
    lines = script.splitlines()
    assert lines[0] == "#!/usr/bin/env bash"
    assert lines.count("#SBATCH --ntasks=6") == 1
    assert sum(line.startswith("#SBATCH --ntasks=") for line in lines) == 1
    assert "'jobs/my case.toml' --run x" in script
    assert '"$@"' not in script


def test_a_cluster_without_a_batch_script_is_one_line(tmp_path):
    line = (
        r"--submit: received the cluster 'local', for which .*local.sbatch cannot be read \(No such file or directory"
    )
    with pytest.raises(
        InputError, match=line + r"\), allowed: one with such a script; name one, such as --cluster server"
    ):
        launch.sbatch_script(clusters.read_cluster("local"), "digits-x", 2, tmp_path, [])


BANNER = """
-----------------------------------
WARNING: An invalid value was given for oob_tcp_if_include.  This
value will be ignored.

  Value:      192.168.1.0/24
  Message:    Did not find interface matching this subnet
-----------------------------------
ssh: Could not resolve hostname pi02
-----------------------------------
A daemon failed
-----------------------------------
"""
HEARD = (
    "WARNING: An invalid value was given for oob_tcp_if_include. This value will be ignored. Value: 192.168.1.0/24 "
    "Message: Did not find interface matching this subnet"
)


@pytest.mark.parametrize(
    ("said", "heard"),
    [(BANNER, HEARD), ("\nno  room\nand more\n---\nlast\n", "no room"), ("---\n---\na\nb\n", "a b"), ("\n", "")],
)
def test_of_what_mpirun_says_the_first_line_or_banner_is_told_whole(said, heard):
    watch = launch._Watch(lambda event: None)
    assert all(watch.take(line) for line in said.splitlines(keepends=True))
    assert watch.first_words == heard


def test_the_command_has_one_name_however_it_is_started():
    command = [sys.executable, "-m", "hvdedge", "run", "some.toml", "--rank", "2"]
    done = subprocess.run(command, capture_output=True, text=True, cwd=config.ROOT, timeout=60)
    assert done.returncode == 2
    assert done.stderr.startswith("hvdedge run: No such option '--rank'")
    assert done.stderr.endswith("Try 'hvdedge run --help'.\n")


@pytest.mark.parametrize(
    ("error", "line"),
    [
        (
            PermissionError(errno.EACCES, "Permission denied", "x"),
            "(Permission denied); change its rights or name another",
        ),
        (OSError(errno.ENOSPC, "No space left on device", "x"), "(No space left on device); make room or name another"),
    ],
)
def test_what_the_system_refuses_is_one_line(error, line, monkeypatch):
    def refuse(name):
        raise error

    monkeypatch.setattr(clusters, "read_cluster", refuse)
    done = CliRunner().invoke(main, ["run", "some.toml"])
    assert (done.exit_code, done.stderr) == (2, f"hvdedge: x: cannot be read or written {line}\n")

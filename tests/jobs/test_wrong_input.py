"""What a user may get wrong: one clear line, exit status 2, nothing half-written."""

import json
import os
import pathlib
import shutil
import subprocess

import pytest


def one_line(done, *mentions):
    assert done.status == 2, done.err
    assert "Traceback" not in done.out + done.err
    assert len(done.err.splitlines()) == 1, done.err
    for mention in mentions:
        assert mention in done.err


@pytest.mark.parametrize(
    ("words", "mention"),
    [
        (["jobs/none.toml"], "none.toml"),
        (["jobs/digits.toml", "--ranks", "0"], "--ranks"),
        (["jobs/digits.toml", "--ranks", "40"], "1 to 4"),
        (["jobs/digits.toml", "--cluster", "locl"], "did you mean 'local'"),
        (["jobs/digits.toml", "--run", "../x"], "--run"),
        (["jobs/digits.toml", "--run", "latest"], "--run"),
        (["jobs/digits.toml", "--set", "train.epochs=0"], "train.epochs"),
        (["jobs/digits.toml", "--from", "train", "--to", "clean"], "--from"),
        (["jobs/digits.toml", "--from", "train"], "in which no stage before it was run"),
        (["jobs/digits.toml", "--cluster", "server"], "--submit"),
        (["jobs/digits.toml", "--ranks", "1", "--set", "train.strategy=parameter_server"], "train.servers: received 1"),
    ],
)
def test_a_wrong_word_of_the_command_is_named(hvdedge, tmp_path, words, mention):
    one_line(hvdedge("run", *words, "--results", tmp_path), mention)
    assert not list(tmp_path.iterdir())


def test_a_wrong_line_of_a_hostfile_is_named(hvdedge, tmp_path):
    (tmp_path / "hosts").write_text("localhost slots=2\n\n# a comment\nlocal host slots=x;reboot\n")
    one_line(hvdedge("run", "jobs/digits.toml", "--cluster", tmp_path / "hosts", "--results", tmp_path), "hosts:4")


def test_a_results_folder_that_cannot_be_written_is_named(hvdedge, tmp_path):
    (tmp_path / "file").write_text("")
    one_line(hvdedge("run", "jobs/digits.toml", "--results", tmp_path / "file"), "cannot be written")


CSV = 'case = "own"\n[prepare]\nreader = "csv"\nsource = "rows.csv"\n[train]\nmodel = "cnn"\n'


@pytest.fixture
def own(hvdedge, tmp_path):
    """Run the first stage on a file of one's own."""

    def run(content, *words):
        if content is not None:
            (tmp_path / "rows.csv").write_bytes(content)
        (tmp_path / "own.toml").write_text(CSV)
        return hvdedge(
            "run",
            tmp_path / "own.toml",
            "--results",
            tmp_path / "results",
            "--run",
            "r",
            "--ranks",
            2,
            "--to",
            "prepare",
            *words,
        )

    return run


def test_a_missing_source_is_named_with_the_places_looked_at(own):
    one_line(own(None), "rows.csv", "HVDEDGE_DATA")


def test_a_source_with_another_checksum_is_refused(own):
    one_line(own(b"a\n1\n", "--set", "prepare.sha256=abc"), "received SHA-256", "allowed: abc")


def test_an_empty_file_is_named(own, tmp_path):
    one_line(own(b""), "rows.csv")
    assert not (tmp_path / "results" / "own" / "r" / "prepared").exists()


def test_a_file_that_holds_no_text_is_named(own):
    one_line(own(os.urandom(5000)), "rows.csv")


def test_an_error_that_only_a_stage_can_see_is_in_its_record(own, record, tmp_path):
    own(b"")
    found = record(tmp_path / "results" / "own" / "r", "prepare")
    assert found["status"] == "failed"
    assert found["error"]["is_input"]


@pytest.mark.parametrize(
    "words", [["rn"], ["run"], ["run", "jobs/digits.toml", "--ranks", "two"], ["show", "nonsense"]]
)
def test_a_wrong_command_line_is_one_line(hvdedge, words):
    one_line(hvdedge(*words))


def test_a_pipeline_of_ones_own_needs_no_section_for_stages_that_do_not_run(hvdedge, record, tmp_path):
    (tmp_path / "rows.csv").write_text("order;price\n1;2,5\n2;3,5\n3;NA\n")
    (tmp_path / "shop.toml").write_text(
        'case = "shop"\n[prepare]\nreader = "csv"\nsource = "rows.csv"\n[clean.missing]\n'
    )
    words = ("run", tmp_path / "shop.toml", "--results", tmp_path / "results", "--run", "r", "--ranks", 2)
    done = hvdedge(*words)
    assert done.status == 0, done.err
    assert ": done, 3 rows, 1 cell changed, 1 cell emptied, " in done.out  # prepare
    assert ": done, 3 rows, 1 cell changed, " in done.out.partition("emptied")[2]  # clean
    profile = json.loads((tmp_path / "results" / "shop" / "r" / "data_profile.json").read_text())
    assert profile["columns"]["price"]["mean"] == pytest.approx((2.5 + 3.5 + 2.5) / 3)
    assert (tmp_path / "results" / "shop" / "r" / "report" / "index.html").exists()
    shown = hvdedge("show", tmp_path / "results" / "shop" / "r" / "cleaned", "--csv")
    assert shown.out.splitlines()[:2] == ['"order","price","_file","_line"', '1,2.5,"rows.csv",2']
    one_line(hvdedge("show", tmp_path / "results", "--csv"), "--csv")
    one_line(hvdedge("show", tmp_path / "rows.csv"), "a file, allowed: a folder of results", "run a pipeline on it")
    one_line(hvdedge(*words[:4], "--run", "new", "--from", "clean"), "name it by --run such as r, or leave --from out")
    allowed = "allowed: autoencoder, cnn, dense, embedding, gcn, resnet, rnn, segment_rnn; name one under"
    one_line(hvdedge(*words, "--to", "train"), f"train.model: received nothing, {allowed}")
    one_line(hvdedge(*words, "--from", "train"), "--from", "allowed: prepare, clean, profile, report", "no [train]")


def test_a_report_that_cannot_be_written_and_a_run_left_out_are_told(hvdedge, record, digits, tmp_path):
    shutil.copytree(digits, tmp_path / "digits" / "two", symlinks=True)
    shutil.copytree(digits, tmp_path / "digits" / "broken", symlinks=True)
    (tmp_path / "digits" / "broken" / "clean.json").write_text("{")
    done = hvdedge("report", tmp_path)
    assert done.status == 0, done.err
    assert "left out" in done.err
    assert "broken/clean.json" in done.err
    shutil.rmtree(tmp_path / "report")
    (tmp_path / "report").write_text("")
    assert hvdedge("report", tmp_path / "digits" / "two").status == 0
    assert hvdedge("report", tmp_path).status == 2


@pytest.fixture
def small_disk(tmp_path, request):
    """A real disk of a few kB, as tmpfs."""
    folder, size = tmp_path / "disk", f"size={request.param}k"
    folder.mkdir()
    if os.geteuid() != 0 or subprocess.run(["mount", "-t", "tmpfs", "-o", size, "tmpfs", folder]).returncode:
        pytest.skip("needs root, to mount a small disk")
    yield folder
    subprocess.run(["umount", folder], check=True)


@pytest.mark.parametrize("small_disk", [8, 300, 600, 1400, pytest.param(2000, marks=pytest.mark.slow)], indirect=True)
def test_a_full_disk_is_one_clear_line_and_leaves_no_part(hvdedge, record, small_disk):
    done = hvdedge("run", "jobs/digits.toml", "--results", small_disk, "--run", "r", "--ranks", 2)
    one_line(done, "No space left")
    left = [
        path.name
        for path in (small_disk / "digits" / "r").rglob("*")
        if path.is_file() and path.suffix in (".parquet", ".csv")
    ]
    assert all(not name.startswith(".") for name in left)


def test_nothing_of_the_users_shell_but_what_is_allowed_reaches_a_rank(tmp_path):
    from hvdedge import clusters, launch

    program = tmp_path / "look.py"
    program.write_text("import os\nprint('\\n'.join(os.environ))\n")
    os.environ["MY_API_TOKEN"] = "secret"
    try:
        command = launch.mpirun(str(program), [], ranks=2, cluster=clusters.read_cluster("local"))
        out = subprocess.run(
            command, env=launch.environment(), capture_output=True, text=True, cwd=pathlib.Path.cwd()
        ).stdout
    finally:
        del os.environ["MY_API_TOKEN"]
    assert "HOROVOD_CYCLE_TIME" in out
    assert "MY_API_TOKEN" not in out

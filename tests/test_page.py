import csv
import io
import pathlib
import re
import shutil
import subprocess
import sys
import xml.etree.ElementTree as ElementTree
from html.parser import HTMLParser

import pytest
import report_records

from hvdedge import figures, page, runs
from hvdedge.records import TABLE_STAGES
from hvdedge.report_tables import Column, Plot, ReportTable
from hvdedge.reports import learning_curves, loss_curves, stages

ROOT = pathlib.Path(__file__).parent.parent
HOSTILE = '<script>alert("1")</script>&amp;\'{{ 7777*7777 }}'
VOID = {"meta", "link", "br", "img", "input", "hr"}


@pytest.fixture
def results(tmp_path):
    report_records.write_digits(tmp_path)
    return tmp_path


class Reader(HTMLParser):
    """Reads a page strictly: every element is closed, in order; collects text, ids and all that could be fetched."""

    def __init__(self, text: str):
        super().__init__()
        self.open, self.ids, self.fetched, self.tags, self.text = [], [], [], [], []
        self.feed(text)
        assert self.open == []

    def handle_starttag(self, tag, attrs):
        self.tags.append(tag)
        self.ids += [value for name, value in attrs if name == "id"]
        self.fetched += [
            value for name, value in attrs if name in ("src", "href", "srcset", "data", "poster", "action")
        ]
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag, attrs):
        self.handle_starttag(tag, attrs)
        if tag not in VOID:
            self.open.pop()

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        if "style" not in self.open:
            self.text.append(data)


def read(path: pathlib.Path) -> Reader:
    return Reader(path.read_text())


def write_one(results: pathlib.Path, name: str) -> pathlib.Path:
    found, _ = runs.load(results)
    (this,) = (run for run in found if run.name == name)
    page.write(found, this, this.folder / "report")
    return this.folder / "report"


def write_all(results: pathlib.Path) -> pathlib.Path:
    page.write(*[runs.load(results)[0], None], results)
    return results


@pytest.mark.parametrize("write", [lambda results: write_one(results, "n4"), write_all], ids=["one", "all"])
def test_the_page_is_one_sound_file_that_fetches_nothing(results, write):
    folder = write(results)
    text = (folder / "index.html").read_text()
    reader = Reader(text)
    assert text.startswith("<!DOCTYPE html>")
    assert "http://" not in text and "https://" not in text
    assert "script" not in reader.tags and "link" not in reader.tags and "img" not in reader.tags
    assert "@import" not in text and "url(" not in re.sub(r"url\(#", "", text)
    assert len(set(reader.ids)) == len(reader.ids)
    for target in reader.fetched:
        assert target[1:] in reader.ids if target.startswith("#") else (folder / target).is_file(), target
    assert "svg" in reader.tags


def test_the_page_of_a_run_has_all_sections_and_the_measured_figures(results):
    text = " ".join("".join(read(write_one(results, "n4") / "index.html").text).split())
    for section in ("What ran where", "Stages", "Quality", "Learning curves", "Confusion matrix", "Quality by class"):
        assert section in text
    for section in ("Repairs found and missed", "Compressed models", "Events", "All runs", "Loss curves of all runs"):
        assert section in text
    for figure in ("97.50 %", "94.17 %", "16.0 s", "2.50 ×", "62.5 %", "1.24 GB", "560 J", "rank_lost", "pi02"):
        assert figure.replace(" ", "\N{NO-BREAK SPACE}") in text or figure in text
    assert "tensorflow 2.21.0" in text and "2026-03-04 09:30 UTC" in text


def test_a_table_without_rows_has_no_heading_and_a_section_without_any_says_why(results):
    text = " ".join("".join(read(write_one(results, "n4") / "index.html").text).split())
    assert "Quality of the model" in text
    for title in ("Errors by target", "Graph", "Series", "Training on fewer rows"):
        assert title not in text
    shutil.rmtree(results / "digits" / "n2")
    shutil.rmtree(results / "digits" / "n4")
    (results / "digits" / "n1" / "compress.json").unlink()
    text = " ".join("".join(read(write_one(results, "n1") / "index.html").text).split())
    assert "Speed-up of training" not in text
    assert "Compressed models No model was compressed." in text


def test_the_page_of_a_run_without_training_says_what_show_says_of_it(tmp_path):
    records = {stage: record for stage, record in report_records.digits("n1", 1).items() if stage in TABLE_STAGES}
    folder = report_records.write(tmp_path, records)
    record = records["profile"]
    record.stage, record.status, record.wall_seconds = "report", "running", None
    record.write(folder)
    (this,) = runs.load(tmp_path)[0]
    page.write([this], this, tmp_path / "page")
    text = " ".join(Reader((tmp_path / "page" / "index.html").read_text()).text)
    assert "done up to" not in text and "running" not in text
    rows = list(csv.DictReader(io.StringIO((tmp_path / "page" / "tables" / "comparison.csv").read_text())))
    assert [(row["status"], float(row["total_seconds"])) for row in rows] == [("done", 4.75)]  # 1.5 + 2.25 + 1
    page.show([this], file=(shown := io.StringIO()))
    assert re.search(r"Status +done\n", shown.getvalue()) and re.search(r"All stages +4.75\ss\n", shown.getvalue())


def test_the_page_over_all_runs_folds_each_run(results):
    reader = read(write_all(results) / "index.html")
    assert reader.tags.count("details") >= 3
    assert "digits: 3 runs" in "".join(reader.text)
    assert not [target for target in reader.fetched if target.endswith("report/index.html")]


def test_the_page_over_all_runs_links_to_those_that_have_their_own(results):
    write_one(results, "n2")
    assert "digits/n2/report/index.html" in read(write_all(results) / "index.html").fetched
    page.write(runs.load(results)[0], None, results / "report")
    assert "../digits/n2/report/index.html" in read(results / "report" / "index.html").fetched


def test_all_tables_stand_beside_the_page_and_nothing_else(results):
    folder = write_one(results, "n1")
    names = {f"{method.name}.{ending}" for method in page.find_methods() for ending in ("csv", "md", "tex")}
    assert {path.name for path in (folder / "tables").iterdir()} == names
    assert {path.name for path in folder.iterdir()} == {"index.html", "tables"}
    assert (folder / "tables" / "comparison.csv").read_text().splitlines()[3].startswith("digits,n4,done,local,")


def test_the_files_written_are_returned(results):
    found, _ = runs.load(results)
    written = page.write(found, found[0], results / "out")
    assert sorted(written) == sorted(path for path in (results / "out").rglob("*") if path.is_file())


def test_the_same_records_give_the_same_page(results):
    first = (write_one(results, "n4") / "index.html").read_bytes()
    assert (write_one(results, "n4") / "index.html").read_bytes() == first


def test_the_record_of_an_earlier_report_is_not_counted(results):
    before = (write_one(results, "n4") / "index.html").read_bytes()
    record = report_records.digits("n4", 4, started="2026-03-04T09:30:00Z")["clean"]
    record.stage, record.status = "report", "failed"
    record.write(results / "digits" / "n4")
    assert (write_one(results, "n4") / "index.html").read_bytes() == before


def test_a_run_that_is_not_among_the_others_is_added(results):
    found, _ = runs.load(results)
    page.write(found[:2], found[2], results / "out")
    assert "n4" in (results / "out" / "tables" / "comparison.csv").read_text()


def test_everything_from_records_is_escaped(tmp_path):
    records = report_records.digits("n1", 1, case="<script>x<b>", cluster=HOSTILE, versions={HOSTILE: HOSTILE})
    for record in records.values():
        record.ranks[0].host = HOSTILE
        record.options = {HOSTILE: {HOSTILE: HOSTILE}, "strategy": HOSTILE, "model": HOSTILE}
        record.events = [{"what": HOSTILE, HOSTILE: HOSTILE}]
        record.history |= {HOSTILE: [1.0]} if record.history else {}
        record.metrics |= {HOSTILE: 0.5}
    records["evaluate"].metrics |= {
        "classes": [{"class": HOSTILE} for _ in range(10)],
        "repairs": {HOSTILE: {}},
        "uncleaned": {HOSTILE: 1},
    }
    records["compress"].metrics["models"] = {HOSTILE: {}}
    records["prepare"].metrics["files"] = [{"file": HOSTILE, "delimiter": HOSTILE}]
    records["report"] = report_records.digits("n1", 1)["train"]
    records["report"].stage, records["report"].status, records["report"].error = "report", "failed", {"cause": HOSTILE}
    report_records.write(tmp_path, records)
    found, _ = runs.load(tmp_path)
    for this in (found[0], None):
        page.write(found, this, tmp_path / "out", [HOSTILE])
        reader = read(tmp_path / "out" / "index.html")
        assert "script" not in reader.tags and "b" not in reader.tags
        assert HOSTILE in "".join(reader.text)
        assert "60481729" not in "".join(reader.text)


def test_failed_and_interrupted_runs_are_shown_as_such(results):
    for name, status in (("cut", "interrupted"), ("broken", "failed")):
        records = report_records.digits(name, 2)
        del records["compress"], records["evaluate"]
        train = records["train"]
        train.status, train.wall_seconds, train.ranks, train.metrics = status, None, [], {}
        if status == "failed":
            train.error = {"rank": 1, "host": "pi07", "cause": "OSError: No space left on device"}
        report_records.write(results, records)
    text = "".join(read(write_one(results, "broken") / "index.html").text)
    assert "rank 1 on pi07: OSError: No space left on device" in text
    assert "failed in train" in text and "interrupted in train" in text
    assert "The model was not evaluated." in text


def test_runs_left_out_are_named_in_the_page(results):
    found, _ = runs.load(results)
    page.write(found, None, results / "out", ["x/train.json: received no record"])
    assert "x/train.json: received no record" in (results / "out" / "index.html").read_text()


def test_a_matrix_of_too_many_classes_stands_in_its_file_only(results):
    folder = results / "digits" / "n1"
    records = report_records.digits("n1", 1)
    records["evaluate"].metrics["confusion"] = [[7] * 200] * 200
    records["evaluate"].write(folder)
    report = write_one(results, "n1")
    assert "The 200 classes are too many for a page" in (report / "index.html").read_text()
    assert len((report / "tables" / "confusion.csv").read_text().splitlines()) == 201


def test_a_long_table_is_cut_in_the_page_and_whole_in_its_file(results):
    records = report_records.digits("n1", 1)
    records["train"].events = [{"seconds": float(at), "what": "checkpoint"} for at in range(1000)]
    records["train"].write(results / "digits" / "n1")
    report = write_one(results, "n1")
    assert "The first 200 of 1,000 rows." in (report / "index.html").read_text()
    assert len((report / "tables" / "events.csv").read_text().splitlines()) == 1001


def test_over_many_runs_only_the_comparison_is_told_in_full(tmp_path):
    for at in range(page.TOLD_RUNS + 1):
        report_records.write(tmp_path, report_records.digits(f"r{at:02}", 1))
    text = (write_all(tmp_path) / "index.html").read_text()
    assert text.count('class="plot"') == 2  # training and validation loss of all
    assert "Confusion matrix" in text and 'class="matrix"' not in text
    assert text.count('class="facts"') == page.TOLD_RUNS + 1
    assert len((tmp_path / "tables" / "classes.csv").read_text().splitlines()) == 1 + 10 * (page.TOLD_RUNS + 1)


def test_a_picture_is_sound_and_takes_text_and_colours_from_the_page():
    run = runs.Run(pathlib.Path("n4"), report_records.digits("n4", 4))
    loss, accuracy = figures.draw(learning_curves.tabulate([run]), "curves")
    assert (loss.title, accuracy.title) == ("Loss", "Accuracy")
    assert [(line.label, line.color, line.dashes) for line in loss.lines] == [
        ("training", 0, ""),
        ("validation", 1, ""),
    ]
    tree = ElementTree.fromstring(loss.svg)
    texts = ["".join(element.itertext()).strip() for element in tree.iter("text")]
    assert "epoch" in texts and "12" in texts
    assert tree.get("role") == "img" and "loss, training 2.17 to" in tree.get("aria-label")
    assert "%" in "".join(ElementTree.fromstring(accuracy.svg).itertext())
    assert "var(--s0)" in loss.svg and "var(--s1)" in loss.svg and "var(--ink)" in loss.svg
    assert "#fe0" not in loss.svg and "DejaVu" not in loss.svg
    names = [element.get("id") for element in tree.iter() if element.get("id")]
    assert names and all(name.startswith("curves-0-") for name in names)


def test_bars_stand_in_the_order_of_the_stages_with_their_values():
    run = runs.Run(pathlib.Path("n4"), report_records.digits("n4", 4))
    (bars,) = figures.draw(stages.tabulate([run]), "x")
    texts = ["".join(text.itertext()).strip() for text in ElementTree.fromstring(bars.svg).iter("text")]
    assert [text for text in texts if text in run.records] == list(run.records)
    assert "16.0\N{NO-BREAK SPACE}s" in texts
    assert bars.lines == []


def test_lines_of_many_runs_can_be_told_apart():
    several = [runs.Run(pathlib.Path(f"r{at}"), report_records.digits(f"r{at}", 1)) for at in range(28)]
    training, validation = figures.draw(loss_curves.tabulate(several), "x")
    assert len({(line.color, line.dashes) for line in training.lines}) == 28
    assert training.lines == validation.lines


def test_what_is_not_known_is_a_gap_and_nothing_known_is_no_picture():
    columns = (Column("epoch", kind="count"), Column("a", kind="number"), Column("b", kind="number"))
    plot = Plot("lines", "epoch", (("A", ("a",)), ("B", ("b",))))
    rows = [(1, 1.0, None), (2, None, None), (3, 3.0, None)]
    (picture,) = figures.draw(ReportTable("t", columns, rows, plot=plot), "x")
    assert picture.title == "A"
    assert figures.draw(ReportTable("t", columns, [], plot=plot), "x") == []
    assert figures.draw(ReportTable("t", columns, rows), "x") == []


def shown(results: pathlib.Path, file: io.StringIO) -> str:
    page.show(*runs.load(results), file=file)
    return file.getvalue()


def test_in_a_pipe_tables_have_no_colours_one_line_a_row_and_nothing_cut(results):
    folder = results / "digits" / "n2"
    records = report_records.digits("n2", 2)
    long = "a-very-long-option-" * 20
    records["train"].options["model"] = long
    records["train"].write(folder)
    text = shown(folder, io.StringIO())
    assert "\x1b" not in text and "…" not in text
    assert long in text
    for stage in records:
        assert sum(line.startswith(f"{stage} ") and " done " in line for line in text.splitlines()) == 1
    assert all(line == line.rstrip() for line in text.splitlines())
    assert "Confusion matrix" in text and "98.33 %" in text


def test_over_several_runs_the_comparison_is_shown_with_what_was_left_out(results):
    (results / "digits" / "n2" / "train.json").write_text("{")
    text = shown(results, io.StringIO())
    (row,) = (
        line for line in text.splitlines() if line.startswith("digits") and " ring_allreduce " in line and "n4" in line
    )
    for figure in ("16.0 s", "35.0 s", "2.50 ×", "62.5 %", "97.50 %", "560 J"):
        assert figure in row
    assert "left out: " in text and "train.json" in text
    assert "Confusion matrix" not in text


class Terminal(io.StringIO):
    def isatty(self):
        return True


@pytest.mark.parametrize("width", [80, 100, 200])
@pytest.mark.parametrize("what", ["", "digits/n4"])
def test_in_a_terminal_tables_fit_its_width(results, monkeypatch, width, what):
    monkeypatch.setenv("COLUMNS", str(width))
    monkeypatch.setenv("TERM", "xterm-256color")
    monkeypatch.delenv("NO_COLOR", raising=False)
    text = shown(results / what, Terminal())
    assert "\x1b[" in text
    lines = re.sub(r"\x1b\[[0-9;]*m", "", text).splitlines()
    assert max(map(len, lines)) <= width
    assert not [line for line in lines if line.startswith("digits") and "…" in line]


def test_showing_loads_neither_matplotlib_nor_tensorflow_nor_mpi(results):
    code = (
        "import pathlib, sys; from hvdedge import page, runs; page.show(*runs.load(pathlib.Path(sys.argv[1])));"
        "heavy = {'matplotlib', 'tensorflow', 'mpi4py', 'jinja2', 'pyarrow', 'numpy', 'h5py', 'duckdb'};"
        "found = heavy & {name.partition('.')[0] for name in sys.modules};"
        "sys.exit(f'loaded {found}' if found else 0)"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, str(results)], capture_output=True, text=True, timeout=60, cwd=ROOT, check=False
    )
    assert (done.returncode, done.stderr) == (0, "")
    assert "All runs" in done.stdout

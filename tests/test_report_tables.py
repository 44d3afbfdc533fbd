import csv
import io
import pathlib

import pytest
import report_records
from hypothesis import given
from hypothesis import strategies as st
from rich.console import Console

from hvdedge.report_tables import Column, ReportTable, kind_of, over_runs, plain
from hvdedge.runs import Run

TABLE = ReportTable(
    "Models & costs",
    (Column("model", is_key=True), Column("bytes", "size", "bytes"), Column("accuracy", "", "percent")),
    [("int8", 1_210_000, 0.98333), ("a_b|c", None, None)],
    note="50 % of it.",
    foot=("all", 1_210_000, ""),
)


@pytest.mark.parametrize(
    "kind, value, text",
    [
        ("count", 1797, "1,797"),
        ("count", 0, "0"),
        ("count", 2.5, "2.500"),
        ("number", 0.04123456, "0.04123"),
        ("number", 12345.678, "12,346"),
        ("number", 99.996, "100.0"),  # rounded to four digits, it has three before the point
        ("number", 3.0, "3"),
        ("number", 0.00001234, "1.234e-05"),
        ("number", -0.5, "-0.5000"),
        ("seconds", 9.8, "9.80 s"),
        ("seconds", 0.0042, "4.20 ms"),
        ("seconds", 0.00042, "420 µs"),
        ("seconds", 123.4, "123 s"),
        ("seconds", 999.6, "1,000 s"),
        ("seconds", 12345.6, "12,346 s"),
        ("seconds", 0, "0 s"),
        ("bytes", 612_000_000, "612 MB"),
        ("bytes", 999_600, "1.00 MB"),
        ("bytes", 999_400, "999 kB"),
        ("bytes", 512, "512 B"),
        ("bytes", 0, "0 B"),
        ("joules", 31.0, "31.0 J"),
        ("joules", 1240.0, "1.24 kJ"),
        ("percent", 0.98125, "98.12 %"),
        ("percent", 1, "100.00 %"),
        ("share", 0.925, "92.5 %"),
        ("times", 1.853, "1.85 ×"),
        ("setting", 0.001, "0.001"),
        ("setting", 0.0316227766, "0.03162"),
        ("setting", 64, "64"),
        ("setting", 65536, "65,536"),
        ("setting", 0, "0"),
        ("rate", 3300.4, "3,300 /s"),
        ("rate", 0.5, "0.500 /s"),
        ("rate", 0, "0 /s"),
        ("text", 0.9, "0.9"),
        ("text", True, "yes"),
        ("text", [1, "é"], '[1, "é"]'),
        ("number", "diverged", "diverged"),
        ("percent", None, "–"),
        ("number", float("nan"), "–"),
        ("seconds", float("inf"), "–"),
        ("text", "", "–"),
    ],
)
def test_numbers_read_as_people_write_them(kind, value, text):
    assert Column("x", kind=kind).text(value).replace("\N{NO-BREAK SPACE}", " ") == text


@pytest.mark.parametrize(
    "kind", ["count", "number", "seconds", "bytes", "joules", "percent", "share", "times", "rate", "setting"]
)
@given(value=st.floats() | st.integers(-(2**63), 2**63))
def test_every_number_has_a_text(kind, value):
    assert Column("x", kind=kind).text(value)


@given(value=st.floats(1e-8, 1e15))
def test_three_digits_and_a_prefix_are_within_half_a_digit(value):
    text, unit = Column("x", kind="joules").text(value).split("\N{NO-BREAK SPACE}")
    scale = {"n": 1e-9, "µ": 1e-6, "m": 1e-3, "": 1, "k": 1e3, "M": 1e6, "G": 1e9, "T": 1e12, "P": 1e15}
    assert float(text.replace(",", "")) * scale[unit[:-1]] == pytest.approx(value, rel=0.00501)


def test_a_name_tells_how_its_numbers_read():
    names = "accuracy validation_accuracy step_seconds bytes_per_step idle_share examples_per_second energy_joules loss"
    kinds = "percent percent seconds bytes share rate joules number"
    assert [kind_of(name) for name in names.split()] == kinds.split()


def test_csv_has_plain_numbers_and_nothing_for_what_is_not_known():
    assert TABLE.to_csv() == "model,bytes,accuracy\nint8,1210000,0.98333\na_b|c,,\n"


@given(text=st.text())
def test_csv_gives_any_text_back(text):
    table = ReportTable("t", (Column("a"), Column("b")), [(text, 1.5)])
    assert list(csv.reader(io.StringIO(table.to_csv())))[1] == [plain(text), "1.5"]


def test_markdown_is_the_table_with_its_marks_escaped():
    assert TABLE.to_markdown() == (
        "### Models \\& costs\n"
        "\n"
        "| model | size | accuracy |\n"
        "| --- | ---: | ---: |\n"
        "| int8 | 1.21 MB | 98.33 % |\n"
        "| a_b\\|c | – | – |\n"
        "| all | 1.21 MB |  |\n"
        "\n"
        "50 % of it.\n"
    )


def test_markdown_cannot_be_broken_by_a_name():
    table = ReportTable("t", (Column("a"),), [("<script>_x_ `y` [l](u)\n| z\\",)])
    row = table.to_markdown().splitlines()[4]
    assert row == r"| \<script\>\_x\_ \`y\` \[l\](u) \| z\\ |"


def test_latex_is_the_table_with_its_marks_escaped():
    assert TABLE.to_latex() == "\n".join(
        [
            r"% needs \usepackage{booktabs}",
            r"\begin{table}[htbp]",
            r"\centering",
            r"\caption{Models \& costs}",
            r"\begin{tabular}{lrr}",
            r"\toprule",
            r"model & size & accuracy \\",
            r"\midrule",
            r"int8 & 1.21\,MB & 98.33\,\% \\",
            r"a\_b\textbar{}c & -- & -- \\",
            r"\midrule",
            r"all & 1.21\,MB &  \\",
            r"\bottomrule",
            r"\end{tabular}",
            r"\par\smallskip\footnotesize 50 \% of it.",
            r"\end{table}",
            "",
        ]
    )


def test_latex_cannot_be_broken_by_a_name():
    table = ReportTable("t", (Column("a"),), [("\\input{x} $1^2 #~% [1pt]\n&",)])
    row = r"\textbackslash{}input\{x\} \$1\textasciicircum{}2 \#\textasciitilde{}\% {[}1pt{]} \& \\"
    assert table.to_latex().splitlines()[7 + 1] == row


def test_text_that_steers_a_terminal_or_turns_a_line_around_is_made_visible():
    assert plain("a\x1b[31mb\x07\N{RIGHT-TO-LEFT OVERRIDE}c\nd\te") == "a\ufffd[31mb\ufffd\ufffdc d e"
    assert plain("mee\N{ZERO WIDTH NON-JOINER}khaham") == "mee\N{ZERO WIDTH NON-JOINER}khaham"


def test_an_empty_table_says_why():
    table = ReportTable("t", (Column("a"),), [], note="unused", empty="Nothing happened.")
    for text in (table.to_markdown(), table.to_latex(), printed(table, None)):
        assert "Nothing happened." in text and "unused" not in text
    assert table.to_csv() == "a\n"


def test_the_first_rows_say_that_there_are_more():
    table = ReportTable("t", (Column("a"),), [(at,) for at in range(2000)], note="Note.", foot=("sum",))
    assert table.first(2000) is table
    assert table.first(3).rows == [(0,), (1,), (2,)]
    assert table.first(3).note == "Note. The first 3 of 2,000 rows."
    assert table.first(3).foot is None


def printed(table: ReportTable, width: int | None) -> str:
    console = Console(file=io.StringIO(), width=width or 1000, highlight=False)
    for part in table.to_rich(width):
        console.print(part)
    return console.file.getvalue()


def test_a_table_too_wide_for_a_terminal_comes_in_parts_with_its_keys():
    columns = (Column("run", is_key=True), *(Column(f"value_{at}", kind="count") for at in range(12)))
    table = ReportTable("t", columns, [("first", *range(12)), ("second", *range(100, 112))])
    lines = printed(table, 60).splitlines()
    assert max(map(len, lines)) <= 60
    assert sum(line.startswith("run ") for line in lines) == 3  # 12 columns of 7 + 3 in 60 - 6: five, five, two
    assert sum(line.startswith("second") for line in lines) == 3
    for at in range(12):
        assert sum(f"value {at} " in f"{line} " for line in lines) == 1
    assert sum("first" in line for line in printed(table, None).splitlines()) == 1


def test_long_text_is_folded_in_a_terminal_and_whole_in_a_pipe():
    table = ReportTable("t", (Column("run", is_key=True), Column("why")), [("x", "word " * 40)])
    assert max(map(len, printed(table, 80).splitlines())) <= 80
    assert "word " * 39 in printed(table, None)


def test_markup_of_the_terminal_is_shown_as_it_is():
    table = ReportTable("[bold]t", (Column("[red]a"),), [("[link=x]b[/]",)])
    for shown in ("[bold]t", "[red]a", "[link=x]b[/]"):
        assert shown in printed(table, None)


def test_tables_over_several_runs_name_case_and_run():
    runs = [Run(pathlib.Path(name), report_records.digits(name, 1)) for name in ("a", "b")]
    one = over_runs(runs[:1], "t", [Column("x")], lambda run: [(run.name * 2,)], foot=("sum",))
    assert (one.rows, one.foot) == ([("aa",)], ("sum",))
    both = over_runs(runs, "t", [Column("x")], lambda run: [(run.name * 2,)], foot=("sum",))
    assert (both.rows, both.foot) == ([("digits", "a", "aa"), ("digits", "b", "bb")], None)
    assert [column.key for column in both.columns] == ["case", "run", "x"]

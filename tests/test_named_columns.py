"""Columns that a pipeline names and prepare did not read are told before any other stage begins."""

import pytest

from hvdedge import config, methods
from hvdedge.errors import InputError
from hvdedge.named_columns import check_columns
from hvdedge.options import ColumnName
from hvdedge.records import RunRecord

PIPELINE = """
[prepare]
reader = "csv"
source = "rows.csv"
[clean.duplicates]
id = "order"
[clean.missing]
columns = ["price*", "[EUR]"]
[profile.correlations]
label = "paid"
[extract]
extractor = "table"
label = "paid"
split = "group"
by = "client"
drop = ["cl*"]
[train]
model = "dense"
"""
COLUMNS = ["order", "client", "price", "price_2", "[EUR]", "paid", "row"]
KINDS = {"order": "integer", "client": "category", "price": "float", "price_2": "float", "row": "date"}
WRONG = [
    ("clean.duplicates.id=oder", "clean.duplicates.id: received 'oder', which matches no column", "mean 'order'?"),
    (
        'clean.missing.columns=["price", "x*"]',
        "clean.missing.columns: received 'x*', which",
        "name one by clean.",
    ),
    (
        "profile.correlations.label=no",
        "profile.correlations.label: received 'no', which",
        "order, client, price",
    ),
    ("extract.by=clients", "extract.by: received 'clients', which", "did you mean 'client'?"),
    ('extract.keep="prices"', "extract.keep: received 'prices'", "did you mean 'price'?"),
    ("extract.label=town", "extract.label: received 'town', which", "; name one by extract.label"),  # of row: poor
    (
        'clean.errors.dependencies=["order, client -> paid", "order -> prise"]',
        "clean.errors.dependencies: received 'prise', which",
        "did you mean 'price'?",
    ),
    ("extract.label=Paid", "extract.label: received 'Paid'", "did you mean 'paid'?"),
]


@pytest.fixture
def check(tmp_path):
    """Hold a pipeline's columns against those of a prepared table."""
    (tmp_path / "rows.csv").write_text("a\n1\n")

    def run(*changes, text=PIPELINE, columns=COLUMNS, stages=config.STAGES[1:], files="abc"):
        (tmp_path / "some.toml").write_text(text)
        record = RunRecord("prepare", "some", "r", "done", "local", "", None, 1)
        record.metrics = {
            "columns": {name: {"type": KINDS.get(name, "text")} for name in columns},
            "files": [{"file": f"{name}.csv", "rows": number} for number, name in enumerate(files)],
        }
        record.write(tmp_path)
        check_columns(config.read_pipeline(tmp_path / "some.toml", changes), stages, tmp_path)

    return run


def test_names_patterns_and_the_columns_that_stages_add_pass(check):
    check()
    check("extract.by=_file")


@pytest.mark.parametrize(("change", "line", "remedy"), WRONG, ids=[change for change, _, _ in WRONG])
def test_a_column_that_prepare_did_not_read_is_one_line(check, change, line, remedy):
    with pytest.raises(InputError) as error:
        check(change)
    assert f"some.toml: {line}" in str(error.value)
    assert remedy in str(error.value)
    assert "\n" not in str(error.value)


def test_without_a_table_the_stage_tells(check, tmp_path):
    check("extract.by=clients", columns=())
    (tmp_path / "prepare.json").unlink()
    check_columns(config.read_pipeline(tmp_path / "some.toml", ["extract.by=clients"]), ["extract"], tmp_path)


@pytest.mark.parametrize("stages", [("clean",), ("train",)])
def test_what_the_pipeline_names_is_held_of_stages_that_do_not_run_too(check, stages):
    for change in ("extract.by=clients", "clean.duplicates.id=oder", 'clean.errors.dependencies="a -> b"'):
        with pytest.raises(InputError, match=change.partition("=")[0]):
            check(change, stages=stages)


def test_a_default_is_held_of_the_stages_that_run_only(check):
    text = PIPELINE.replace('label = "paid"\nsplit', "split")
    check(text=text, stages=("clean", "profile"))
    with pytest.raises(InputError, match="extract.label: received nothing"):
        check(text=text, stages=("extract",))


def test_rules_between_columns_pass_with_any_blanks(check):
    check('clean.errors.dependencies=["order->price,paid", " client ,order  ->  [EUR]"]')


def test_the_default_of_a_chosen_method_is_held_and_said_to_be_none_of_the_users(check):
    text = PIPELINE.replace('label = "paid"\nsplit', "split")
    with pytest.raises(InputError, match=r"extract.label: received nothing and took 'label', which .*extract.label"):
        check(text=text)
    check(text=text, columns=[*COLUMNS, "label"])
    check("clean.labels.folds=3")  # its label, and what clean.missing keeps, are the defaults of methods among others


def test_a_message_names_some_of_many_columns(check):
    many = [f"c{number}" for number in range(300)]
    with pytest.raises(InputError, match=r"allowed: c0, c1, .*, c18, \.\.\.; name one by clean.duplicates.id"):
        check(columns=many)


def test_every_option_called_for_a_column_is_one():
    """So that a new method's are held, too; lists, shapes and files are none."""
    called = {"label", "column", "columns", "by", "id", "time", "series", "order", "targets", "drop", "newest", "quasi"}
    numbers = {("reduction", "mutual_information", "columns")}
    for kind in ("cleaning", "profiling", "features", "reduction", "selection"):
        for name in methods.names(kind):
            for option, its in methods.find(kind, name, "").options.items():
                if option in called and (kind, name, option) not in numbers:
                    assert its.type in (ColumnName, tuple[ColumnName, ...]), (kind, name, option)


def test_labels_are_looked_for_where_clean_runs(check):
    text = PIPELINE.replace('label = "paid"\nsplit', 'label = "order"\nsplit') + "[clean.labels]\n"
    check(text=text)  # what extract learns
    text = text.replace('label = "order"', "").replace('by = "client"', 'by = "client"\ntask = "regression"')
    check(text=text, stages=["profile"])
    with pytest.raises(
        InputError, match=r"clean.labels.label: received nothing and took 'label', which .*; name one by"
    ):
        check(text=text, stages=["clean"])
    check(text=text, stages=["clean"], columns=[*COLUMNS, "label"])


def test_records_are_linked_of_two_files_with_rows(check):
    check("clean.duplicates.link=true")
    with pytest.raises(
        InputError, match="clean.duplicates.link: received true with rows of one file only, allowed: two"
    ):
        check("clean.duplicates.link=true", files="ab")  # the first one has none


DROPS = '[clean.privacy]\ndrop = ["pa*", "price_2"]\n'


def test_what_privacy_drops_is_needed_by_nothing_after_it(check):
    text = PIPELINE.replace('[profile.correlations]\nlabel = "paid"', "")
    line = (
        r"extract.label: received 'paid', which \[clean.privacy\] drops before, allowed: order, client, price, \[EUR\]"
    )
    with pytest.raises(InputError, match=line):
        check(text=text + DROPS)
    check("extract.label=price", text=text + DROPS)
    with pytest.raises(InputError, match="extract.drop: received 'price_2', which"):
        check("extract.label=price", 'extract.drop=["price_2"]', text=text + DROPS)
    before, after = (
        ("[clean.missing]\ncolumns = ['price_2']\n", DROPS),
        (DROPS, "[clean.missing]\ncolumns = ['price_2']\n"),
    )
    text = text.replace('[clean.missing]\ncolumns = ["price*", "[EUR]"]\n', "")
    check("extract.label=price", text=text + "".join(before))
    with pytest.raises(InputError, match="clean.missing.columns: received 'price_2', which"):
        check("extract.label=price", text=text + "".join(after))


def test_rows_are_split_in_time_by_what_has_an_order(check):
    check("extract.split=time", "extract.by=row")
    check("extract.split=time", "extract.by=_line")
    line = "extract.by: received 'client', a column of category for split = 'time', allowed: dates, times, numbers"
    with pytest.raises(InputError, match=line + r" \(order, price, price_2, row\); name another column"):
        check("extract.split=time")
    with pytest.raises(InputError, match="extract.by: received 'row', a column of text for split"):
        check("extract.split=time", "extract.by=row", "clean.privacy.generalise=row")


def test_numbers_are_made_of_no_text(check):
    check('extract.numbers=["price*", "row"]')
    with pytest.raises(
        InputError, match="extract.numbers: received 'client', category, allowed: numbers, booleans and"
    ):
        check('extract.numbers=["price*", "cl*"]')

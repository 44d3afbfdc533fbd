"""What the user sees while a run goes on: plain lines in a pipe, the fullest rank's memory."""

import pytest

from hvdedge.progress import Display, describe, describe_totals, size


@pytest.mark.parametrize(
    ("count", "text"), [(None, "–"), (0, "0 B"), (999, "999 B"), (1_234_567, "1.23 MB"), (2.5e12, "2.5 TB")]
)
def test_sizes_have_three_digits_and_a_unit(count, text):
    assert size(count) == text


def test_numbers_are_written_as_people_read_them():
    words = describe(epoch=3, epochs=12, loss=0.123456, examples_per_second=14180.3)
    assert words == ["epoch 3/12", "loss 0.1235", "examples/s 14,180"]
    assert describe("once more") == ["once more"]


def test_what_a_stage_made_of_a_table_is_said_in_a_few_words():
    made = {"rows": 1612, "cells_changed": 30, "cells_emptied": 1, "rows_taken_out": 0, "rows_set_aside": 1}
    assert describe_totals(made) == ["1,612 rows", "30 cells changed", "1 cell emptied", "1 row set aside"]
    assert describe_totals({"rows": 0}) == ["0 rows"] and describe_totals({}) == []


def test_a_pipe_gets_plain_lines_with_the_memory_of_the_fullest_rank(capsys):
    with Display(8) as display:
        display.begin("train", 2)
        display.show({"event": "progress", "rank": 1, "is_root": False, "rss_bytes": 2_000_000})
        display.show(
            {
                "event": "progress",
                "rank": 0,
                "is_root": True,
                "rss_bytes": 1_000_000,
                "text": "",
                "epoch": 1,
                "epochs": 2,
                "loss": 0.5,
            }
        )
        display.end("done")
    lines = capsys.readouterr().out.splitlines()
    assert lines[0] == "[1/8] train on 2 ranks"
    assert lines[-1].startswith("[1/8] train: done, ")
    assert lines[-1].endswith("memory 2 MB")


def test_a_pipe_gets_every_text_and_numbers_now_and_then(capsys):
    with Display(8) as display:
        display.begin("train", 1)
        for text, values in (("", {"epoch": 1, "epochs": 2}), ("once more", {}), ("", {"epoch": 1, "epochs": 2})):
            display.show(
                {
                    "event": "progress",
                    "rank": 0,
                    "is_root": True,
                    "rss_bytes": 1,
                    "text": text,
                    **values,
                    "on": "other rows",
                }
            )
    lines = capsys.readouterr().out.splitlines()
    assert lines[1:] == ["[1/8] train: once more, on other rows, memory 1 B"]

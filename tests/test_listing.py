"""What `hvdedge show methods` prints: words that a user can write a pipeline by."""

import re

from hvdedge.listing import show_methods


def test_the_options_of_methods_are_listed_in_words(capsys):
    show_methods()
    told = capsys.readouterr().out
    for line in (
        "      epochs = 10: a whole number from 1\n",
        "      folds = 5: a whole number from 2\n",
        "      dependencies = []: a list in brackets, each columns -> columns in quotes\n",
        '      header = "auto": "auto", true, false\n',
        "      threshold (not set): a number from 0 to 1\n",
        "      columns = []: a list in brackets, each a column's name in quotes\n",
        '      truth = "": a path in quotes\n',
    ):
        assert line in told
    assert not re.search("Share|Natural|Several|Literal|tuple", told)

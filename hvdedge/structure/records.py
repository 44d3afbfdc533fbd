"""Records of a delimited text whose quotes may be astray: no row behind such a quote is lost."""

from hvdedge.delimited import Dialect, Records, read_records


def repair(text: str, dialect: Dialect, width: int = 0) -> Records:
    """Return the records of `text`, whole lines of a file from the beginning of a record on.

    A quote that opens a cell and never closes it rightly is taken as a character, so that the line breaks behind it end
    their records. `width`, where known, tells such a quote from a cell of several lines.
    """
    return read_records(text, dialect, width)

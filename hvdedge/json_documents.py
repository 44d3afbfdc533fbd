"""JSON documents: one list of objects in a file, written on any number of lines, read object by object.

    [ {"id": 1}, {"id": 2} ]        {"count": 2, "data": [ {"id": 1}, {"id": 2} ]}

A sliding buffer holds the text from the object that is read on, so memory is bounded by the largest object. Libraries
that stream JSON refuse NaN, and do not tell the line and the text of what they read.
"""

import json
import re
from collections.abc import Callable, Iterator

from hvdedge.errors import InputError

CHUNK_CHARS = 1 << 18
INK = re.compile(r"[^ \t\r\n]")
LIST = re.compile(r"\[\s*[{\]]")  # a list of objects, or an empty one
OBJECTS = re.compile(r"\[\s*\{")
DECODER = json.JSONDecoder()


def is_document(head: str, lines: int) -> bool:
    """Tell whether a file of JSON is a document, not lines of one object each.

    Args:
        head: its beginning.
        lines: how many line ends it has.
    """
    head = head.lstrip("\ufeff \t\r\n")
    if LIST.match(head):
        return True
    if not head.startswith("{"):
        return False
    first, _, rest = head.partition("\n")
    if rest.strip() or lines > 1:
        return first.rstrip().endswith(("{", "[", ",", ":"))
    try:
        values = list(json.loads(first).values())
    except (ValueError, RecursionError):
        return OBJECTS.search(first) is not None
    return len(values) == 1 and isinstance(values[0], list) and any(isinstance(item, dict) for item in values[0])


def items(read: Callable[[int], str], where: str, most_chars: int) -> Iterator[tuple[int, str]]:
    """Yield the line, from 1, and the text of each item of the list of objects in a document.

    What stands beside that list in an object around it is yielded as it is written, with its name.

    Args:
        read: returns so many of the next characters, fewer at the end.
        where: the file, for messages.
        most_chars: of an item.
    Raises:
        InputError: where it is broken, has no list of objects or several, or an item is too long.
    """
    text = _Text(read, where, most_chars)
    if text.next() == "[":
        yield from text.items()
    else:
        text.take("{")
        lists = 0
        while text.next() != "}":
            line, name = text.value()
            text.take(":")
            if text.begins_list():
                lists += 1
                if lists > 1:
                    raise text.error("several lists of objects")
                yield from text.items()
            else:
                yield line, f"{name}: {text.value()[1]}"
            if text.next() != "}":
                text.take(",")
        text.take("}")
        if not lists:
            raise text.error("an object written on several lines, and no list of objects in it", "jq -c .")
    if text.next():
        raise text.error("more behind the end of the list")


class _Text:
    """The text of a document from some place on."""

    def __init__(self, read: Callable[[int], str], where: str, most_chars: int):
        self._read = read
        self._where = where
        self._most_chars = most_chars
        self._held = ""
        self._at = 0
        self._line = 1

    def error(self, what: str, command: str = "jq -c '.[]'") -> InputError:
        return InputError(
            f"{self._where}: line {self._line}: received {what}, expected one list of objects, or an object a line; "
            f"correct it, or convert it with {command}"
        )

    def next(self) -> str:
        """Return the next character that is no blank, "" at the end."""
        while True:
            found = INK.search(self._held, self._at)
            self._skip(found.start() if found else len(self._held))
            if found:
                return found[0]
            if not self._more():
                return ""

    def take(self, character: str) -> None:
        if self.next() != character:
            raise self.error(f"JSON that is broken ({self.next() or 'its end'!r} instead of {character!r})")
        self._at += 1

    def begins_list(self) -> bool:
        """Tell whether a list of objects is next."""
        while self.next() == "[" and not INK.search(self._held, self._at + 1) and self._more():
            pass
        return bool(OBJECTS.match(self._held, self._at))

    def items(self) -> Iterator[tuple[int, str]]:
        self.take("[")
        while self.next() != "]":
            yield self.value()
            if self.next() != "]":
                self.take(",")
        self.take("]")

    def value(self) -> tuple[int, str]:
        """Return line and text of the next value."""
        self.next()
        line = self._line
        while True:
            try:
                _, end = DECODER.raw_decode(self._held, self._at)
                if end < len(self._held) or not self._more():  # a number may go on
                    break
            except (ValueError, RecursionError) as error:
                if len(self._held) - self._at > self._most_chars:
                    raise self.error(f"JSON that is broken, or an item of more than {self._most_chars} bytes") from None
                if not self._more():
                    raise self.error(f"JSON that is broken ({error})") from None
        text = self._held[self._at : end]
        self._skip(end)
        return line, text

    def _skip(self, end: int) -> None:
        self._line += self._held.count("\n", self._at, end)
        self._at = end

    def _more(self) -> bool:
        """Read on, as much as is held, so that an item is not read again too often; tell whether there was more."""
        chunk = self._read(max(CHUNK_CHARS, len(self._held) - self._at))
        if chunk:
            self._held, self._at = self._held[self._at :] + chunk, 0
        return bool(chunk)

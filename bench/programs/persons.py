"""Person records with duplicates that are hard to find, as one CSV file and its truth; seeded, of any size.

    people      given names, surnames, streets and suburbs drawn by Zipf's law from made-up words; a suburb has its
                postcode and state, a person a birth date and a telephone number
    twins       2 % of the people have one, who shares surname, address and birth date, and has a name and a number of
                his own
    duplicates  20 % of the people are written down 1 to 3 times more, with 1 to 4 errors each time

Errors: typing (a key beside, a letter lost, doubled or swapped with the next), OCR (0 for o), phonetic (f for ph), two
fields swapped, a cell missing, abbreviated, reformatted (a date day first, a number with its country code), or moved
to another cell.

Rows are made in blocks and leave in an order in which duplicates stand far from each other, so memory does not grow
with their number.

    python bench/programs/persons.py 100000 persons.csv truth.csv [--seed 1]
"""

import argparse
import csv
import datetime
import random
from collections.abc import Iterator

HEADER = (
    "rid",
    "given_name",
    "surname",
    "date_of_birth",
    "street_number",
    "street",
    "suburb",
    "postcode",
    "state",
    "phone",
)
GIVEN, SURNAME, BORN, NUMBER, STREET, SUBURB, POSTCODE, STATE, PHONE = range(9)
DUPLICATED, TWINS = 0.2, 0.02
WAITING_ROWS = 100_000  # of which the next one to be written is drawn
POOLS = {
    "given": (1500, 1.0),
    "surname": (20_000, 0.9),
    "street": (8000, 0.7),
    "suburb": (2500, 0.8),
}  # words, exponent
ONSETS = "b c ch d f g h j k l m n p ph qu r s sh t th v w br cl cr dr fr gr pr st tr".split()  # noqa: SIM905 - to be read
VOWELS = "a e i o u ai ea ee ie ou".split()  # noqa: SIM905
CODAS = ["", "", "", "n", "r", "s", "l", "t", "ck", "ll", "nd", "ng", "rd", "ss", "tt"]
KINDS = {"street": "st", "road": "rd", "avenue": "ave", "crescent": "cres", "place": "pl", "court": "ct", "drive": "dr"}
STATES = ("nw", "vc", "ql", "sa", "wa", "ts", "nt", "ac")
BESIDE = dict(
    zip(
        "qwertyuiopasdfghjklzxcvbnm0123456789",
        "wa qes wrd etf ryg tuh yij uok ipl ol qsz adw sfe dgr fht gjy hku jli ko asx zcd xvf cbg vnh bmj nk "  # noqa: SIM905
        "19 20 31 42 53 64 75 86 97 80".split(),
        strict=True,
    )
)
OCR = [("o", "0"), ("l", "1"), ("i", "1"), ("s", "5"), ("b", "8"), ("m", "rn"), ("rn", "m"), ("cl", "d"), ("g", "q"),
       ("0", "o"), ("1", "l"), ("5", "s"), ("8", "b"), ("6", "b"), ("u", "v"), ("h", "b")]  # fmt: skip
SOUNDS = [("ph", "f"), ("f", "ph"), ("ck", "k"), ("c", "k"), ("k", "c"), ("ee", "ea"), ("ea", "ee"), ("ie", "y"),
          ("ai", "ay"), ("ll", "l"), ("tt", "t"), ("ss", "s"), ("qu", "kw"), ("ou", "ow"), ("th", "t"), ("sh", "sch"),
          ("i", "y"), ("v", "w"), ("z", "s"), ("ch", "tch")]  # fmt: skip


def rows(count: int, seed: int = 1) -> Iterator[tuple[str, int, list[str]]]:
    """Yield `count` rows: id, number of the person, fields."""
    draw = random.Random(seed)
    pools = _Pools(random.Random(f"{seed} words"))
    waiting: list[tuple[int, list[str]]] = []
    made, person = 0, 0
    for number in range(count):
        while made < count and len(waiting) < WAITING_ROWS:
            base = pools.person(draw)
            for who in (base, *([pools.twin(base, draw)] if draw.random() < TWINS else [])):
                copies = draw.randint(1, 3) if draw.random() < DUPLICATED else 0
                waiting += [(person, who), *((person, spoil(who, draw)) for _ in range(copies))]
                made += 1 + copies
                person += 1
        place = draw.randrange(len(waiting))
        waiting[place], waiting[-1] = waiting[-1], waiting[place]
        whose, fields = waiting.pop()
        yield f"p{number:08d}", whose, fields


class _Pools:
    def __init__(self, draw: random.Random):
        self.words, self.weights = {}, {}
        for name, (count, exponent) in POOLS.items():
            syllables = (1, 2, 2, 3) if name == "given" else (2, 2, 3)
            words: dict[str, None] = {}
            while len(words) < count:
                parts = (draw.choice(ONSETS) + draw.choice(VOWELS) for _ in range(draw.choice(syllables)))
                words["".join(parts) + draw.choice(CODAS)] = None
            self.words[name] = list(words)
            total, running = 0.0, []
            for rank in range(1, count + 1):
                total += rank**-exponent
                running.append(total)
            self.weights[name] = running
        self.areas = {word: (str(draw.randint(1000, 9999)), draw.choice(STATES)) for word in self.words["suburb"]}

    def draw(self, name: str, draw: random.Random) -> str:
        return draw.choices(self.words[name], cum_weights=self.weights[name])[0]

    def person(self, draw: random.Random) -> list[str]:
        born = datetime.date(1930, 1, 1) + datetime.timedelta(draw.randrange(28_000))
        suburb = self.draw("suburb", draw)
        return [
            self.draw("given", draw),
            self.draw("surname", draw),
            born.isoformat(),
            str(int(draw.paretovariate(0.6)) % 900 + 1),
            f"{self.draw('street', draw)} {draw.choice([*KINDS])}",
            suburb,
            *self.areas[suburb],
            f"0{draw.randint(2, 8)}{draw.randrange(10**8):08d}",
        ]

    def twin(self, of: list[str], draw: random.Random) -> list[str]:
        twin = [*of]
        while twin[GIVEN] == of[GIVEN]:
            twin[GIVEN] = self.draw("given", draw)
        twin[PHONE] = f"0{draw.randint(2, 8)}{draw.randrange(10**8):08d}"
        return twin


def spoil(person: list[str], draw: random.Random) -> list[str]:
    """Return the fields with 1 to 4 errors."""
    fields = [*person]
    for _ in range(draw.randint(1, 4)):
        kind = draw.choice([_type, _type, _scan, _hear, _swap, _lose, _abbreviate, _reformat, _move])
        kind(fields, draw)
    return fields


def _cell(fields: list[str], draw: random.Random) -> int:
    return draw.choice([place for place, cell in enumerate(fields) if cell and place != STATE])


def _type(fields: list[str], draw: random.Random) -> None:
    place = _cell(fields, draw)
    cell = fields[place]
    at = draw.randrange(len(cell))
    after = draw.choice(BESIDE.get(cell[at], "e"))
    kind = draw.randrange(5)
    if kind == 0:
        cell = cell[:at] + cell[at + 1 :]
    elif kind == 1:
        cell = cell[: at + 1] + cell[at:]
    elif kind == 2 and at + 1 < len(cell):
        cell = cell[:at] + cell[at + 1] + cell[at] + cell[at + 2 :]
    elif kind == 3:
        cell = cell[:at] + after + cell[at:]
    else:
        cell = cell[:at] + after + cell[at + 1 :]
    fields[place] = cell


def _replace(fields: list[str], pairs: list[tuple[str, str]], draw: random.Random) -> None:
    place = _cell(fields, draw)
    there = [pair for pair in pairs if pair[0] in fields[place]]
    if there:
        fields[place] = fields[place].replace(*draw.choice(there), 1)


def _scan(fields: list[str], draw: random.Random) -> None:
    _replace(fields, OCR, draw)


def _hear(fields: list[str], draw: random.Random) -> None:
    _replace(fields, SOUNDS, draw)


def _swap(fields: list[str], draw: random.Random) -> None:
    a, b = draw.choice([(GIVEN, SURNAME), (GIVEN, SURNAME), (STREET, SUBURB)])
    fields[a], fields[b] = fields[b], fields[a]


def _lose(fields: list[str], draw: random.Random) -> None:
    fields[draw.randrange(len(fields))] = ""


def _abbreviate(fields: list[str], draw: random.Random) -> None:
    if draw.random() < 0.5:
        words = fields[STREET].split()
        fields[STREET] = " ".join(KINDS.get(word, word) for word in words)
    else:
        fields[GIVEN] = fields[GIVEN][:1]


def _reformat(fields: list[str], draw: random.Random) -> None:
    if draw.random() < 0.5 and len(fields[BORN].split("-")) == 3:
        year, month, day = fields[BORN].split("-")
        fields[BORN] = draw.choice([f"{year}-{day}-{month}", f"{day}/{month}/{year}", f"{year}{month}{day}"])
    elif fields[PHONE]:
        number = fields[PHONE]
        fields[PHONE] = draw.choice([f"+61 {number[1:]}", f"({number[:2]}) {number[2:6]} {number[6:]}"])


def _move(fields: list[str], draw: random.Random) -> None:
    if draw.random() < 0.5:
        fields[STREET], fields[NUMBER] = f"{fields[NUMBER]} {fields[STREET]}".strip(), ""
    else:
        fields[STREET], fields[SUBURB] = f"{fields[STREET]} {fields[SUBURB]}".strip(), ""


def write(count: int, path: str, truth: str, seed: int = 1) -> None:
    """Write the rows and, as id and person, their truth."""
    with open(path, "w", newline="", encoding="utf-8") as file, open(truth, "w", newline="", encoding="utf-8") as known:
        records, answers = csv.writer(file, lineterminator="\n"), csv.writer(known, lineterminator="\n")
        records.writerow(HEADER)
        answers.writerow(("rid", "cluster"))
        for rid, person, fields in rows(count, seed):
            records.writerow((rid, *fields))
            answers.writerow((rid, person))


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("rows", type=int)
    parser.add_argument("path")
    parser.add_argument("truth")
    parser.add_argument("--seed", type=int, default=1)
    arguments = parser.parse_args()
    write(arguments.rows, arguments.path, arguments.truth, arguments.seed)

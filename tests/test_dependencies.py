"""Dependencies found, and the votes that they give, against counting in plain Python."""

from collections import Counter, defaultdict
from fractions import Fraction

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from rapidfuzz.distance import OSA

from hvdedge.dependencies import Codes, Dependency, find, group, parse
from hvdedge.errors import InputError
from hvdedge.tables import Table
from hvdedge.votes import Court

IN_A_TEST = settings(deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=60)


def codes_of(comm, workspace, limit: int = 1000, batch_rows: int = 7, **columns) -> Codes:
    count = len(next(iter(columns.values())))
    rows = pa.table({**columns, "_file": pa.array(["a"] * count, pa.string()), "_line": np.arange(count)})
    return Codes(Table.from_batches(rows.schema, rows.to_batches(batch_rows), workspace), list(columns), limit, comm)


def groups_of(x: list, y: list) -> dict:
    found = defaultdict(Counter)
    for a, b in zip(x, y, strict=True):
        if a is not None:
            found[a][b] += 1
    return found


def holds(x: list, y: list, tolerance: Fraction) -> bool:
    """Return whether x tells y, by the definition in the module's docstring."""
    order = {value: (-count, value) for value, count in Counter(b for b in y if b is not None).items()}

    def leader(counts: Counter):
        return min(counts, key=lambda value: (-counts[value], (-9e9, "") if value is None else order[value]))

    large = {a: counts for a, counts in groups_of(x, y).items() if counts.total() >= 3}
    rows = sum(counts.total() for counts in large.values())
    agreeing = sum(counts[leader(counts)] for counts in large.values() if leader(counts) is not None)
    if rows < 30 or agreeing < (1 - tolerance) * rows:
        return False
    leads, all_of = Counter(), Counter()
    for counts in large.values():
        leads[leader(counts)] += counts[leader(counts)]
        all_of.update({value: count for value, count in counts.items() if value is not None})
    established = {value for value in all_of if 2 * leads[value] >= all_of[value]}
    kept = [Counter({v: n for v, n in counts.items() if v in established}) for counts in large.values()]
    kept = [counts for counts in kept if counts]
    n, k = sum(counts.total() for counts in kept), len(kept)
    told = sum(max(counts.values()) for counts in kept)
    b = max(sum(kept, Counter()).values(), default=0)
    return n not in (b, k) and Fraction(n - told, n - b) * Fraction(n - 1, n - k) <= Fraction(1, 20)


@st.composite
def two_columns(draw) -> tuple[list, list]:
    """Draw x, and a y that follows from it but for some rows."""
    keys = draw(st.integers(1, 6))
    rows = draw(
        st.lists(st.tuples(st.integers(0, keys), st.integers(0, 60), st.integers(0, 3)), min_size=1, max_size=90)
    )
    x = [None if a == keys else a for a, _, _ in rows]
    y = ["pqrs"[other] if chance < 3 else None if chance == 3 else "pqr"[(a or 0) % 3] for a, chance, other in rows]
    return x, y


@IN_A_TEST
@given(columns=two_columns(), tolerance=st.sampled_from([0.0, 0.05, 0.1, 0.3]))
def test_a_dependency_is_found_when_it_holds_by_definition(comm, workspace, columns, tolerance):
    x, y = columns
    codes = codes_of(comm, workspace, x=pa.array(x, pa.int64()), y=pa.array(y, pa.string()))
    found = {str(dependency) for dependency in find(codes, ["x", "y"], tolerance, comm)}
    varied = len({*x} - {None}) >= 2 and len({*y} - {None}) >= 2
    exact = Fraction(str(tolerance))
    expected = {name for name, sides in {"x -> y": (x, y), "y -> x": (y, x)}.items() if holds(*sides, exact)}
    assert found == (expected if varied else set())


@IN_A_TEST
@given(columns=two_columns())
def test_groups_hold_the_two_leading_values_and_their_counts(comm, workspace, columns):
    x, y = columns
    codes = codes_of(comm, workspace, x=pa.array(x, pa.int64()), y=pa.array(y, pa.string()))
    if not codes.size(("x",)):
        return
    found = group(Dependency(("x",), "y"), codes, comm)
    values = [*codes.values["y"].to_pylist(), None]  # the code of an empty cell is -1
    counted = groups_of(x, y)
    for place, key in enumerate(codes.values["x"].to_pylist()):
        counts = counted[key]
        best = sorted(counts.values(), reverse=True) + [0]
        assert found.rows[place] == counts.total()
        assert (found.first_count[place], found.second_count[place]) == tuple(best[:2])
        assert counts[values[found.first[place]]] == best[0]
        assert best[1] == 0 or counts[values[found.second[place]]] == best[1]


@IN_A_TEST
@given(columns=two_columns(), others=st.lists(st.integers(0, 3), min_size=90, max_size=90))
def test_a_verdict_is_the_mean_of_what_the_other_rows_of_the_groups_say(comm, workspace, columns, others):
    x, y = columns
    z = others[: len(x)]
    codes = codes_of(comm, workspace, x=pa.array(x, pa.int64()), y=pa.array(y, pa.string()), z=pa.array(z))
    rules = [Dependency(("x",), "y"), Dependency(("z",), "y")]
    if not codes.size(("x",)) or not codes.size(("y",)):
        return
    court = Court(codes, rules, comm, excepts=False)
    values = [*codes.values["y"].to_pylist(), None]
    tables = [groups_of(x, y), groups_of(z, y)]
    told = []
    for verdict in court.verdicts(["y"]):
        cells = zip(verdict.rows, verdict.now, verdict.then, verdict.confidence, verdict.is_enough, strict=True)
        for row, now, then, sure, is_enough in cells:
            assert values[now] == y[row]
            told.append(row)
            chances = []
            for counts in (table[key[row]] for table, key in zip(tables, (x, z), strict=True) if key[row] is not None):
                if not is_enough and not breaks(counts, y[row], values):
                    continue  # a doubt is what the rules that the row breaks say
                ranked = [count for _, count in counts.most_common(2)]
                if counts.total() > 1:  # of what is third or later a vote does not know
                    known = counts[values[then]] if counts[values[then]] >= min(ranked) else 0
                    chances.append((counts.total(), known, min(ranked)))
            low = [0 if known == least and total > known + least else known for total, known, least in chances]
            bounds = [
                sum(count / total for count, (total, _, _) in zip(side, chances, strict=True)) / len(chances)
                for side in (low, [known for _, known, _ in chances])
            ]
            alike = OSA.normalized_similarity(values[now], values[then]) if values[now] else 0.0
            least, most = (1 - (1 - chance) * (1 - alike / 2) for chance in bounds)
            assert least - 1e-12 <= sure <= most + 1e-12
            assert values[then] != y[row]
    groups = [
        [table[key] if key is not None else Counter() for key in keys]
        for table, keys in zip(tables, (x, z), strict=True)
    ]
    broken = {row for of_rows in groups for row, counts in enumerate(of_rows) if breaks(counts, y[row], values)}
    assert sorted(told) == sorted(broken)


def breaks(counts: Counter, own: str | None, values: list) -> bool:
    """Tell whether a row of a group with these values breaks a given rule; `values` by falling frequency."""
    ranked = [count for _, count in counts.most_common()]
    known = [value for value in counts if value is not None]
    if not known:
        return False
    leader = min(known, key=lambda value: (-counts[value], values.index(value)))
    if own is None:
        return counts[leader] == ranked[0] and ranked[1:2] != ranked[:1]
    return own != leader


def test_several_columns_are_joined_or_refused_when_they_have_too_many_values(comm, workspace):
    columns = {"a": [0, 0, 1, 1, None], "b": [*"xyxyx"], "c": [1, 1, 1, 2, 3]}
    codes = codes_of(comm, workspace, 5, 2, **columns)
    assert codes.join(("a", "b"), comm)
    found = np.concatenate([*codes.of(("a", "b"))])
    assert len({*found[:4].tolist()}) == codes.size(("a", "b")) == 4
    assert found[4] == -1
    assert codes.join(("a", "b", "c"), comm)
    assert codes.size(("a", "b", "c")) == 4
    assert not codes_of(comm, workspace, 3, 2, **columns).join(("a", "b"), comm)


def test_large_tables_are_tried_on_a_part_of_their_rows_first(comm, workspace):
    draw = np.random.default_rng(0)
    x, free = draw.integers(0, 40, 50_000), draw.integers(0, 9, 50_000)
    y = np.where(draw.random(50_000) < 0.03, 99, x % 7)
    codes = codes_of(comm, workspace, batch_rows=5000, x=x, y=y, free=free)
    assert [str(dependency) for dependency in find(codes, ["x", "y", "free"], 0.1, comm)] == ["x -> y"]


def test_what_memory_has_no_room_for_is_the_voter_that_fewest_rows_agree_with(comm, workspace):
    x = np.arange(4000) % 400
    columns = {"a": x, "b": x % 40, "c": np.where(np.arange(4000) % 50 == 0, 9999, x), "y": x % 4}
    codes = codes_of(comm, workspace, batch_rows=500, **columns)
    everything = {str(dependency) for dependency in find(codes, list(columns), 0.1, comm)}
    assert {"a -> y", "b -> y", "c -> y", "a -> b"} <= everything
    workspace.memory_bytes = 8 * 24 * 1250  # for three times the 400 values of a
    kept = {str(dependency) for dependency in find(codes, list(columns), 0.1, comm)}
    assert kept == {"a -> b", "a -> c", "a -> y"}


def test_rules_are_read_as_they_are_written():
    found = parse(("a, b->c", " c -> a ,b", "c -> a"), ["a", "b", "c"], "here")
    assert [str(dependency) for dependency in found] == ["a, b -> c", "c -> a", "c -> b"]
    for text in ("a", "a -> b -> c", "-> a", "a, -> b", ""):
        with pytest.raises(InputError, match="here: received .*allowed: columns -> columns, such as"):
            parse((text,), ["a", "b", "c"], "here")

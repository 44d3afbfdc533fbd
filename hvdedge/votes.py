"""What the most probable value of a cell is, given the rest of its row.

Each dependency X -> Y looks at the rows with the same X, this one left out (n others), and gives

    P_j(v) = rows of these that have v / (n + 1)

to the value v of its leading one: the 1 is the doubt that few others leave. The probability of v is the mean of P_j(v)
over the dependencies that know the row's group. The value with the highest one replaces the cell's where it has more
than the cell's own, this row counted. How far it can be trusted grows where the cell looks like a misspelling of it:

    confidence = 1 - (1 - P(v)) * (1 - similarity / 2)

A dependency that was found, not given, may be a habit of the data rather than a rule. On its word a cell is changed
only where it is empty, or holds what leads no group and looks like v, or at least two dependencies all say v.

A row that breaks a given dependency and gets no value so, because its group is a tie, it belongs to an exception, or
others speak for what it holds, is a doubt: v is then what those that it breaks say.

Source: Rekatsinas et al. 2017, HoloClean (signals combined); Yakout et al. 2013, Don't be SCAREd (the likeliest value
given the rest of the row).
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from mpi4py import MPI

from hvdedge.columns import to_text
from hvdedge.dependencies import LEAST_EXCEPTION, NO_VALUE, Codes, Dependency, Groups, group, spread

ALIKE = 2 / 3
AGREED = 0.8  # what two found dependencies must give a value that is nothing like the cell's
EXCEPTION_VALUES = 4096  # of a column, the most frequent ones, that an exception is looked for under
Chunk = dict[tuple[str, ...], np.ndarray]


@dataclass(frozen=True)
class Verdict:
    """What should stand in some cells of one column, of one chunk of this rank's rows.

    Attributes:
        rows: numbers of this rank's rows, rising.
        now, then: the codes of what the cells hold and of what they should.
        confidence: 0 to 1.
        is_enough: whether what says so is; see above of a found dependency's word, and of a doubt.
    """

    column: str
    rows: np.ndarray
    now: np.ndarray
    then: np.ndarray
    confidence: np.ndarray
    is_enough: np.ndarray

    def where(self, chosen: np.ndarray, start: int) -> "Verdict":
        """Return some of the cells, their rows counted on from `start`."""
        parts = (part[chosen] for part in (self.now, self.then, self.confidence, self.is_enough))
        return Verdict(self.column, start + self.rows[chosen], *parts)


class Court:
    """The dependencies of a table, with what their groups of rows say, and where they do not hold.

    Args:
        excepts: whether violations that gather under one value of another column are an exception.
    Attributes:
        violations, excepted: for each dependency, how many of this rank's rows break it, and how many of these are an
            exception; known once all verdicts were given.
    """

    def __init__(
        self,
        codes: Codes,
        dependencies: Sequence[Dependency],
        comm: MPI.Intracomm,
        *,
        excepts: bool = True,
    ):
        """Collective."""
        self._codes = codes
        self._groups: dict[Dependency, Groups] = {
            dependency: group(dependency, codes, comm) for dependency in dependencies
        }
        self._exceptions: dict[Dependency, dict[str, np.ndarray]] = {rule: {} for rule in dependencies}
        self._examples: dict[Dependency, tuple[str, int]] = {}
        if excepts:
            self._find_exceptions(comm)
        self.violations, self.excepted = (dict.fromkeys(dependencies, 0) for _ in range(2))
        self._similarity = _Similarity(codes)

    def verdicts(self, names: Sequence[str]) -> Iterator[Verdict]:
        """Yield what should stand in cells of the columns `names`, where it is something else than now."""
        start = 0
        for chunk in self._codes.chunks():
            violates = {rule: self._violates(rule, chunk) for rule in self._groups}
            excepted = {rule: self._excepted(rule, chunk) for rule in self._groups}
            breaks = {rule: self._breaks(rule, chunk) & ~excepted[rule] for rule in self._groups}
            blamed = _blame(breaks, chunk)
            found: list[Verdict] = []
            for name in names:
                voters = self._voters(name)
                if voters:
                    silent = [excepted[voter] | blamed[voter.determinant] for voter in voters]
                    asked = np.any([breaks[voter] & ~out for voter, out in zip(voters, silent, strict=True)], axis=0)
                    rows = np.flatnonzero(asked)
                    if len(rows):
                        verdict = self._vote(voters, chunk, rows, [out[rows] for out in silent])
                        found.append(verdict.where(verdict.then >= 0, 0))
            found += self._doubts(names, chunk, violates, found)
            for rule, broken in violates.items():
                self.violations[rule] += int(broken.sum())
                self.excepted[rule] += int((broken & excepted[rule]).sum())
            yield from (verdict.where(np.arange(len(verdict.rows)), start) for verdict in found)
            start += len(next(iter(chunk.values())))

    def told(self, comm: MPI.Intracomm) -> dict[str, list]:
        """Collective. Return what is known of the dependencies, as metrics, once all verdicts were given."""
        counted = np.array([[*one.values()] for one in (self.violations, self.excepted)], np.int64)
        comm.Allreduce(MPI.IN_PLACE, counted, op=MPI.SUM)
        return {
            "dependencies": [
                {"dependency": str(rule), "given": rule.is_given, "violations": broken, "exceptions": excepted}
                for rule, (broken, excepted) in zip(self._groups, counted.T.tolist(), strict=True)
            ]
        }

    def unsettled(
        self, mended: dict[str, np.ndarray], comm: MPI.Intracomm
    ) -> Iterator[tuple[Dependency, int, tuple[str, str] | None]]:
        """Collective. Yield each given dependency that rows still break, how many, and where an exception lies.

        Args:
            mended: column -> this rank's rows of which its cell was mended.
        Yields:
            The third is a column and its value, None where there is no exception.
        """
        left, start = dict.fromkeys((rule for rule in self._groups if rule.is_given), 0), 0
        for chunk in self._codes.chunks() if left else ():
            size = len(next(iter(chunk.values())))
            for rule in left:
                broken = self._violates(rule, chunk)
                for name in (rule.dependent, *rule.determinant):
                    rows = mended.get(name, np.empty(0, np.int64)) - start
                    broken[rows[(rows >= 0) & (rows < size)]] = False
                left[rule] += int(broken.sum())
            start += size
        counted = np.array([*left.values()], np.int64)
        comm.Allreduce(MPI.IN_PLACE, counted, op=MPI.SUM)
        for rule, rows in zip(left, counted.tolist(), strict=True):
            if rows:
                name, code = self._examples.get(rule, ("", 0))
                yield rule, rows, (name, to_text(self._codes.values[name].slice(code, 1))[0].as_py()) if name else None

    def supports(self, name: str) -> Iterator[np.ndarray]:
        """Yield for each chunk of rows whether a group of at least two other rows says what the cell holds."""
        for chunk in self._codes.chunks():
            y = chunk[name,]
            supported = np.zeros(len(y), bool)
            for voter in self._voters(name):
                groups, x = self._groups[voter], chunk[voter.determinant]
                supported |= (x >= 0) & (groups.first[x] == y) & (groups.first_count[x] > 2)
            yield supported

    def _voters(self, name: str) -> list[Dependency]:
        return [dependency for dependency in self._groups if dependency.dependent == name]

    def _breaks(self, dependency: Dependency, chunk: Chunk) -> np.ndarray:
        """Return whether a row's group has one leading value, and the row another or none."""
        groups, x = self._groups[dependency], chunk[dependency.determinant]
        leader = groups.first[x]
        is_one = groups.first_count[x] > groups.second_count[x]
        return (x >= 0) & (leader >= 0) & is_one & (leader != chunk[dependency.dependent,])

    def _violates(self, dependency: Dependency, chunk: Chunk) -> np.ndarray:
        """Return whether a row breaks it; a given one also where its value is not the first of those not empty."""
        breaks = self._breaks(dependency, chunk)
        if not dependency.is_given:
            return breaks
        x, y = chunk[dependency.determinant], chunk[dependency.dependent,]
        leader = self._groups[dependency].known[x]
        return breaks | ((x >= 0) & (y >= 0) & (leader >= 0) & (leader != y))

    def _find_exceptions(self, comm: MPI.Intracomm) -> None:
        """Collective. Find for each dependency column -> the values under which it does not hold, a flag each."""
        names = list(self._codes.values)
        most = self._codes.table_bytes // (8 * max(len(names) * len(self._groups), 1))
        sizes = [min(self._codes.size((name,)), EXCEPTION_VALUES, most) for name in names]
        edges = np.cumsum([0, *sizes])
        tally = np.zeros((len(self._groups), edges[-1]), np.int64)
        for chunk in self._codes.chunks():
            for row, dependency in zip(tally, self._groups, strict=True):
                broken = np.flatnonzero(self._breaks(dependency, chunk))
                for name, start, size in zip(names, edges, sizes, strict=False):
                    seen = chunk[name,][broken]
                    row[start : start + size] += np.bincount(seen[(seen >= 0) & (seen < size)], minlength=size)
        comm.Allreduce(MPI.IN_PLACE, tally, op=MPI.SUM)
        for row, dependency in zip(tally, self._groups, strict=True):
            clearest = 0
            for name, start, size in zip(names, edges, sizes, strict=False):
                broken = row[start : start + size]
                flags = (broken >= LEAST_EXCEPTION) & (2 * broken >= self._codes.counts[name][:size])
                if name == dependency.dependent or not flags.any():
                    continue
                if dependency.is_given:
                    groups = self._codes.size(dependency.determinant)
                    flags &= spread(self._broken_under(name, flags, dependency), size, groups, comm)
                if flags.any():
                    self._exceptions[dependency][name] = flags
                    seen = np.where(flags, broken, 0)
                    if seen.max() > clearest:
                        clearest = int(seen.max())
                        self._examples[dependency] = name, int(seen.argmax())

    def _broken_under(
        self, name: str, flags: np.ndarray, dependency: Dependency
    ) -> Iterator[tuple[np.ndarray, np.ndarray]]:
        """Yield the flagged values of a column, else NO_VALUE, and the groups, of the rows that break a rule."""
        x, y = dependency.determinant, (dependency.dependent,)
        for value, a, b in zip(*(self._codes.of(one) for one in ((name,), x, y)), strict=True):
            broken = np.flatnonzero(self._breaks(dependency, {x: a, y: b}))
            seen = value[broken]
            is_flagged = (seen >= 0) & (seen < len(flags)) & flags[np.minimum(seen, len(flags) - 1)]
            yield np.where(is_flagged, seen, NO_VALUE), a[broken]

    def _excepted(self, dependency: Dependency, chunk: Chunk) -> np.ndarray:
        excepted = np.zeros(len(chunk[dependency.dependent,]), bool)
        for name, flags in self._exceptions[dependency].items():
            codes = chunk[name,]
            excepted |= (codes >= 0) & (codes < len(flags)) & flags[np.minimum(codes, len(flags) - 1)]
        return excepted

    def _doubts(
        self, names: Sequence[str], chunk: Chunk, violates: dict[Dependency, np.ndarray], found: list[Verdict]
    ) -> list[Verdict]:
        """Return the doubts about cells that break a given dependency, with no verdict on them or the determinant."""
        told: dict[str, list[np.ndarray]] = {}
        for verdict in found:
            told.setdefault(verdict.column, []).append(verdict.rows)
        doubts = []
        for name in names:
            voters = [voter for voter in self._voters(name) if voter.is_given]
            silent = []
            for voter in voters:
                out = ~violates[voter]
                for rows in (rows for column in (name, *voter.determinant) for rows in told.get(column, ())):
                    out[rows] = True
                silent.append(out)
            rows = np.flatnonzero(~np.all(silent, axis=0)) if voters else np.empty(0, np.int64)
            if len(rows):
                doubts.append(self._vote(voters, chunk, rows, [out[rows] for out in silent], is_doubt=True))
        return doubts

    def _vote(
        self,
        voters: list[Dependency],
        chunk: Chunk,
        rows: np.ndarray,
        silent: list[np.ndarray],
        is_doubt: bool = False,
    ) -> Verdict:
        """Return what the voters that are not silent say; a doubt is what is most probable, the cell's own left out."""
        now = chunk[voters[0].dependent,][rows]
        groups = [self._groups[voter] for voter in voters]
        places = [chunk[voter.determinant][rows] for voter in voters]
        others = np.stack([g.rows[x] - 1 for g, x in zip(groups, places, strict=True)])  # (voters, rows)
        knows = np.stack([(x >= 0) & ~out for x, out in zip(places, silent, strict=True)]) & (others >= 1)
        voting = np.maximum(knows.sum(axis=0), 1)

        def probability(value: np.ndarray, is_own_left_out: bool) -> np.ndarray:
            total = np.zeros(len(rows))
            for g, x, n, known in zip(groups, places, others, knows, strict=True):
                count = np.where(g.first[x] == value, g.first_count[x], 0)
                count = np.where(g.second[x] == value, g.second_count[x], count) - (is_own_left_out & (value == now))
                total += np.where(known, count / (n + 1), 0)
            return total / voting

        best, chance = np.full(len(rows), -1, np.int32), np.zeros(len(rows))
        for g, x, known in zip(groups, places, knows, strict=True):
            value = g.known[x] if is_doubt else g.first[x]
            gets = np.where(known & (value >= 0) & (value != now), probability(value, True), 0)
            best, chance = np.where(gets > chance, value, best), np.maximum(gets, chance)
        if not is_doubt:
            best = np.where(chance > probability(now, False), best, -1)
        similarity = self._similarity.of(voters[0].dependent, now, best)
        confidence = 1 - (1 - chance) * (1 - similarity / 2)
        is_enough = np.full(len(rows), not is_doubt)
        if not any(voter.is_given for voter in voters):
            leads = np.any([g.established[now] for g in groups], axis=0) & (now >= 0)
            says = np.sum([known & (g.first[x] == best) for g, x, known in zip(groups, places, knows, strict=True)], 0)
            agreed = (says >= 2) & (says == knows.sum(axis=0)) & (chance >= AGREED)
            is_enough = (now < 0) | (~leads & (similarity >= ALIKE)) | agreed
        return Verdict(voters[0].dependent, rows, now, best, confidence, is_enough)


class _Similarity:
    """How alike two values of a column are as text, 0 to 1: 1 - edits / length of the longer."""

    def __init__(self, codes: Codes):
        self._codes = codes

    def of(self, name: str, one: np.ndarray, other: np.ndarray) -> np.ndarray:
        """Return the similarity of the values with these codes; 0 where there is none."""
        from rapidfuzz.distance import OSA

        pairs, place = np.unique(np.stack([one, other], axis=1), axis=0, return_inverse=True)
        both = np.flatnonzero((pairs >= 0).all(axis=1))
        texts = [to_text(self._codes.values[name].take(pairs[both, side])).to_pylist() for side in (0, 1)]
        similarity = np.zeros(len(pairs))
        similarity[both] = [OSA.normalized_similarity(a, b) for a, b in zip(*texts, strict=True)]
        return similarity[place.reshape(-1)]


def _blame(breaks: dict[Dependency, np.ndarray], chunk: Chunk) -> dict[tuple[str, ...], np.ndarray]:
    """Return for each determinant whether it is wrong itself in a row: it holds something, and the row breaks at
    least two and most of what it says."""
    said: dict[tuple[str, ...], list[np.ndarray]] = {}
    for dependency, broken in breaks.items():
        said.setdefault(dependency.determinant, []).append(broken & (chunk[dependency.dependent,] >= 0))
    found = {}
    for determinant, parts in said.items():
        count = np.sum(parts, axis=0)
        found[determinant] = (count >= 2) & (2 * count > len(parts))
    return found

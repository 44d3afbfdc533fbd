"""Columns that add nothing, as they follow from another one by a functional dependency that the profile found."""

import json
import pathlib
from collections.abc import Collection

from hvdedge.errors import InputError


def determined(path: pathlib.Path, names: Collection[str]) -> dict[str, str]:
    """Return column -> the one of `names` from which it follows; of those that follow from each other the first stays.

    Dependencies on one column count, as those on several often hold because these together are nearly a key.

    Args:
        path: a data_profile.json.
        names: the columns that come into question, in the table's order.
    Raises:
        InputError: where it cannot be read, or holds no functional dependencies.
    """
    try:
        listed = json.loads(path.read_bytes())["functional_dependencies"]
        follows = {(left[0], right) for left, right in listed if len(left) == 1}
    except (OSError, ValueError, KeyError, TypeError) as error:
        reason = getattr(error, "strerror", None) or ("it has none" if isinstance(error, KeyError) else "it is none")
        raise InputError(
            f"extract.dependencies: received {path}, in which no functional dependencies can be read "
            f"({reason}), allowed: a data_profile.json with them; add [profile.functional_dependencies]"
        ) from None
    found = {}
    for at, name in enumerate(names):
        others = [
            other
            for place, other in enumerate(names)
            if (other, name) in follows and (place < at or (name, other) not in follows)
        ]
        if others:
            found[name] = others[0]
    return found

"""A sparse random projection: fewer columns that keep the distances between rows, without a look at the data.

Source: Johnson and Lindenstrauss 1984, Extensions of Lipschitz mappings into a Hilbert space; Achlioptas 2003,
Database-friendly random projections.
"""

from mpi4py import MPI

from hvdedge.errors import InputError
from hvdedge.options import Count
from hvdedge.projections import flat_width, projected
from hvdedge.tensors import Features


def reduce(features: Features, comm: MPI.Intracomm, *, components: Count = 64, seed: int = 0) -> Features:
    """Replace the columns by fewer random combinations of them.

    Args:
        components: how many. Squared distances then are right within a share of about sqrt(8 / components).
        seed: of the random numbers; that of the pipeline by default.
    Returns:
        x float32 (rows, components).
    Raises:
        InputError: where x is no numbers, or has fewer columns.
    """
    width = flat_width(features, "random_projection")
    if components > width:
        raise InputError(
            f"extract.random_projection.components: received {components}, allowed: up to {width} columns; lower it"
        )
    return projected(features, {"as": "sparse_random", "components": components, "seed": seed}, components)

"""How good a model in a run's folder is on the rows of one split."""

import pathlib

import numpy as np

from hvdedge.errors import InputError
from hvdedge.parallel import MeteredComm, agree, block
from hvdedge.tensors import open_features


def judge(folder: pathlib.Path, split: str, comm: MeteredComm) -> dict:
    """Collective. Return the scores of the model in `folder` on the rows of a split of its features.

    Raises:
        RankError: of an InputError, where the split has no rows.
    """
    import keras

    from hvdedge import tasks
    from hvdedge.graph_layers import attach

    reader = open_features(folder / "features.h5")
    rows = reader.rows(split)
    with agree(comm):
        if not rows:
            raise InputError(
                f"extract.{split}: received a share that leaves no row for the {split}, allowed: more; raise it"
            )
    x, y = reader.read(split, block(rows, comm.size, comm.rank))
    model = keras.models.load_model(folder / "model.keras", compile=False)
    attach(model, reader)
    outputs = (
        model.predict(x, batch_size=256, verbose=0) if len(x) else np.empty((0, *model.output_shape[1:]), np.float32)
    )
    return tasks.find(reader.spec).judge(x, y, outputs, comm)

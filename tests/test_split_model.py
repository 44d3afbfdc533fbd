"""A model in slices on one rank: units are left out in training, and in nothing else."""

import keras
import numpy as np
import pytest
from mpi4py import MPI

from hvdedge import spatial_layers, tensor_layers
from hvdedge.layouts import Whole
from hvdedge.parallel import MeteredComm
from hvdedge.partition import Chain
from hvdedge.split_model import Splitting, split

DROPPING = (keras.layers.Dropout, keras.layers.SpatialDropout2D, keras.layers.GaussianNoise)


@pytest.mark.parametrize("kind", DROPPING)
@pytest.mark.parametrize("rule", [tensor_layers.rule, spatial_layers.rule])
def test_units_are_left_out_in_training_alone(kind, rule):
    comm = MeteredComm(MPI.COMM_SELF)
    chain = Chain(keras.Sequential([keras.Input((6, 6, 4)), kind(0.5), keras.layers.Flatten()]))
    first = spatial_layers.boxes((6, 6, 4), 1, 1) if rule is spatial_layers.rule else Whole()
    model, _ = split(Splitting(chain, comm, {"embeddings": "vocabulary"}), first, rule)
    x = np.ones((256, 6, 6, 4), np.float32)  # 1,024 channels: the mean of what is left varies by 0.03
    assert (np.asarray(model(x, training=False)) == 1).all()
    found = np.asarray(model(x, training=True))
    assert (np.abs(found - 1) > 0.01).mean() > 0.3 and 0.7 < found.mean() < 1.3

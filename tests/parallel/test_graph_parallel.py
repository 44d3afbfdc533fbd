"""A graph over 1 to 4 ranks: steps are those of dense matrices on one, also with fewer nodes than ranks."""

import json
import pathlib

import keras
import numpy as np
import pytest
import tensorflow as tf
from small_graphs import GraphRows

from hvdedge.models import gcn

PROGRAM = pathlib.Path(__file__).resolve().parent.parent / "train_rows.py"
EPOCHS = 3
MODELS = [
    {"nodes": 61, "model": {"dropout": 0.0, "layers": 3, "weight_decay": 0.05}, "optimizer": "adam"},
    {"nodes": 3, "model": {"dropout": 0.0, "layers": 1, "weight_decay": 0.0}, "optimizer": "sgd"},
]


def trained(nodes, model, optimizer):
    """The weights after the epochs and the losses before each: full batches, the formula with dense matrices."""
    rows = GraphRows(nodes)
    weights = gcn.build(rows.spec, hidden=4, seed=7, **model).trainable_variables
    step = keras.optimizers.Adam(0.1) if optimizer == "adam" else keras.optimizers.SGD(0.1, momentum=0.9)
    (x, y), adjacency, losses = rows.read("train", slice(None)), rows.adjacency.toarray(), []
    for _ in range(EPOCHS):
        with tf.GradientTape() as tape:
            h = tf.constant(rows.x)
            for weight in weights:
                h = tf.matmul(adjacency, tf.matmul(h if weight is weights[0] else tf.nn.relu(h), weight.value))
            loss = tf.reduce_mean(tf.nn.sparse_softmax_cross_entropy_with_logits(y, tf.gather(h, x)))
            total = loss + model["weight_decay"] / 2 * tf.reduce_sum(weights[0].value ** 2)
        losses.append(float(loss))
        step.apply(tape.gradient(total, [weight.value for weight in weights]), weights)
    return np.concatenate([np.asarray(weight).ravel() for weight in weights]), losses


@pytest.mark.parametrize("ranks", [2, *(pytest.param(ranks, marks=pytest.mark.slow) for ranks in (1, 3, 4))])
def test_training_is_that_of_the_full_batch(mpirun, ranks, tmp_path):
    entries = [
        {"folder": str(tmp_path / str(number)), "epochs": EPOCHS, "strategy": "graph_parallel", **model}
        for number, model in enumerate(MODELS)
    ]
    lines = mpirun(ranks, PROGRAM, json.dumps(entries), seconds=200).splitlines()
    found = [json.loads(line) for line in lines if line.startswith("{")]
    for told, model in zip(found, MODELS, strict=True):
        flat, losses = trained(**model)
        assert losses[-1] < losses[0] - 0.005
        np.testing.assert_allclose(told["flat"], flat, atol=2e-5)  # float32, summed in another order
        np.testing.assert_allclose(told["curves"]["loss"], losses, atol=2e-5)
        assert None not in told["curves"]["validation_loss"]
        assert len({*told["digests"]}) == 1  # alike on all ranks
        held, halo = told["metrics"]["held_nodes"], told["metrics"]["halo_nodes"]
        assert len(held) == ranks and sum(held) == model["nodes"]
        assert (ranks == 1) == (sum(halo) == 0)

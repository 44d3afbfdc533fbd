"""What trains on a graph beside its strategies: penalties count once, and what cannot be trained so is refused."""

import numpy as np
import pytest
import tensorflow as tf
import train_rows
from small_graphs import GraphRows

from hvdedge.errors import InputError
from hvdedge.graph_layers import attach
from hvdedge.graph_task import GraphTask
from hvdedge.local_steps import LocalSteps
from hvdedge.models import gcn
from hvdedge.parted_task import PartedTask
from hvdedge.training import TrainingTask

GRAPH = GraphRows(40)


@pytest.fixture
def task(comm, tmp_path):
    """Make a task of a kind on a small graph."""

    def make(kind, model=None, **settings):
        if model is None:
            model = gcn.build(GRAPH.spec, dropout=0.0, seed=2, weight_decay=0.4)
            attach(model, GRAPH)
        return kind(
            model,
            GRAPH,
            comm,
            {**train_rows.SETTINGS, "rows": "shared", **settings},
            **{"seed": 1, "folder": tmp_path, "key": "", "memory_bytes": 10**9, "scratch": tmp_path},
            **{"writer": tf.summary.create_noop_writer, "tell": print, "note": print, "lost": print},
        )

    return make


def test_a_penalty_on_weights_counts_once_in_a_step_of_several_ranks_and_parts(task):
    made = task(TrainingTask)
    x, y = GRAPH.read("train", slice(None))
    variables = made.variables()
    with tf.GradientTape() as tape:
        losses, _ = made.losses(x, y, training=True)
        loss = tf.reduce_mean(losses) + 0.2 * tf.reduce_sum(variables[0] ** 2)
    wanted = tape.gradient(loss, variables)
    weights = np.full(len(y), 1 / len(y), np.float32)
    total, shares = [0.0] * len(variables), []
    for cut in (slice(0, 3), slice(3, 4), slice(4, None)):
        told, _, grads = made.gradients(x[cut], y[cut], weights[cut])
        total = [one + another for one, another in zip(total, grads, strict=True)]
        shares.append(float(told))
    for one, two in zip(total, wanted, strict=True):
        np.testing.assert_allclose(one, two, atol=1e-5)  # float32, summed in another order
    assert sum(shares) == pytest.approx(float(tf.reduce_mean(losses)), rel=1e-5)  # what is told is without it


def test_a_penalty_counts_once_in_a_step_of_a_rank_by_itself(task):
    made = task(TrainingTask, optimizer="sgd", momentum=0.0, learning_rate=1.0)
    x, y = GRAPH.read("train", slice(0, 4))
    before = made.variables()[0].numpy()
    for variable in made.variables()[1:]:
        variable.assign(tf.zeros_like(variable))  # then nothing but the penalty has a gradient at the first weights
    batch = train_rows.training.Batch(x, y, np.full(4, 1 / 16, np.float32), 16)
    local = LocalSteps(made)
    local.look(batch)
    local.go()
    np.testing.assert_allclose(made.variables()[0], (1 - 0.4) * before, atol=1e-6)


def test_gradients_in_a_graph_have_the_shapes_of_the_weights_without_a_penalty_too(task):
    model = gcn.build(GRAPH.spec, weight_decay=0.0)
    attach(model, GRAPH)
    made = task(TrainingTask, model)
    step = tf.function(made.gradients, input_signature=made.signature).get_concrete_function()
    assert [shape.as_list() for shape in step.output_shapes[2]] == [[5, 16], [16, 3]]


def test_what_cannot_be_trained_with_parts_of_a_graph_is_refused(task):
    with pytest.raises(InputError, match="received graph_parallel for a model that looks at no graph, allowed: gcn"):
        task(GraphTask, train_rows.network(0.0))
    with pytest.raises(InputError, match="train.neighbours: received some with graph_parallel"):
        task(GraphTask, gcn.build(GRAPH.spec, neighbours=(2, 2)))
    with pytest.raises(InputError, match='train.precision: received "bfloat16" with graph_parallel'):
        task(GraphTask, precision="bfloat16")
    with pytest.raises(InputError, match='train.rows: received "dealt"'):
        task(GraphTask, rows="dealt")
    with pytest.raises(InputError, match="received one that cuts the model for a network on a graph"):
        task(PartedTask)

"""tf.distribute.MultiWorkerMirroredStrategy: two processes, one thread each, ring all-reduce over gRPC."""

import json
import os
import socket
import subprocess
import sys
import time


def main():
    """Start two workers, which find each other by TF_CONFIG, and print the sum of what they train a second."""
    ports = [_free_port() for _ in range(2)]
    workers = []
    for index in range(2):
        cluster = {
            "cluster": {"worker": [f"127.0.0.1:{port}" for port in ports]},
            "task": {"type": "worker", "index": index},
        }
        environment = {**os.environ, "TF_CONFIG": json.dumps(cluster)}
        workers.append(
            subprocess.Popen([sys.executable, __file__, "worker"], env=environment, stdout=subprocess.PIPE, text=True)
        )
    speeds = [worker.communicate(timeout=600)[0] for worker in workers]
    print(
        "examples_per_second",
        sum(float(line.split()[1]) for said in speeds for line in said.splitlines() if line.startswith("worker ")),
    )


def _work():
    import tensorflow as tf

    tf.config.threading.set_intra_op_parallelism_threads(1)
    tf.config.threading.set_inter_op_parallelism_threads(1)
    strategy = tf.distribute.MultiWorkerMirroredStrategy()

    from images import BATCH_SIZE, CLASSES, EPOCHS, SHAPE, STEPS, images

    from hvdedge.models import cnn

    with strategy.scope():
        model = cnn.build({"task": "classification", "input_shape": SHAPE, "classes": [*range(CLASSES)]}, seed=7)
        optimizer = tf.keras.optimizers.Adam(0.001)
        optimizer.build(model.trainable_variables)
    losses = tf.keras.losses.SparseCategoricalCrossentropy(from_logits=True, reduction=None)

    def update(x, y):
        with tf.GradientTape() as tape:
            loss = tf.reduce_sum(losses(y, model(x, training=True))) / (2 * BATCH_SIZE)
        variables = [weight.value for weight in model.trainable_variables]
        grads = tf.distribute.get_replica_context().all_reduce("sum", tape.gradient(loss, variables))
        optimizer.apply(grads, model.trainable_variables)
        return loss

    @tf.function
    def step(x, y):
        return strategy.run(update, (x, y))

    x, y = images()
    rank = json.loads(os.environ["TF_CONFIG"])["task"]["index"]
    x, y = x[rank::2], y[rank::2]
    for epoch in range(EPOCHS):
        for number in range(STEPS):
            rows = slice(number * BATCH_SIZE, (number + 1) * BATCH_SIZE)
            step(x[rows], y[rows])
        if epoch == 0:
            began = time.perf_counter()
    print("worker", len(y) * (EPOCHS - 1) / (time.perf_counter() - began), flush=True)


def _free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


if __name__ == "__main__":
    _work() if "worker" in sys.argv else main()

"""Keras `fit` in one process with two threads, on the rows of both workers in batches of 128."""

import time

import keras
import tensorflow as tf
from images import BATCH_SIZE, CLASSES, EPOCHS, SHAPE, images

from hvdedge.models import cnn


class Clock(keras.callbacks.Callback):
    """The seconds of each epoch."""

    def __init__(self):
        super().__init__()
        self.seconds = []

    def on_epoch_begin(self, epoch, logs=None):
        self._began = time.perf_counter()

    def on_epoch_end(self, epoch, logs=None):
        self.seconds.append(time.perf_counter() - self._began)


def main():
    """Train, and print the examples a second after the first epoch."""
    tf.config.threading.set_intra_op_parallelism_threads(2)
    tf.config.threading.set_inter_op_parallelism_threads(2)
    model = cnn.build({"task": "classification", "input_shape": SHAPE, "classes": [*range(CLASSES)]}, seed=7)
    model.compile("adam", keras.losses.SparseCategoricalCrossentropy(from_logits=True), metrics=["accuracy"])
    x, y = images()
    clock = Clock()
    model.fit(x, y, batch_size=BATCH_SIZE, epochs=EPOCHS, verbose=0, callbacks=[clock])
    print("examples_per_second", len(y) * (EPOCHS - 1) / sum(clock.seconds[1:]), flush=True)


if __name__ == "__main__":
    main()

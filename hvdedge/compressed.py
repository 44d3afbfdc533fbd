"""A compressed model: what a compressor hands to the next one, what is stored, and how a stored one is run."""

import gzip
import time
from dataclasses import dataclass
from typing import Any

import numpy as np

BATCH_ROWS = 256
LATENCY_RUNS = 50
RECURRENT = ("Bidirectional", "GRU", "LSTM")


@dataclass
class CompressedModel:
    """A Keras model on its way through a chain of compressors.

    Args:
        model: the keras.Model with the weights as they are now.
        integer: whether it is stored with 8-bit integers for weights and, but for level numbers among quantities and
            the states of recurrent layers, activations.
    """

    model: Any
    integer: bool = False

    def weights_left(self) -> float:
        """Return the share of the weights that is not zero."""
        weights = [np.asarray(weight) for weight in self.model.trainable_weights]
        return sum(int(np.count_nonzero(weight)) for weight in weights) / sum(weight.size for weight in weights)

    def store(self, sample: np.ndarray) -> bytes:
        """Return the TensorFlow Lite file, gzipped, as zeroed weights are small only then.

        Args:
            sample: training rows, float32 (rows, ...), from which the ranges of integer activations are taken.
        """
        import tensorflow as tf
        from tensorflow.python.framework.convert_to_constants import convert_variables_to_constants_v2

        is_float = self.model.inputs[0].dtype == "float32"
        has_levels = any(type(layer).__name__ == "Embedding" for layer in self.model.layers)
        is_recurrent = any(type(layer).__name__ in RECURRENT for layer in self.model.layers)
        if is_recurrent:  # of one row at a time, as TensorFlow Lite has no states of any number of rows
            row = tf.TensorSpec((1, *self.model.inputs[0].shape[1:]), self.model.inputs[0].dtype)
            graph = convert_variables_to_constants_v2(
                tf.function(self.model).get_concrete_function(row, training=False)
            )
            converter = tf.lite.TFLiteConverter.from_concrete_functions([graph])
        else:
            converter = tf.lite.TFLiteConverter.from_keras_model(self.model)
        if self.integer:
            converter.optimizations = [tf.lite.Optimize.DEFAULT]
        keeps_floats = is_recurrent or (is_float and has_levels)  # level numbers among quantities are lost in 8 bits
        if self.integer and not keeps_floats:
            converter.representative_dataset = lambda: ([row[None]] for row in sample)
            converter.target_spec.supported_ops = [tf.lite.OpsSet.TFLITE_BUILTINS_INT8]
            converter.inference_input_type = converter.inference_output_type = tf.int8
        return gzip.compress(converter.convert(), mtime=0)


class Runner:
    """A stored model in the interpreter that a small device would use; needs no TensorFlow."""

    def __init__(self, stored: bytes, threads: int = 1):
        from ai_edge_litert.interpreter import Interpreter

        self._interpreter = Interpreter(model_content=gzip.decompress(stored), num_threads=threads)
        self._rows = -1
        self._at_once = BATCH_ROWS if self._interpreter.get_input_details()[0]["shape_signature"][0] < 0 else 1

    def predict(self, x: np.ndarray) -> np.ndarray:
        """Return what the model gives for each row, such as a logit a class: float32 (rows, ...)."""
        parts = [self._invoke(x[start : start + self._at_once]) for start in range(0, len(x), self._at_once)]
        return np.concatenate(parts) if parts else np.empty((0, *self._output()["shape"][1:]), np.float32)

    def latency_seconds(self, row: np.ndarray) -> float:
        """Return the median time of one row on this host."""
        self._invoke(row[None])
        taken = []
        for _ in range(LATENCY_RUNS):
            began = time.perf_counter()
            self._invoke(row[None])
            taken.append(time.perf_counter() - began)
        return float(np.median(taken))

    def _invoke(self, x: np.ndarray) -> np.ndarray:
        if len(x) != self._rows:
            self._interpreter.resize_tensor_input(self._interpreter.get_input_details()[0]["index"], x.shape)
            self._interpreter.allocate_tensors()
            self._rows = len(x)
        entry = self._interpreter.get_input_details()[0]
        self._interpreter.set_tensor(entry["index"], _to_integer(x, entry))
        self._interpreter.invoke()
        return _from_integer(self._interpreter.get_tensor(self._output()["index"]), self._output())

    def _output(self) -> dict:
        return self._interpreter.get_output_details()[0]


def _to_integer(values: np.ndarray, entry: dict) -> np.ndarray:
    if entry["dtype"] != np.int8:
        return values.astype(entry["dtype"])
    scale, zero = entry["quantization"]
    return np.clip(np.round(values / scale + zero), -128, 127).astype(np.int8)


def _from_integer(values: np.ndarray, entry: dict) -> np.ndarray:
    if entry["dtype"] != np.int8:
        return values.astype(np.float32)
    scale, zero = entry["quantization"]
    return ((values.astype(np.float32) - zero) * scale).astype(np.float32)

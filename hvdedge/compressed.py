"""A compressed model: what a compressor hands to the next one, what is stored, and how a stored one is run."""

import gzip
import time
import zlib
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Literal

import numpy as np

from hvdedge.errors import InputError
from hvdedge.weight_coding import MAGIC, Place, most_bytes, pack, unpack

BATCH_ROWS = 256
LATENCY_RUNS, LATENCY_SECONDS = 50, 0.2  # at least, of both
RECURRENT = ("Bidirectional", "GRU", "LSTM")
INTEGERS = {np.int8: (-128, 127), np.int16: (-32768, 32767)}
NUMBERS: dict[int, Literal["<f4", "i1"]] = {
    0: "<f4",
    9: "i1",
}  # TensorFlow Lite's types of buffers that are coded -> NumPy's


@dataclass
class CompressedModel:
    """A Keras model on its way through a chain of compressors.

    Args:
        model: the keras.Model with the weights as they are now.
        bits: of the integers that it is stored with, 8 or 16, for activations, unless these stay floats; its weights
            have 8 then. 0: it is stored in float32.
        kept: place among the trainable weights -> which of its numbers are not pruned.
        coding: how the file is coded: by gzip; or weights in as few bits as they have different values; or these by an
            entropy coder.
    """

    model: Any
    bits: Literal[0, 8, 16] = 0
    kept: dict[int, np.ndarray] = field(default_factory=dict)
    coding: Literal["gzip", "packed", "entropy"] = "gzip"

    @property
    def suffix(self) -> str:
        """How the name of its file ends."""
        return ".tflite.gz" if self.coding == "gzip" else ".tflite.packed"

    @property
    def weights(self) -> int:
        """How many numbers of its weights are not zero."""
        return sum(int(np.count_nonzero(np.asarray(weight))) for weight in self.learnt)

    @property
    def learnt(self) -> list[Any]:
        """The variables of its weights, those of frozen layers among them."""
        found = [variable for layer in self.model._flatten_layers() for variable in layer._trainable_variables]
        return [*{id(variable): variable for variable in found}.values()]

    @property
    def is_recurrent(self) -> bool:
        return any(type(layer).__name__ in RECURRENT for layer in self.model.layers)

    @property
    def keeps_floats(self) -> bool:
        """Whether what goes between its layers stays in float32, as the states of recurrent layers do.

        So do level numbers among quantities, which would be lost in 8 bits.
        """
        has_levels = any(type(layer).__name__ == "Embedding" for layer in self.model.layers)
        return self.is_recurrent or (self.model.inputs[0].dtype == "float32" and has_levels)

    def code_weights(self) -> None:
        """Let it be stored with its weights in few bits, unless they are coded already."""
        self.coding = "packed" if self.coding == "gzip" else self.coding

    def store(self, sample: np.ndarray | None) -> bytes:
        """Return the TensorFlow Lite file, coded.

        Args:
            sample: training rows, float32 (rows, ...), from which the ranges of integer activations are taken; None
                for a model without these.
        Raises:
            InputError: where it gets so small that nobody would unpack it.
        """
        file = self._converted(sample)
        if self.coding == "gzip":
            content = gzip.compress(file, mtime=0)
        else:
            content = pack(file, _weights_of(file), entropy=self.coding == "entropy")
        if len(file) > most_bytes(content):
            raise InputError(
                f"compress: received a model of {len(file):,} bytes that is stored in {len(content):,}, allowed: at "
                f"least one for {len(file) // (most_bytes(content) // len(content)):,}; leave more weights"
            )
        return content

    def _converted(self, sample: np.ndarray | None) -> bytes:
        import tensorflow as tf
        from tensorflow.python.framework.convert_to_constants import convert_variables_to_constants_v2

        if self.is_recurrent:  # of one row at a time, as TensorFlow Lite has no states of any number of rows
            row = tf.TensorSpec((1, *self.model.inputs[0].shape[1:]), self.model.inputs[0].dtype)
            graph = convert_variables_to_constants_v2(
                tf.function(self.model).get_concrete_function(row, training=False)
            )
            converter = tf.lite.TFLiteConverter.from_concrete_functions([graph])
        else:
            converter = tf.lite.TFLiteConverter.from_keras_model(self.model)
        if self.bits:
            converter.optimizations = [tf.lite.Optimize.DEFAULT]
        if self.bits and not self.keeps_floats:
            assert sample is not None
            converter.representative_dataset = lambda: ([row[None]] for row in sample)
            ways = {
                8: (tf.lite.OpsSet.TFLITE_BUILTINS_INT8, tf.int8),
                16: (tf.lite.OpsSet.EXPERIMENTAL_TFLITE_BUILTINS_ACTIVATIONS_INT16_WEIGHTS_INT8, tf.int16),
            }
            operations, type_ = ways[self.bits]
            converter.target_spec.supported_ops = [operations]
            converter.inference_input_type = converter.inference_output_type = type_
        return converter.convert()


def _weights_of(file: bytes) -> list[Place]:
    """Return where the constant numbers of a TensorFlow Lite file lie."""
    from tensorflow.lite.python import schema_py_generated as schema

    model = schema.Model.GetRootAsModel(file, 0)
    first = np.frombuffer(file, np.uint8).__array_interface__["data"][0]
    places = {}
    for number in range(model.SubgraphsLength()):
        graph = model.Subgraphs(number)
        for tensor in map(graph.Tensors, range(graph.TensorsLength())):
            content = model.Buffers(tensor.Buffer()).DataAsNumpy()
            if tensor.Type() in NUMBERS and isinstance(content, np.ndarray):
                type_ = NUMBERS[tensor.Type()]
                start = content.__array_interface__["data"][0] - first
                places[start] = Place(start, len(content) // np.dtype(type_).itemsize, type_)
    return [places[start] for start in sorted(places)]


def unpacked(stored: bytes) -> bytes:
    """Return the TensorFlow Lite file that was stored.

    Raises:
        ValueError: where it is cut off or damaged, or would be larger than a file may be.
    """
    if stored.startswith(MAGIC):
        return unpack(stored)
    most, stream = most_bytes(stored), zlib.decompressobj(wbits=16 + zlib.MAX_WBITS)
    try:
        file = stream.decompress(stored, most + 1)
    except zlib.error as error:
        raise ValueError(f"it is neither gzip nor packed weights, or damaged ({error})") from None
    if len(file) > most:
        raise ValueError(f"it unpacks to more than {most:,} bytes")
    if not stream.eof or stream.unused_data:
        raise ValueError("it is cut off" if not stream.eof else "there is something behind its end")
    return file


class Runner:
    """A stored model in the interpreter that a small device would use; needs no TensorFlow."""

    def __init__(self, stored: bytes, threads: int = 1):
        from ai_edge_litert.interpreter import Interpreter

        self._interpreter = Interpreter(model_content=unpacked(stored), num_threads=threads)
        self._rows = -1
        self._at_once = BATCH_ROWS if self._interpreter.get_input_details()[0]["shape_signature"][0] < 0 else 1

    def predict(self, x: np.ndarray) -> np.ndarray:
        """Return what the model gives for each row, such as a logit a class: float32 (rows, ...)."""
        parts = [self._invoke(x[start : start + self._at_once]) for start in range(0, len(x), self._at_once)]
        return np.concatenate(parts) if parts else np.empty((0, *self._output()["shape"][1:]), np.float32)

    def latencies_seconds(self, row: np.ndarray, begin: Callable[[], Any] = lambda: None) -> np.ndarray:
        """Return the times that one row took on this host, again and again: float64 (times,).

        Args:
            begin: called behind a first time, which is not among them.
        """
        self._invoke(row[None])
        begin()
        taken: list[float] = []
        while len(taken) < LATENCY_RUNS or sum(taken) < LATENCY_SECONDS:
            began = time.perf_counter()
            self._invoke(row[None])
            taken.append(time.perf_counter() - began)
        return np.array(taken)

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
    if entry["dtype"] not in INTEGERS or not entry["quantization"][0]:
        return values.astype(entry["dtype"])
    scale, zero = entry["quantization"]
    return np.clip(np.round(values / scale + zero), *INTEGERS[entry["dtype"]]).astype(entry["dtype"])


def _from_integer(values: np.ndarray, entry: dict) -> np.ndarray:
    if entry["dtype"] not in INTEGERS:
        return values.astype(np.float32)
    scale, zero = entry["quantization"]
    return ((values.astype(np.float32) - zero) * scale).astype(np.float32)

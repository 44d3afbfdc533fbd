"""Transfer learning: a model begins with the weights of another one's layers, some of which may stay as they are.

Layers are paired by name. One whose weights have other shapes than those of its namesake, such as the last one where
there are other classes, begins as it would without.

Source: Yosinski et al. 2014, How transferable are features in deep neural networks?
"""

import fnmatch
import pathlib
from collections.abc import Sequence
from dataclasses import dataclass

import keras
import numpy as np
from mpi4py import MPI

from hvdedge.columns import shown
from hvdedge.errors import InputError, one_line
from hvdedge.parallel import agree, bcast_json
from hvdedge.records import sha256


@dataclass(frozen=True)
class Transfer:
    """What a model takes over of a file.

    Attributes:
        path, sha256: of the file.
        taken, new: the names of the model's layers that begin with its weights, and that do not.
        frozen: those of the first that are not trained.
    """

    path: pathlib.Path
    sha256: str
    taken: list[str]
    new: list[str]
    frozen: list[str]

    @property
    def told(self) -> str:
        """What a record tells of it."""
        parts = [f"began with the weights of {shown(self.taken)} of {self.path.name}"]
        parts += [
            f"{shown(self.new)} as without" if self.new else "",
            f"{shown(self.frozen)} stay so" * bool(self.frozen),
        ]
        return "; ".join(filter(None, parts))

    def arrays(self, model: keras.Model) -> list[tuple[str, np.ndarray]]:
        """Return the file's weights by the places that they have in the model, named as in a checkpoint."""
        layers = _weighty(_load(self.path))
        place_of = {id(variable): place for place, variable in enumerate(model.variables)}
        return [
            (f"weights/{place_of[id(variable)]}", np.asarray(value))
            for name in self.taken
            for variable, value in zip(_weighty(model)[name].weights, layers[name].weights, strict=True)
        ]


def pair(model: keras.Model, path: str, frozen: Sequence[str], comm: MPI.Intracomm) -> Transfer:
    """Collective. Return what a model takes over of the file that the root has, and let what is frozen not be trained.

    Args:
        model: built, with weights or without.
        path: of a Keras file, such as a run's model.keras.
        frozen: names of layers, or patterns.
    Raises:
        InputError: on every rank, where the file cannot be read, no layer of it fits, a name fits no layer, or one that
            is not taken over, or nothing is left to be trained.
    """
    found: dict[str, list[list[int]]] = {}
    digest = ""
    with agree(comm):
        if comm.rank == 0:
            found = {name: _shapes(layer) for name, layer in _weighty(_load(pathlib.Path(path))).items()}
            digest = sha256(pathlib.Path(path))
    found, digest = bcast_json([found, digest], comm)
    layers = _weighty(model)
    taken = [name for name, layer in layers.items() if found.get(name) == _shapes(layer)]
    if not taken:
        raise InputError(
            f"train.initial_weights: received {path} with {_listed(found)}, allowed: with a layer named and shaped as "
            f"one of train.model, {_listed({name: _shapes(layer) for name, layer in layers.items()})}; take another"
        )
    kept: set[str] = set()
    for pattern in frozen:
        named = fnmatch.filter(layers, pattern)
        if not named or {*named} - {*taken}:
            wrong = "no layer" if not named else f"{shown([name for name in named if name not in taken])} too"
            raise InputError(
                f"train.frozen: received {pattern!r}, which names {wrong}, allowed: layers whose weights are taken "
                f"over, or patterns ({shown(taken)}); change it"
            )
        kept |= {*named}
    freeze(model, frozen)
    if not model.trainable_variables:
        raise InputError(
            f"train.frozen: received {list(frozen)}, which leaves no weight to be trained, allowed: fewer of "
            f"{shown(taken)}; leave some out"
        )
    new = [name for name in layers if name not in taken]
    return Transfer(pathlib.Path(path), digest, taken, new, [name for name in taken if name in kept])


def freeze(model: keras.Model, frozen: Sequence[str]) -> None:
    """Let the layers that are named, or fit a pattern, not be trained."""
    layers = _weighty(model)
    for name in {name for pattern in frozen for name in fnmatch.filter(layers, pattern)}:
        layers[name].trainable = False


def thaw(model: keras.Model) -> None:
    """Let all layers be trained again, as those do that read the model's file."""
    for layer in _weighty(model).values():
        layer.trainable = True


def _load(path: pathlib.Path) -> keras.Model:
    from hvdedge import graph_layers  # noqa: F401 - registers its layers

    try:
        return keras.saving.load_model(path, compile=False)
    except Exception as error:  # noqa: BLE001 - what Keras raises of a file that is none is any of them
        raise InputError(
            f"{path}: received no Keras file that can be read ({one_line(error)}), allowed: a model.keras of a run, or "
            "another that Keras saved; get it again"
        ) from None


def _weighty(model: keras.Model) -> dict[str, keras.Layer]:
    """Return by name the layers that have weights."""
    return {layer.name: layer for layer in model.layers if layer.weights}


def _shapes(layer: keras.Layer) -> list[list[int]]:
    return [[*variable.shape] for variable in layer.weights]


def _listed(shapes: dict[str, list[list[int]]]) -> str:
    return shown([f"{name} {' x '.join(map(str, its[0]))}" for name, its in shapes.items()])

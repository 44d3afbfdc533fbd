"""Models of the same form with layers of other widths."""

from collections.abc import Mapping
from typing import Any

import keras

from hvdedge.errors import InputError, one_line

WIDTHS = {"Dense": "units", "Conv1D": "filters", "Conv2D": "filters", "GRU": "units", "LSTM": "units"}


def widths(model: keras.Model) -> dict[str, int]:
    """Return by name how wide the hidden layers are, by the order in which they work: all but those that give outputs.

    Layers inside of others, such as the two of a Bidirectional, count by the outer one's name.
    """
    last = {operation.name for operation in _givers(model)}
    found = {}
    for layer in model.layers:
        inner = getattr(layer, "forward_layer", layer)
        key = WIDTHS.get(type(inner).__name__)
        if key and layer.name not in last:
            found[layer.name] = int(getattr(inner, key))
    return found


def with_widths(model: keras.Model, wanted: Mapping[str, int], where: str) -> keras.Model:
    """Return a model with other widths, with new weights.

    Raises:
        InputError: where the layers do not fit together then; `where` names the option.
    """
    config = _changed(model.get_config(), wanted)
    try:
        return type(model).from_config(config)
    except (ValueError, TypeError) as error:
        raise InputError(
            f"{where}: received a model whose layers do not fit together in other widths ({one_line(error)}), allowed: "
            "those that do; leave it out"
        ) from None


def _givers(model: keras.Model) -> list[Any]:
    """Return the layers with weights whose outputs are the model's, through layers without weights."""
    found, asked = [], [tensor._keras_history.operation for tensor in model.outputs]
    while asked:
        layer = asked.pop()
        if getattr(layer, "weights", None):
            found.append(layer)
        else:
            asked += [parent.operation for node in layer._inbound_nodes for parent in node.parent_nodes]
    return found


def _changed(config: Any, wanted: Mapping[str, int], name: str = "") -> Any:
    """Return a configuration with these widths and without the shapes of what was built."""
    if isinstance(config, list | tuple):
        return type(config)(_changed(item, wanted, name) for item in config)
    if not isinstance(config, dict):
        return config
    its = config.get("config")
    name = its["name"] if isinstance(its, dict) and its.get("name") in wanted else name
    changed = {key: _changed(value, wanted, name) for key, value in config.items() if key != "build_config"}
    key = WIDTHS.get(str(config.get("class_name")))
    if key and name and isinstance(changed.get("config"), dict):
        changed["config"][key] = wanted[name]
    return changed

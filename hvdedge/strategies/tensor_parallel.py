"""Tensor parallelism: each rank holds some of the numbers of every layer's weights, and all see each batch.

    dense pair     x -> A's columns of rank r -> activation -> B's rows of rank r  --sum over ranks-->  y, on all
    convolutions   channels of rank r -> its kernels -> sum over ranks, of which each gets its own channels
    embedding      tokens of rank r's part of the vocabulary, 0 for others  --sum over ranks-->  vectors, on all
    LSTM, GRU      gates of rank r's units -> their state  --all gather-->  state for the next time

A pair of dense layers takes one all-reduce forward and one backward. The loss is computed on every rank, of whole
outputs. What runs whole, such as a layer of fewer outputs than ranks, has the same weights on all; they are made equal
at the end of each epoch, should machines round unlike. Units are left out (dropout) by each rank among its own.

A batch has `batch_size` rows and the learning rate is one rank's, as there is one model.

Source: Shoeybi et al. 2019, Megatron-LM: training multi-billion parameter language models using model parallelism.
How layers are cut: `hvdedge.tensor_layers`; the exchanges: `hvdedge.collective_ops`.
"""

from typing import Literal

from hvdedge import tensor_layers
from hvdedge.layouts import Whole
from hvdedge.parallel import MeteredComm
from hvdedge.split_task import SplitTask
from hvdedge.training import History


def train(task: SplitTask, comm: MeteredComm, *, embeddings: Literal["vocabulary", "width"] = "vocabulary") -> History:
    """Collective. Train with a slice of every layer on each rank.

    Args:
        embeddings: what is cut of them: the vocabulary, or the numbers of each vector.
    Raises:
        InputError: where the model cannot be cut for these ranks, or a part does not fit.
    """
    task.deal(1, 0)
    task.split(comm, Whole(), tensor_layers.rule, embeddings=embeddings)
    return task.learn(comm)

"""Graph parallelism: each rank holds a block of the graph's nodes, their features and their rows of A_hat.

    rank 0   h of nodes 0 .. 3   -- W -->  h W of 0 .. 3   \\  halo  /   rows 0 .. 3 of A_hat (h W)  -->  next layer
    rank 1   h of nodes 4 .. 7   -- W -->  h W of 4 .. 7   /  <-->  \\   rows 4 .. 7 of A_hat (h W)

Between a convolution's two products ranks send each other the rows of nodes that the others' nodes lead to, each once;
backward the gradients of these rows go the same way back and are added up. The weights are the same on all ranks, and
their gradients are summed in each step.

A step is of all training nodes, one of full-batch gradient descent whatever the number of ranks: `batch_size` means
nothing here, and the learning rate is one rank's. How the nodes are numbered decides how many rows travel.

Source: Tripathy, Yelick and Buluc 2020, Reducing communication in graph neural network training (CAGNET; the 1D
algorithm, here with the rows that are needed alone); Jia et al. 2020, Improving the accuracy, scalability, and
performance of graph neural networks with ROC.
"""

from hvdedge.graph_task import GraphTask
from hvdedge.parallel import MeteredComm
from hvdedge.training import History


def train(task: GraphTask, comm: MeteredComm) -> History:
    """Collective. Train on the whole graph in each step, with a block of its nodes on each rank.

    Raises:
        InputError: where the model is of no graph, or draws some neighbours alone.
    """
    task.part(comm)
    return task.learn_by(task.step, comm)

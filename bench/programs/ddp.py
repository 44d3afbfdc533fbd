"""PyTorch DistributedDataParallel over gloo: two processes on this machine, one thread each."""

import os
import pathlib
import socket
import tempfile
import time

import torch
import torch.distributed
import torch.multiprocessing
from images import BATCH_SIZE, CLASSES, EPOCHS, STEPS, images
from torch import nn


def main():
    """Start two workers and print the sum of what they train a second."""
    with tempfile.TemporaryDirectory() as folder:
        torch.multiprocessing.spawn(_work, (folder,), nprocs=2)
        print("examples_per_second", sum(float((pathlib.Path(folder) / str(rank)).read_text()) for rank in range(2)))


def _work(rank, folder):
    torch.set_num_threads(1)
    os.environ["GLOO_SOCKET_IFNAME"] = next(name for _, name in socket.if_nameindex() if name.startswith("lo"))
    torch.distributed.init_process_group("gloo", init_method=f"file://{folder}/meeting", rank=rank, world_size=2)
    model = nn.Sequential(
        *(nn.Conv2d(1, 32, 3), nn.ReLU(), nn.Conv2d(32, 64, 3), nn.ReLU(), nn.MaxPool2d(2), nn.Dropout(0.25)),
        *(nn.Flatten(), nn.Linear(64 * 12 * 12, 128), nn.ReLU(), nn.Dropout(0.5), nn.Linear(128, CLASSES)),
    )
    model = nn.parallel.DistributedDataParallel(model)
    optimizer = torch.optim.Adam(model.parameters(), 0.001)
    x, y = (torch.from_numpy(rows[rank::2].copy()) for rows in images())
    x = x.permute(0, 3, 1, 2).contiguous()
    for epoch in range(EPOCHS):
        for number in range(STEPS):
            rows = slice(number * BATCH_SIZE, (number + 1) * BATCH_SIZE)
            optimizer.zero_grad()
            nn.functional.cross_entropy(model(x[rows]), y[rows]).backward()
            optimizer.step()
        if epoch == 0:
            began = time.perf_counter()
    speed = len(y) * (EPOCHS - 1) / (time.perf_counter() - began)
    (pathlib.Path(folder) / str(rank)).write_text(str(speed))
    torch.distributed.destroy_process_group()


if __name__ == "__main__":
    main()

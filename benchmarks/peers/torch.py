"""PyTorch: the usual loop, over rows of tensors or over a DataLoader."""

from __future__ import annotations

from itertools import pairwise
from typing import Any

import torch
from torch.nn.functional import cross_entropy
from torch.utils.data import DataLoader, TensorDataset

from benchmarks.peers import in_chunks


def train(
    case: Any,
    x: Any,
    y: Any,
    laps: Any,
    *,
    fused: bool = False,
    compiled: bool = False,
    loader: bool = False,
    graph: bool = False,
    device: str = "cpu",
    precision: str = "float32",
) -> Any:
    torch.backends.cuda.matmul.allow_tf32 = precision == "tf32"
    layers = [part for n, k in pairwise(case.sizes) for part in (torch.nn.Linear(n, k), torch.nn.ReLU())]
    model = torch.nn.Sequential(*layers[:-1]).to(device)
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-3, fused=fused, capturable=graph)
    data = TensorDataset(torch.from_numpy(x).to(device), torch.from_numpy(y).to(device))
    batches = DataLoader(data, case.batch, shuffle=True) if loader else Rows(data, case.batch)

    def objective(x: Any, y: Any) -> Any:
        return cross_entropy(model(x), y)

    if precision == "bfloat16":
        objective = torch.autocast("cuda", torch.bfloat16, cache_enabled=not graph)(objective)
    if compiled:
        objective = torch.compile(objective)

    def step(part: Any, labels: Any) -> None:
        optimizer.zero_grad()
        objective(part, labels).backward()
        optimizer.step()

    if graph:
        step = captured(step, *next(iter(batches)))
    for _ in laps:
        for part, labels in batches:
            step(part, labels)
        if device != "cpu":
            torch.cuda.synchronize()

    @in_chunks
    @torch.inference_mode()
    def predict(x: Any) -> Any:
        return model(torch.from_numpy(x)).numpy()

    return predict


def captured(step: Any, *example: Any) -> Any:
    """The whole step as one CUDA graph, as PyTorch's manual captures it; batches are copied to its inputs."""
    inputs, stream = [x.clone() for x in example], torch.cuda.Stream()
    stream.wait_stream(torch.cuda.current_stream())
    with torch.cuda.stream(stream):
        for _ in range(3):
            step(*inputs)
    torch.cuda.current_stream().wait_stream(stream)
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        step(*inputs)

    def replay(*batch: Any) -> None:
        for x, new in zip(inputs, batch, strict=True):
            x.copy_(new)
        graph.replay()

    return replay


class Rows:
    """Batches gathered by index in a new order each time: faster than a DataLoader, which stacks samples."""

    def __init__(self, data: TensorDataset, batch: int) -> None:
        self.data, self.batch = data, batch

    def __iter__(self) -> Any:
        order = torch.randperm(len(self.data), device=self.data.tensors[0].device)
        return (self.data[rows] for rows in order.split(self.batch))

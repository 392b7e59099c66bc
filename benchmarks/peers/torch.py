"""PyTorch: the usual loop, over rows of tensors or over a DataLoader."""

from __future__ import annotations

from itertools import pairwise
from typing import Any

import torch
from torch.nn.functional import cross_entropy
from torch.utils.data import DataLoader, TensorDataset

from benchmarks.peers import in_chunks


def train(
    case: Any, x: Any, y: Any, laps: Any, *, fused: bool = False, compiled: bool = False, loader: bool = False
) -> Any:
    layers = [part for n, k in pairwise(case.sizes) for part in (torch.nn.Linear(n, k), torch.nn.ReLU())]
    model = torch.nn.Sequential(*layers[:-1])
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-3, fused=fused)
    data = TensorDataset(torch.from_numpy(x), torch.from_numpy(y))
    batches = DataLoader(data, case.batch, shuffle=True) if loader else Rows(data, case.batch)

    def objective(x: Any, y: Any) -> Any:
        return cross_entropy(model(x), y)

    if compiled:
        objective = torch.compile(objective)
    for _ in laps:
        for part, labels in batches:
            optimizer.zero_grad()
            objective(part, labels).backward()
            optimizer.step()

    @in_chunks
    @torch.inference_mode()
    def predict(x: Any) -> Any:
        return model(torch.from_numpy(x)).numpy()

    return predict


class Rows:
    """Batches gathered by index in a new order each time: quicker than a DataLoader, which joins samples."""

    def __init__(self, data: TensorDataset, batch: int) -> None:
        self.data, self.batch = data, batch

    def __iter__(self) -> Any:
        return (self.data[rows] for rows in torch.randperm(len(self.data)).split(self.batch))

"""The three digit classifiers, in the one place from which both the trainer and Triton's model code take them."""

from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors.torch import load_file
from torch import nn

SQUARE = (1, 8, 8)  # one channel; a row is its 64 grey values, line by line


def fast() -> nn.Module:
    """307 parameters: sixteen averages of 2×2 pixels and one hidden layer."""
    return nn.Sequential(nn.Unflatten(1, SQUARE), nn.AvgPool2d(2), nn.Flatten(), nn.Linear(16, 11), nn.ReLU(), nn.Linear(11, 10))


def balanced() -> nn.Module:
    """1 898 parameters. Convolutions, because a dense net of this size costs a CPU no more than `fast` does."""
    return nn.Sequential(
        nn.Unflatten(1, SQUARE),
        *(nn.Conv2d(1, 8, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2)),
        *(nn.Conv2d(8, 16, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2)),
        *(nn.Flatten(), nn.Linear(64, 10)),
    )


def accurate() -> nn.Module:
    """66 314 parameters: three wide convolutions at full resolution, about a hundred times the work of `fast`."""
    layers: list[nn.Module] = [nn.Unflatten(1, SQUARE)]
    for channels_in, channels_out in ((1, 32), (32, 64), (64, 64)):
        layers += [nn.Conv2d(channels_in, channels_out, 3, padding=1), nn.BatchNorm2d(channels_out), nn.ReLU()]
    return nn.Sequential(*layers, nn.MaxPool2d(2), nn.Dropout(0.4), nn.Flatten(), nn.Linear(1024, 10))


NETWORKS = {"digits_fast": fast, "digits_balanced": balanced, "digits_accurate": accurate}


def load(name: str, weights: Path, device: str = "cpu") -> nn.Module:
    """Return the network that Triton calls `name`, with the weights in that safetensors file, ready to answer."""
    network = NETWORKS[name]()
    network.load_state_dict(load_file(weights))
    return network.to(device).eval()


def answer(network: nn.Module, images: Any, device: str = "cpu") -> tuple[Any, Any]:
    """Classify images float32 [n, 64]: probabilities float32 [n, 10] and labels int64 [n, 1]."""
    with torch.inference_mode():
        rows = torch.from_numpy(np.ascontiguousarray(images)).to(device)
        probabilities = torch.softmax(network(rows), dim=1).cpu()
        return probabilities.numpy(), probabilities.argmax(dim=1, keepdim=True).numpy()

"""Triton's side of the digit classifiers: all requests of a dynamic batch become one call of the network."""

from pathlib import Path
from typing import Any

import models
import numpy as np
import torch
import triton_python_backend_utils as pb_utils


class TritonPythonModel:
    """The network that bears the model's name, with the weights that lie beside this file."""

    def initialize(self, args: dict[str, str]) -> None:
        """Load the weights of this version, on the GPU if Triton gave this instance one."""
        torch.set_num_threads(1)  # one core per instance: several instances would otherwise fight over all of them
        self.device = f"cuda:{args['model_instance_device_id']}" if args["model_instance_kind"] == "GPU" else "cpu"
        weights = Path(args["model_repository"]) / args["model_version"] / "weights.safetensors"
        self.network = models.load(args["model_name"], weights, self.device)

    def execute(self, requests: list[Any]) -> list[Any]:
        """`image` [n, 64] of each request to its `probabilities` [n, 10] and `label` [n, 1]."""
        images = [pb_utils.get_input_tensor_by_name(request, "image").as_numpy() for request in requests]
        probabilities, labels = models.answer(self.network, np.concatenate(images), self.device)
        ends = np.cumsum([len(part) for part in images])[:-1]
        return [
            pb_utils.InferenceResponse([pb_utils.Tensor("probabilities", some), pb_utils.Tensor("label", best)])
            for some, best in zip(np.split(probabilities, ends), np.split(labels, ends), strict=True)
        ]

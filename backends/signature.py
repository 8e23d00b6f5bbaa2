"""What a model takes, as its backend describes it, so that a misfit is refused before the backend is asked."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from backends.errors import InferenceError, invalid
from backends.inference import TensorSpec


@dataclass(frozen=True, slots=True)
class Input:
    """One input: its datatype, its shape with -1 for any size (the batch dimension included), whether it may be left out."""

    datatype: str
    shape: tuple[int, ...]
    optional: bool = False


@dataclass(frozen=True, slots=True)
class Signature:
    """The inputs of a model by name, and how many rows one request may have (0: no batch dimension)."""

    inputs: Mapping[str, Input]
    max_batch: int

    def check(self, specs: Sequence[TensorSpec], model: str) -> None:
        """Raises INVALID with the input's name, what came and what was expected."""
        for spec in specs:
            expected = self.inputs.get(spec.name)
            if expected is None:
                raise invalid(f"model '{model}' has no input '{spec.name[:64]}'; it takes {self._named()}", "unknown-input")
            if spec.datatype != expected.datatype or not _fits(spec.shape, expected.shape):
                raise self._misfit(spec, expected, model)
            if self.max_batch and spec.shape and spec.shape[0] > self.max_batch:
                raise invalid(
                    f"input '{spec.name}' has {spec.shape[0]} rows; model '{model}' takes at most {self.max_batch} a request",
                    "rows",
                )
        if len(specs) < len(self.inputs):
            self._missing(specs, model)

    def _missing(self, specs: Sequence[TensorSpec], model: str) -> None:
        given = {spec.name for spec in specs}
        for name, expected in self.inputs.items():
            if name not in given and not expected.optional:
                raise invalid(f"input '{name}' is missing; model '{model}' takes {self._named()}", "missing-input")

    def _misfit(self, spec: TensorSpec, expected: Input, model: str) -> InferenceError:
        return invalid(
            f"input '{spec.name}' of model '{model}' is {spec.datatype} {list(spec.shape)}; "
            f"it takes {expected.datatype} {list(expected.shape)} (-1: any size)",
            "datatype" if spec.datatype != expected.datatype else "shape",
        )

    def _named(self) -> str:
        return ", ".join(f"'{name}' {value.datatype} {list(value.shape)}" for name, value in self.inputs.items())


def _fits(shape: Sequence[int], expected: Sequence[int]) -> bool:
    return len(shape) == len(expected) and all(wanted in (-1, dim) for dim, wanted in zip(shape, expected, strict=True))


def signature(metadata: Mapping[str, Any], config: Mapping[str, Any]) -> Signature | None:
    """The signature from a model's metadata and configuration (Triton's extension); None if they are unclear."""
    try:
        optional = {entry["name"]: bool(entry.get("optional", False)) for entry in config.get("input", ())}
        inputs = {
            entry["name"]: Input(entry["datatype"], tuple(int(dim) for dim in entry["shape"]), optional.get(entry["name"], False))
            for entry in metadata["inputs"]
        }
        return Signature(inputs, int(config.get("max_batch_size", 0)))
    except (KeyError, TypeError, ValueError):
        return None

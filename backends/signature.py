"""What a model takes, as its backend describes it, so that a misfit is refused before the backend is asked."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from backends.errors import InferenceError, invalid
from backends.inference import RequestedOutput, TensorSpec


@dataclass(frozen=True, slots=True)
class Input:
    """One input: its datatype, its shape with -1 for any size (the batch dimension included), whether it may be left out."""

    datatype: str
    shape: tuple[int, ...]
    optional: bool = False


@dataclass(frozen=True, slots=True)
class Signature:
    """The inputs of a model by name, and how many rows one request may have (0: no batch dimension).

    `outputs` are the names of its outputs, `versions` what its backend serves; both empty where the backend does not say.
    """

    inputs: Mapping[str, Input]
    max_batch: int
    outputs: tuple[str, ...] = ()
    versions: tuple[str, ...] = ()

    def check(self, specs: Sequence[TensorSpec], wanted: Sequence[RequestedOutput], model: str) -> None:
        """Raises INVALID with the tensor's name, what came and what was expected."""
        for spec in specs:
            expected = self.inputs.get(spec.name)
            if expected is None:
                raise invalid(f"model '{model}' has no input '{spec.name[:64]}'; it takes {self._named()}", "unknown-input")
            if spec.datatype != expected.datatype or not _fits(spec.shape, expected.shape):
                raise self._misfit(spec, expected, model)
            if self.max_batch and not (0 < spec.shape[0] <= self.max_batch and spec.shape[0] == specs[0].shape[0]):
                raise self._rows(spec, specs[0], model)
        if len(specs) < len(self.inputs):
            self._missing(specs, model)
        for output in wanted:
            if self.outputs and output.name not in self.outputs:
                names = ", ".join(f"'{name}'" for name in self.outputs)
                raise invalid(f"model '{model}' has no output '{output.name[:64]}'; it gives {names}", "unknown-output")

    def _rows(self, spec: TensorSpec, first: TensorSpec, model: str) -> InferenceError:
        rows = spec.shape[0]
        if not rows:
            return invalid(f"input '{spec.name}' has no rows; model '{model}' takes 1 to {self.max_batch} a request", "shape")
        if rows > self.max_batch:
            return invalid(
                f"input '{spec.name}' has {rows} rows; model '{model}' takes at most {self.max_batch} a request", "rows"
            )
        return invalid(f"input '{spec.name}' has {rows} rows, input '{first.name}' {first.shape[0]}: give each as many", "rows")

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
    """The signature from a model's metadata and configuration (Triton's extension); None if they are unclear.

    Shape tensors have rules of their own (a batch shares one): a model that takes them is left to its backend, too.
    """
    try:
        described = {entry["name"]: entry for entry in config.get("input", ())}
        if any(entry.get("is_shape_tensor") for entry in described.values()):
            return None
        inputs = {
            entry["name"]: Input(
                entry["datatype"],
                tuple(int(dim) for dim in entry["shape"]),
                bool(described.get(entry["name"], {}).get("optional", False)),
            )
            for entry in metadata["inputs"]
        }
        max_batch = int(config.get("max_batch_size", 0))
        if max_batch and not all(each.shape for each in inputs.values()):
            return None
        outputs = tuple(str(entry["name"]) for entry in metadata.get("outputs", ()))
        return Signature(inputs, max_batch, outputs, tuple(str(version) for version in metadata.get("versions", ())))
    except (ArithmeticError, AttributeError, KeyError, TypeError, ValueError):
        return None

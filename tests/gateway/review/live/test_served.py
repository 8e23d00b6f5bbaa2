"""Tests of gateway.review.live.served: descriptions as values."""

from __future__ import annotations

from typing import Any

import pytest

from backends.signature import Input
from gateway.review.live.served import Served, served

IMAGE = {"name": "image", "datatype": "FP32", "shape": [-1, 64]}
LABEL = {"name": "label", "datatype": "INT64", "shape": ["-1", "1"]}  # as gRPC's JSON form writes numbers
METADATA = {"name": "m", "versions": ["1", "2"], "inputs": [IMAGE], "outputs": [LABEL]}
CONFIG = {"max_batch_size": 8, "input": [{"name": "image", "optional": True}], "model_transaction_policy": {"decoupled": True}}


def test_both_descriptions() -> None:
    """Tensors by name, rows, versions, and whether the model streams."""
    inputs, outputs = {"image": Input("FP32", (-1, 64), optional=True)}, {"label": Input("INT64", (-1, 1))}
    expected = Served(True, inputs, outputs, 8, ("1", "2"), streams=True)
    assert expected == served(METADATA, CONFIG, True)


def test_without_a_configuration() -> None:
    """A server without that extension does not tell how many rows it takes."""
    found = served(METADATA, None, False)
    assert (None, False, False) == (found.max_batch, found.streams, found.ready)
    assert found.inputs == {"image": Input("FP32", (-1, 64))}


@pytest.mark.parametrize(
    ("metadata", "config"),
    [
        ({}, {}),
        ({"inputs": None, "outputs": None}, {}),
        ({"inputs": 7, "outputs": 7}, {"model_transaction_policy": "x"}),
        ({"inputs": [{}], "outputs": [{"name": "x"}]}, {"model_transaction_policy": None}),
        ({"inputs": [], "outputs": [{"name": "x", "datatype": "FP32", "shape": None}]}, {"max_batch_size": "x"}),
    ],
)
def test_descriptions_that_make_no_sense(metadata: Any, config: Any) -> None:
    """Say nothing, rather than something wrong."""
    found = served(metadata, config, True)
    assert (None, False) == (found.outputs, found.streams)
    assert not found.inputs

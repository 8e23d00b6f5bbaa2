"""The parameters that Triton's extensions give a meaning: a wrong value is refused here, where it is still the client's mistake.

Sources: Triton's protocol extensions (sequence, schedule policy, classification, binary data, shared memory). A Triton asked
over HTTP answers most of them with 500, as if it had broken itself. Other names are the model's own and pass.
"""

from __future__ import annotations

from collections.abc import Callable

from backends.errors import invalid
from backends.inference import Parameter, Parameters

_Rule = tuple[str, Callable[[Parameter], bool]]
_MOST = 2**64 - 1


def _whole(value: Parameter) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and 0 <= value <= _MOST


_FLAG: _Rule = ("true or false", lambda value: isinstance(value, bool))
_WHOLE: _Rule = ("a whole number from 0 on", _whole)
_OF_REQUESTS: dict[str, _Rule] = {
    "sequence_id": ("a whole number from 0 on, or a text", lambda value: isinstance(value, str) or _whole(value)),
    "sequence_start": _FLAG,
    "sequence_end": _FLAG,
    "priority": _WHOLE,
    "timeout": ("a whole number of microseconds", _whole),
    "binary_data_output": _FLAG,
}
_OF_OUTPUTS: dict[str, _Rule] = {"classification": _WHOLE, "binary_data": _FLAG}


def check_request(parameters: Parameters) -> None:
    """Raises INVALID for a parameter of a request with a value that no server could obey."""
    _check(parameters, _OF_REQUESTS, "the request")


def check_output(parameters: Parameters, name: str) -> None:
    """The same for those of the requested output `name`."""
    _check(parameters, _OF_OUTPUTS, f"output '{name[:64]}'")


def refuse_shared_memory(parameters: Parameters, where: str) -> None:
    """Shared memory is the server's own: a name in it would let one client read another's tensors."""
    for name in parameters:
        if name.startswith("shared_memory"):
            raise invalid(f"{where} names shared memory, which is never passed on: send the tensor itself", "shared-memory")


def _check(parameters: Parameters, rules: dict[str, _Rule], where: str) -> None:
    refuse_shared_memory(parameters, where)
    for name, value in parameters.items():
        rule = rules.get(name)
        if rule is not None and not rule[1](value):
            raise invalid(f"{where}: parameter '{name}' must be {rule[0]}", "parameters")

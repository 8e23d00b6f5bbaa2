"""What makes two questions the same: the key under which an answer is kept is a MAC over everything that the answer depends on.

Every field is written behind its length and every list behind its count, so that no two different questions have the same bytes;
HMAC-SHA-256 (RFC 2104) with a secret of the process, so that nobody who knows another's question can say where its answer is.
docs/cache.md is the contract. A change of what is written here needs another CONTRACT.
"""

from __future__ import annotations

import hmac
import struct
from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import lru_cache
from typing import Any

from backends.inference import InferenceRequest, Parameter, Parameters
from backends.protocols.v2_http_request import HttpQuestion
from backends.tensors import Tensor, row_parts
from routing.plan import Plan, Stage, Target
from routing.principal import Principal

CONTRACT = b"penstock-cache-2"
# Parameters that cannot change an answer: how it is written for the client, and when it is computed.
WIRE = frozenset({"binary_data_output", "binary_data", "binary_data_size", "priority", "timeout"})
_LENGTH = struct.Struct("<Q").pack
_JOINED = 64 * 1024  # bytes; tensors beyond are not copied for the sake of one call
_REMEMBERED = 4096  # plans and principals
_LONGEST = 1024  # bytes of what clients say that is remembered
_PLANS = 4  # of one question: of other routes and policies

Versions = Callable[[Target], Sequence[str] | None]
"""What the target's backend was last seen to serve; empty where it says that it has no versions, None where nobody knows."""
Served = tuple[tuple[str, ...] | None, ...]


def unkeyed(request: InferenceRequest) -> str:
    """Why the question can have no key: its answer depends on more than what it says. "" where it can."""
    for name in request.parameters:
        if name.startswith("sequence_"):
            return "sequence"  # the server remembers what it was asked before
    for spec in request.inputs:
        if spec.parameters and not WIRE.issuperset(spec.parameters):
            return "input-parameters"  # nobody says what they mean
    return ""


def derived(request: InferenceRequest) -> dict[bytes, Any] | None:
    """Where to note what was made of the request's tensors; None for one that is not known to come again."""
    return request.payload.derived if isinstance(request.payload, HttpQuestion) else None


class Made:
    """What a plan's keys were made of beside the question: the secret, and what backends served where the version is open."""

    __slots__ = ("_fallen", "_keys", "_open", "_secret")

    def __init__(self, keys: Keys, plan: Plan) -> None:
        self._keys = keys
        self._secret, self._fallen = keys.secret, keys.fallen
        targets = [stage.target for stage in plan.stages if not stage.target.version]
        self._open = tuple([(target, keys.versions(target)) for target in targets])

    def holds(self) -> bool:
        """Whether the same question has the same keys now."""
        keys = self._keys
        for target, served in self._open:
            if keys.versions(target) != served:
                return False
        return keys.secret is self._secret and keys.fallen is self._fallen


class Keys:
    """Makes keys of 32 bytes. `secret` may be set at any time: keys that were made before find nothing any more."""

    def __init__(self, secret: bytes, versions: Versions) -> None:
        self.secret = secret
        self.versions = versions
        self.fallen: frozenset[tuple[str, str, str]] = (
            frozenset()
        )  # model, route, epoch of cascades whose last stage answers alone
        self._unknown = hmac.digest(secret, b"versions", "sha256").hex()  # of this process: what is not known is not the same
        self._known: dict[tuple[int, bytes, str, str], tuple[Plan, Served, bytes]] = {}

    def fall(self, fallen: frozenset[tuple[str, str, str]]) -> None:
        """From now on these have keys of their own, and no others."""
        if fallen != self.fallen:
            self.fallen = fallen
            self._known.clear()

    def whole(self, plan: Plan, principal: Principal, model: str, request: InferenceRequest) -> bytes:
        """Of the question as it stands."""
        planned = self._planned(plan, principal, model)
        made: bytes | None = self._made(request, b"whole", planned)
        if made is None:
            tensors = sorted(request.payload.tensors(), key=_name)
            made = self._mac(_head(b"whole", planned, request), _inputs(tensors))
            self._remember(request, b"whole", planned, made)
        return made

    def rows(self, plan: Plan, principal: Principal, model: str, request: InferenceRequest) -> list[bytes]:
        """Of each row on its own; every input has the same number of them."""
        planned = self._planned(plan, principal, model)
        made: list[bytes] | None = self._made(request, b"row", planned)
        if made is None:
            made = self._each(_head(b"row", planned, request), sorted(request.payload.tensors(), key=_name))
            self._remember(request, b"row", planned, made)
        return made

    def _each(self, head: bytes, tensors: Sequence[Tensor]) -> list[bytes]:
        about = self._mac(head, ())
        heads = [_input(tensor.name, tensor.datatype, tensor.shape[1:]) for tensor in tensors]
        parts = [row_parts(tensor) for tensor in tensors]
        return [
            self._mac(about, [piece for head, of in zip(heads, row, strict=True) for piece in (head, _LENGTH(len(of)), of)])
            for row in zip(*parts, strict=True)
        ]

    def stream(self, plan: Plan, principal: Principal, model: str, request: InferenceRequest) -> bytes:
        """Of the question as it stands, asked for any number of answers: never the same as for one."""
        return self._mac(framed([CONTRACT, b"stream"]), [self.whole(plan, principal, model, request)])

    def served(self, plan: Plan) -> Served:
        """Of each stage the versions that its key is about where the policy leaves them open; None where nobody knows them."""
        found = [() if stage.target.version else self.versions(stage.target) for stage in plan.stages]
        return tuple([None if of is None else tuple(of) for of in found])

    def about(self, plan: Plan) -> tuple[Served, frozenset[tuple[str, str, str]]]:
        """What its keys are about that may have changed when the answer comes: an answer of then is not kept under them."""
        return self.served(plan), self.fallen

    def several(self, keys: Sequence[bytes]) -> bytes:
        """Of the question that these rows make, in this order."""
        return self._mac(framed([CONTRACT, b"several"]), keys)

    def _planned(self, plan: Plan, principal: Principal, model: str) -> bytes:
        """What the principal and the plan add; plans that do not depend on the question are the same object each time."""
        caching = plan.cache
        assert caching is not None
        if caching.shared:
            kind, whose = b"shared", ""
        elif principal.tenant:
            kind, whose = b"tenant", principal.tenant
        else:
            kind, whose = b"subject", principal.subject
        versions = self.served(plan)
        at = (id(plan), kind, whose, model)
        known = self._known.get(at)
        if known is not None and known[0] is plan and known[1] == versions:
            return known[2]
        words = (whose.encode("utf-8", "surrogatepass"), model.encode())
        alone = [] if plan.audit is None or (model, plan.route, plan.audit.epoch) not in self.fallen else [b"fallen"]
        planned = _plan(plan, [(self._unknown,) if of is None else of for of in versions])
        made = framed([CONTRACT, kind, *words, caching.epoch, planned, *alone])
        if len(self._known) >= _REMEMBERED:
            self._known.clear()
        self._known[at] = (plan, versions, made)
        return made

    def _made(self, request: InferenceRequest, kind: bytes, planned: bytes) -> Any:
        """The key, or those of its rows, if these very tensors have had them already with these parameters and outputs."""
        again = derived(request)
        found = None if again is None else again.get(planned)
        if found is None or found[0] is not self.secret or found[1] is not kind:
            return None
        return found[4] if found[2] is request.parameters and found[3] is request.outputs else None

    def _remember(self, request: InferenceRequest, kind: bytes, planned: bytes, made: bytes | list[bytes]) -> None:
        """Only of a question that is known to come again: of others it would be kept for nothing."""
        again = derived(request)
        if again is not None:
            if len(again) >= _PLANS:
                again.clear()
            again[planned] = (self.secret, kind, request.parameters, request.outputs, made)

    def _mac(self, head: bytes, parts: Sequence[bytes | memoryview]) -> bytes:
        if sum(map(len, parts)) <= _JOINED:
            return hmac.digest(self.secret, b"".join((head, *parts)), "sha256")
        mac = hmac.new(self.secret, head, "sha256")
        for part in parts:
            mac.update(part)
        return mac.digest()


def framed(fields: Iterable[bytes]) -> bytes:
    """The fields as one run of bytes that no other fields have."""
    listed = list(fields)
    return b"".join((_LENGTH(len(listed)), *[part for each in listed for part in (_LENGTH(len(each)), each)]))


def told(plan: Plan, principal: Principal) -> Mapping[str, str]:
    """For people: what the key of such a question is made of, part by part. Of tensors and parameters only that they count."""
    assert plan.cache is not None
    whose = f"tenant '{principal.tenant}'" if principal.tenant else f"subject '{principal.subject}', who has no tenant"
    chain = " → ".join(
        _said(stage.target) + ("" if stage.accept is None else f" (accept {stage.accept:g}{_scaled(stage)})")
        for stage in plan.stages
    )
    return {
        "whose": "everybody's: shared" if plan.cache.shared else whose,
        "model": f"its name and all that this policy says of it ({plan.cache.epoch.hex()[:12]})",
        "plan": f"route '{plan.route}': {chain}",
        "inputs": ("of each row " if plan.cache.rows else "") + "name, datatype, shape and bytes, in the order of their names",
        "parameters": f"all but {', '.join(sorted(WIRE))}",
        "outputs": "those asked for, with their parameters, in the order asked",
    }


def _scaled(stage: Stage) -> str:
    return "" if stage.calibration is None else ", calibrated"


def _said(target: Target) -> str:
    version = f"version {target.version}" if target.version else "the versions it serves"
    return f"{target.variant} ({target.backend}: {target.model}, {version})"


def _head(kind: bytes, planned: bytes, request: InferenceRequest) -> bytes:
    """All but the inputs themselves: what is planned, and what the request says beside its tensors."""
    asked = [
        framed([output.name.encode(), _parameters(output.parameters)]) if output.parameters else _output(output.name)
        for output in request.outputs
    ]
    outputs = framed(asked) if asked else _NOTHING
    said = _parameters(request.parameters)
    made = _heads if len(said) + len(outputs) <= _LONGEST else _heads.__wrapped__
    return made(kind, planned, said, outputs, len(request.inputs))


def _name(tensor: Tensor) -> str:
    return tensor.name


def _plan(plan: Plan, versions: Sequence[Sequence[str]]) -> bytes:
    stages = [
        framed(
            [
                *(word.encode() for word in (target.variant, target.backend, target.model, target.version)),
                _accepts(stage),
                framed(version.encode() for version in served),
            ]
        )
        for stage, served in zip(plan.stages, versions, strict=True)
        for target in (stage.target,)
    ]
    confidence = plan.confidence if len(plan.stages) > 1 else None
    how = framed([]) if confidence is None else framed(map(_text, (confidence.output, confidence.metric, repr(confidence))))
    return framed([plan.route.encode(), how, *stages])


def _accepts(stage: Stage) -> bytes:
    """All that decides which of its rows stay."""
    maps = () if stage.calibration is None else sorted(stage.calibration.maps.items())
    return framed(map(_text, (repr(stage.accept), str(stage.target.row_independent), stage.label, repr(maps))))


def _inputs(tensors: Sequence[Tensor]) -> list[bytes | memoryview]:
    found: list[bytes | memoryview] = []
    for tensor in tensors:
        found += (_input(tensor.name, tensor.datatype, tensor.shape), _LENGTH(len(tensor.data)), tensor.data)
    return found


@lru_cache(maxsize=4096)
def _heads(kind: bytes, planned: bytes, parameters: bytes, outputs: bytes, inputs: int) -> bytes:
    return framed([kind, planned, parameters, outputs, str(inputs).encode()])


def _input(name: str, datatype: str, shape: tuple[int, ...]) -> bytes:
    return (_inputs_told if len(name) <= _LONGEST else _inputs_told.__wrapped__)(name, datatype, shape)


@lru_cache(maxsize=4096)
def _inputs_told(name: str, datatype: str, shape: tuple[int, ...]) -> bytes:
    return framed([_text(name), datatype.encode(), *[_LENGTH(size) for size in shape]])


def _output(name: str) -> bytes:
    return (_outputs_told if len(name) <= _LONGEST else _outputs_told.__wrapped__)(name)


@lru_cache(maxsize=1024)
def _outputs_told(name: str) -> bytes:
    return framed([_text(name), _NOTHING])


def _parameters(parameters: Parameters) -> bytes:
    kept = [(name, value) for name, value in parameters.items() if name not in WIRE] if parameters else ()
    return framed([each for name, value in sorted(kept) for each in (_text(name), _value(value))]) if kept else _NOTHING


def _value(value: Parameter) -> bytes:
    """`true`, `1`, `1.0` and `"1"` are four different values."""
    kind = "b" if isinstance(value, bool) else "i" if isinstance(value, int) else "f" if isinstance(value, float) else "s"
    return _text(f"{kind}{value if isinstance(value, str) else repr(value)}")


def _text(text: str) -> bytes:
    return text.encode("utf-8", "surrogatepass")


_NOTHING = framed([])

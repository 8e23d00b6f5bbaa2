"""The key contract of docs/cache.md: all that an answer depends on is in it, nothing else, and no two questions run together."""

from __future__ import annotations

from collections.abc import Callable
from itertools import accumulate
from typing import Any

import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st
from msgspec.structs import replace

from backends.inference import InferenceRequest, RequestedOutput, Tensors, TensorSpec
from backends.protocols.v2_http_request import HttpQuestion
from backends.tensors import BYTES, Tensor, from_array, pack_bytes
from routing.cache import key as cache_key
from routing.cache.caching import Caching
from routing.cache.key import Keys, Made, _head, framed, told, unkeyed
from routing.cascade.audits import Audit
from routing.cascade.calibration import Calibration
from routing.plan import Confidence, Plan, Stage, Target
from routing.principal import Principal

KEYS = Keys(b"s" * 32, lambda _: ())
CACHING = Caching(60.0, b"epoch")
MAPS = Calibration({"other": ((0.5, 0.7), (0.9, 0.95))})
FAST, DEAR = Target("fast", "triton", "f", "1"), Target("dear", "triton", "d", "1")
PLAN = Plan("r", (Stage(FAST, 0.9), Stage(DEAR)), 1.0, Confidence("p", "margin"), cache=CACHING)
ANN = Principal("ann", "acme")
# Names and texts of few characters, among them those that a careless separator would be made of.
WORDS = st.text("ab\x00,|:1", max_size=3)


def request(*tensors: Tensor, outputs: tuple[RequestedOutput, ...] = (), **parameters: Any) -> InferenceRequest:
    specs = tuple(TensorSpec(each.name, each.datatype, each.shape) for each in tensors)
    return InferenceRequest("digits", "", "id", parameters, specs, outputs, Tensors(tensors))


def x(*values: float, name: str = "x", datatype: str = "FP32") -> Tensor:
    return from_array(name, datatype, np.array([values]))


def key(asked: InferenceRequest, plan: Plan = PLAN, principal: Principal = ANN, model: str = "digits") -> bytes:
    return KEYS.whole(plan, principal, model, asked)


BASE = request(x(1, 2), x(3, name="y"), outputs=(RequestedOutput("p"),), seed=1)
STAGES = PLAN.stages


@pytest.mark.parametrize(
    "other",
    [
        key(BASE, principal=Principal("ann", "other")),
        key(BASE, principal=Principal("acme")),  # a subject who has no tenant, of the same name
        key(BASE, model="letters"),
        key(BASE, replace(PLAN, route="s")),
        key(BASE, replace(PLAN, stages=(Stage(FAST, 0.91), Stage(DEAR)))),
        key(BASE, replace(PLAN, stages=(Stage(FAST),))),
        key(BASE, replace(PLAN, stages=(Stage(FAST, 0.9, MAPS), Stage(DEAR)))),
        key(BASE, replace(PLAN, stages=(Stage(FAST, 0.9, Calibration({"other": ((0.5, 0.7), (0.9, 0.96))})), Stage(DEAR)))),
        key(BASE, replace(PLAN, stages=(Stage(FAST, 0.9, MAPS, "label"), Stage(DEAR)))),
        key(BASE, replace(PLAN, stages=(Stage(replace(FAST, row_independent=False), 0.9), Stage(DEAR)))),
        key(BASE, replace(PLAN, confidence=Confidence("p", "margin", logits=True))),
        key(BASE, replace(PLAN, confidence=Confidence("p", "margin", path=("a",)))),
        key(BASE, replace(PLAN, confidence=Confidence("p", "margin", path=("a", "b")))),
        key(BASE, replace(PLAN, stages=(Stage(replace(FAST, variant="quick"), 0.9), Stage(DEAR)))),
        key(BASE, replace(PLAN, stages=(Stage(replace(FAST, backend="other"), 0.9), Stage(DEAR)))),
        key(BASE, replace(PLAN, stages=(Stage(replace(FAST, model="g"), 0.9), Stage(DEAR)))),
        key(BASE, replace(PLAN, stages=(Stage(replace(FAST, version="2"), 0.9), Stage(DEAR)))),
        key(BASE, replace(PLAN, confidence=Confidence("p", "entropy"))),
        key(BASE, replace(PLAN, confidence=Confidence("q", "margin"))),
        key(BASE, replace(PLAN, cache=replace(CACHING, epoch=b"later"))),
        key(BASE, replace(PLAN, cache=replace(CACHING, shared=True))),
        key(request(x(1, 2), x(3, name="y"), outputs=(RequestedOutput("p"),), seed=2)),
        key(request(x(1, 2), x(3, name="y"), outputs=(RequestedOutput("p"),), seed=True)),
        key(request(x(1, 2), x(3, name="y"), outputs=(RequestedOutput("p"),), seed=1.0)),
        key(request(x(1, 2), x(3, name="y"), outputs=(RequestedOutput("p"),), seed="1")),
        key(request(x(1, 2), x(3, name="y"), outputs=(RequestedOutput("p"),))),
        key(request(x(1, 2), x(3, name="y"), seed=1)),
        key(request(x(1, 2), x(3, name="y"), outputs=(RequestedOutput("q"),), seed=1)),
        key(request(x(1, 2), x(3, name="y"), outputs=(RequestedOutput("p", {"classification": 1}),), seed=1)),
        key(request(x(1, 2), x(3, name="z"), outputs=(RequestedOutput("p"),), seed=1)),
        key(request(x(1, 2), outputs=(RequestedOutput("p"),), seed=1)),
        key(request(x(2, 1), x(3, name="y"), outputs=(RequestedOutput("p"),), seed=1)),
        key(request(replace(x(1, 2), shape=(2, 1)), x(3, name="y"), outputs=(RequestedOutput("p"),), seed=1)),
        key(request(replace(x(1, 2), datatype="INT32"), x(3, name="y"), outputs=(RequestedOutput("p"),), seed=1)),
        Keys(b"t" * 32, lambda _: ()).whole(PLAN, ANN, "digits", BASE),
    ],
)
def test_any_single_field_changed_is_another_key(other: bytes) -> None:
    """Whose it is, what was planned, what is asked, with which values, for which outputs."""
    assert key(BASE) != other


@pytest.mark.parametrize(
    "same",
    [
        key(request(x(3, name="y"), x(1, 2), outputs=(RequestedOutput("p"),), seed=1)),
        key(replace(BASE, id="other", headers=(("x-request-id", "r"),), priority=3, unit="u")),
        key(replace(BASE, parameters={"binary_data_output": True, "timeout": 5, "seed": 1, "priority": 1})),
        key(replace(BASE, outputs=(RequestedOutput("p", {"binary_data": True}),))),
        key(BASE, replace(PLAN, timeout=9.0, sample=0.5, dearest=3.0)),
        key(BASE, principal=Principal("bob", "acme", "gold", frozenset({"models:infer"}))),
    ],
)
def test_what_cannot_change_an_answer_is_not_in_it(same: bytes) -> None:
    """The order of inputs, the client's id and headers, the form of the answer, who of a tenant asks."""
    assert key(BASE) == same


def test_a_version_that_the_policy_leaves_open_is_what_the_backend_serves() -> None:
    """When another is loaded the old answers cannot be found; a version that the policy fixes is its word."""
    served: dict[str, tuple[str, ...]] = {"f": ("1",)}
    keys = Keys(b"s" * 32, lambda target: served.get(target.model, ()))
    plan = replace(PLAN, stages=(Stage(replace(FAST, version="")),))
    before, fixed = keys.whole(plan, ANN, "digits", BASE), keys.whole(PLAN, ANN, "digits", BASE)
    served["f"] = ("1", "2")
    assert before != keys.whole(plan, ANN, "digits", BASE)
    assert fixed == keys.whole(PLAN, ANN, "digits", BASE)


def test_versions_that_nobody_knows_are_no_versions() -> None:
    """Before a backend has said what it serves its answers are this process's, and are not found once it has."""
    told: list[tuple[str, ...] | None] = [None]
    keys, others = (Keys(secret * 32, lambda _: told[0]) for secret in (b"s", b"t"))
    others.secret = keys.secret
    plan = replace(PLAN, stages=(Stage(replace(FAST, version="")), Stage(DEAR)))
    unknown = keys.whole(plan, ANN, "digits", BASE)
    assert (None, ()) == (keys.served(plan)[0], keys.served(PLAN)[0])
    assert unknown == keys.whole(plan, ANN, "digits", BASE) != others.whole(plan, ANN, "digits", BASE)
    told[0] = ()
    none = keys.whole(plan, ANN, "digits", BASE)
    assert unknown != none == others.whole(plan, ANN, "digits", BASE)


def test_shared_entries_belong_to_nobody() -> None:
    """With `shared` neither tenant nor subject counts."""
    shared = replace(PLAN, cache=replace(CACHING, shared=True))
    assert key(BASE, shared) == key(BASE, shared, Principal("bob", "other")) == key(BASE, shared, Principal(""))


def test_large_tensors_have_the_same_contract() -> None:
    """What is not joined before it is hashed has the key that it has joined."""
    large = request(x(*range(40_000)))
    joined = KEYS._mac(_head(b"whole", KEYS._planned(PLAN, ANN, "digits"), large), ())
    assert key(large) == key(large)
    assert key(large) != key(request(x(*range(39_999), 0)))
    assert joined != key(large)
    parts: list[bytes | memoryview] = [b"a" * 40_000, memoryview(b"b" * 40_000)]
    assert KEYS._mac(b"head", parts) == KEYS._mac(b"head" + b"a" * 40_000 + b"b" * 40_000, ())


@st.composite
def tensors(draw: Any) -> Tensor:
    name, shape = draw(WORDS), tuple(draw(st.lists(st.integers(1, 3), max_size=2)))
    if draw(st.booleans()):
        texts = draw(st.lists(st.binary(max_size=2), min_size=int(np.prod(shape)), max_size=int(np.prod(shape))))
        return Tensor(name, BYTES, shape, pack_bytes(texts))
    return Tensor(name, "UINT8", shape, draw(st.binary(min_size=int(np.prod(shape)), max_size=int(np.prod(shape)))))


PARAMETERS = st.dictionaries(
    WORDS, st.one_of(st.booleans(), st.integers(-2, 2), st.sampled_from((0.0, 1.0, -0.0)), WORDS), max_size=2
)


@st.composite
def questions(draw: Any) -> tuple[Any, ...]:
    """Principal, model, route, inputs by name, parameters and outputs."""
    inputs = draw(st.lists(tensors(), min_size=1, max_size=3, unique_by=lambda tensor: tensor.name))
    outputs = tuple(RequestedOutput(name, draw(PARAMETERS)) for name in draw(st.lists(WORDS, max_size=2)))
    principal = Principal(draw(WORDS), draw(WORDS))
    return principal, draw(WORDS), draw(WORDS), inputs, draw(PARAMETERS), outputs


def meaning(question: tuple[Any, ...]) -> Any:
    """What may make a difference, in a form that compares as it should."""
    principal, model, route, inputs, parameters, outputs = question
    whose = ("t", principal.tenant) if principal.tenant else ("s", principal.subject)
    values = [(each.name, each.datatype, each.shape, bytes(each.data)) for each in inputs]
    asked = [(each.name, typed(each.parameters)) for each in outputs]
    return whose, model, route, sorted(values), typed(parameters), asked


def typed(parameters: Any) -> list[tuple[str, str, str]]:
    return sorted((name, type(value).__name__, repr(value)) for name, value in parameters.items())


@given(questions(), questions())
def test_two_questions_have_one_key_only_if_they_mean_the_same(one: tuple[Any, ...], other: tuple[Any, ...]) -> None:
    """Whatever separators stand in names and texts, nothing of one field is taken for a part of the next."""
    assert (meaning(one) == meaning(other)) == (asked_key(one) == asked_key(other))


def asked_key(question: tuple[Any, ...]) -> bytes:
    principal, model, route, inputs, parameters, outputs = question
    return key(
        request(*inputs, outputs=outputs, **{f"_{name}": value for name, value in parameters.items()}),
        replace(PLAN, route=route),
        principal,
        model,
    )


@given(st.lists(st.binary(max_size=12), max_size=4), st.lists(st.binary(max_size=12), max_size=4))
def test_framing_is_one_to_one(one: list[bytes], other: list[bytes]) -> None:
    """Fields that hold lengths and counts themselves are still fields."""
    assert (one == other) == (framed(one) == framed(other))
    assert framed(one) != framed([framed(one)])


@given(st.lists(st.binary(max_size=12), min_size=2, max_size=4), st.integers(0, 2), st.integers(0, 24))
def test_no_end_of_a_field_is_the_beginning_of_the_next(fields: list[bytes], at: int, cut: int) -> None:
    """The same bytes, divided elsewhere."""
    at %= len(fields) - 1
    other = [*fields[:at], (both := fields[at] + fields[at + 1])[:cut], both[cut:], *fields[at + 2 :]]
    assert (fields == other) == (framed(fields) == framed(other))


def test_no_end_of_a_tensor_is_the_beginning_of_the_next() -> None:
    """Though between them stands what describes the next one, which a tensor may hold itself."""
    between = cache_key._input("y", BYTES, (1,))
    two = [[b"1" + between + b"2", b"3"], [b"1", b"2" + between + b"3"]]
    one, other = (request(*map(Tensor, "xy", (BYTES, BYTES), ((1,), (1,)), data)) for data in two)
    assert key(one) != key(other)


def test_parameters_have_no_order() -> None:
    """A map in one dialect and a list in another."""
    assert key(request(x(1), a=1, b="2")) == key(request(x(1), b="2", a=1))


@given(st.lists(st.integers(0, 3), min_size=1, max_size=6), st.lists(st.integers(0, 3), min_size=1, max_size=6))
def test_a_row_has_its_key_wherever_it_stands(one: list[int], other: list[int]) -> None:
    """Two rows have the same key exactly if all inputs have the same values there, whatever batch they are in."""
    batches = [request(rows(values), texts(values)) for values in (one, other)]
    found = [KEYS.rows(PLAN, ANN, "digits", batch) for batch in batches]
    assert [len(one), len(other)] == [len(each) for each in found]
    pairs = [(a, b) for a in zip(one, found[0], strict=True) for b in zip(other, found[1], strict=True)]
    assert all((a[0] == b[0]) == (a[1] == b[1]) for a, b in pairs)


def rows(values: list[int]) -> Tensor:
    return from_array("x", "INT32", np.array([[value, 7] for value in values]))


def texts(values: list[int]) -> Tensor:
    return Tensor("t", BYTES, (len(values), 1), pack_bytes(b"abc"[:value] for value in values))


@pytest.mark.parametrize(
    "change",
    [
        lambda batch: (PLAN, Principal("ann", "other"), "digits", batch),
        lambda batch: (replace(PLAN, route="s"), ANN, "digits", batch),
        lambda batch: (PLAN, ANN, "letters", batch),
        lambda batch: (PLAN, ANN, "digits", replace(batch, parameters={"a": 1})),
        lambda batch: (PLAN, ANN, "digits", request(replace(rows([1]), shape=(1, 2, 1)))),
        lambda batch: (PLAN, ANN, "digits", request(replace(rows([1]), datatype="UINT32"))),
    ],
)
def test_a_row_is_about_all_that_a_question_is_about(change: Callable[[InferenceRequest], tuple[Any, ...]]) -> None:
    """Tenant, route, model, parameters, datatype, shape."""
    batch = request(rows([1]))
    assert KEYS.rows(PLAN, ANN, "digits", batch) != KEYS.rows(*change(batch))


def test_a_row_is_no_question_of_one_row() -> None:
    """Entries of both kinds are never taken for each other, nor is a batch for its rows."""
    batch = request(rows([1]))
    (row,) = KEYS.rows(PLAN, ANN, "digits", batch)
    assert 3 == len({row, key(batch), KEYS.several([row])})
    assert KEYS.several([row, b"a" * 32]) != KEYS.several([b"a" * 32, row])


@given(questions())
def test_a_changed_byte_is_another_key(question: tuple[Any, ...]) -> None:
    """Anywhere in any tensor."""
    principal, model, route, inputs, parameters, outputs = question
    fixed = [index for index, each in enumerate(inputs) if each.datatype == "UINT8" and each.data]
    assume(fixed)
    changed = list(inputs)
    each = inputs[fixed[0]]
    changed[fixed[0]] = replace(each, data=bytes([each.data[0] ^ 1]) + bytes(each.data[1:]))
    assert asked_key(question) != asked_key((principal, model, route, changed, parameters, outputs))


ASKED = st.tuples(
    st.sampled_from((Principal("ann", "acme"), Principal("bob", "acme"), Principal("acme"), Principal("ann"))),
    st.sampled_from(("digits", "letters")),
    st.sampled_from((PLAN, replace(PLAN, route="s"), replace(PLAN, cache=replace(CACHING, epoch=b"later")))),
    st.sampled_from(({}, {"seed": 1}, {"seed": True})),
    st.sampled_from(((), (RequestedOutput("p"),), (RequestedOutput("p", {"classification": 1}),))),
    st.booleans(),
    st.sampled_from((b"s" * 32, b"t" * 32)),
    st.sampled_from((("1",), ("1", "2"))),
)


@given(ASKED, st.lists(st.tuples(st.integers(0, 7), ASKED), min_size=2, max_size=12))
def test_a_question_that_comes_again_has_the_key_that_it_would_have_anyway(start: Any, steps: Any) -> None:
    """What is remembered with its tensors is never another's key: of no other principal, plan, policy, version, secret,
    parameter, output or kind. Each differs from the one before by one of them."""
    course = list(accumulate(steps, lambda last, step: (*last[: step[0]], step[1][step[0]], *last[step[0] + 1 :]), initial=start))
    held = [rows([1, 2]), texts([1, 3])]
    specs = tuple(TensorSpec(each.name, each.datatype, each.shape) for each in held)
    payload = HttpQuestion(b"", tuple(each.data for each in held), specs, {}, derived={})
    served: list[tuple[str, ...]] = [()]
    keys = Keys(b"", lambda _: served[0])
    for principal, model, plan, parameters, outputs, by_rows, keys.secret, served[0] in course:
        plan = replace(plan, stages=(Stage(replace(FAST, version="")),))
        again = InferenceRequest("digits", "", "", parameters, specs, outputs, payload)
        first = replace(again, payload=Tensors(tuple(held)))
        anew = Keys(keys.secret, lambda _: served[0])
        if by_rows:
            assert anew.rows(plan, principal, model, first) == keys.rows(plan, principal, model, again)
        else:
            assert anew.whole(plan, principal, model, first) == keys.whole(plan, principal, model, again)


def test_the_keys_of_a_question_that_comes_again_are_made_once() -> None:
    """And of one of which nobody knows that, nothing is remembered."""
    held = rows([1, 2])
    specs = (TensorSpec(held.name, held.datatype, held.shape),)
    again = HttpQuestion(b"", (held.data,), specs, {}, derived={})
    once = HttpQuestion(b"", (held.data,), specs, {})
    for payload in (again, again, once, once):
        asked = InferenceRequest("digits", "", "", {}, specs, (), payload)
        found = KEYS.rows(PLAN, ANN, "digits", asked)
        assert (found is KEYS.rows(PLAN, ANN, "digits", replace(asked))) == (payload is again)
    assert once.derived is None


def test_little_is_remembered_of_what_clients_say() -> None:
    """Nobody fills the memory with long parameters and names; what is long has the key that it has anyway."""
    long = "a" * 2000
    cached = (cache_key._heads, cache_key._inputs_told, cache_key._outputs_told)
    key(BASE)
    before = [each.cache_info().misses for each in cached]
    asked = request(x(1, name=long), outputs=(RequestedOutput(long),), seed=long)
    assert key(asked) == key(asked) != key(replace(asked, outputs=(RequestedOutput(long + "a"),)))
    assert before == [each.cache_info().misses for each in cached]


def test_what_keys_were_made_of_holds_until_it_changes() -> None:
    """The secret, and the versions of every stage that leaves them open; another secret may be of the same bytes."""
    served: dict[str, tuple[str, ...]] = {"f": ("1",), "d": ("1",)}
    keys = Keys(b"s" * 32, lambda target: served[target.model])
    plan = replace(PLAN, stages=(Stage(FAST, 0.9), Stage(replace(DEAR, version=""))))
    made, before = Made(keys, plan), keys.whole(plan, ANN, "digits", BASE)
    served["f"] = ("2",)  # pinned
    assert made.holds()
    assert before == keys.whole(plan, ANN, "digits", BASE)
    served["d"] = ("1", "2")
    assert not made.holds()
    assert before != keys.whole(plan, ANN, "digits", BASE)
    served["d"] = ("1",)
    assert made.holds()
    keys.secret = bytes(bytearray(keys.secret))
    assert not made.holds()


def test_a_cascade_that_has_fallen_has_keys_of_its_own() -> None:
    """While its last stage answers alone; of this model, route and promise only. Afterwards it has its own again."""
    keys, plan = Keys(b"s" * 32, lambda _: ()), replace(PLAN, audit=Audit(0.1, epoch="e"))
    made, before = Made(keys, plan), keys.whole(plan, ANN, "digits", BASE)
    for other in (("letters", "r", "e"), ("digits", "s", "e"), ("digits", "r", "f")):
        keys.fall(frozenset({other}))
        assert before == keys.whole(plan, ANN, "digits", BASE)
    keys.fall(frozenset({("digits", "r", "e")}))
    fallen = keys.whole(plan, ANN, "digits", BASE)
    assert (True, False) == (before != fallen, made.holds())
    made = Made(keys, plan)
    keys.fall(frozenset({("digits", "r", "e")}))
    assert made.holds()
    assert KEYS.whole(PLAN, ANN, "digits", BASE) == keys.whole(PLAN, ANN, "digits", BASE)
    keys.fall(frozenset())
    assert (before, False) == (keys.whole(plan, ANN, "digits", BASE), made.holds())


def test_questions_that_can_have_no_key() -> None:
    """A sequence's answer depends on what was asked before; parameters of inputs are nobody's to read."""
    assert "" == unkeyed(BASE)
    assert "sequence" == unkeyed(request(x(1), sequence_id=1))
    odd = replace(BASE, inputs=(TensorSpec("x", "FP32", (1, 2), {"binary_data_size": 8, "odd": True}),))
    assert "input-parameters" == unkeyed(odd)
    assert "" == unkeyed(replace(BASE, inputs=(TensorSpec("x", "FP32", (1, 2), {"binary_data_size": 8}),)))


def test_the_parts_are_told() -> None:
    """Whose, which plan with its thresholds, and what of the question counts."""
    parts = told(PLAN, ANN)
    assert "tenant 'acme'" == parts["whose"]
    assert "route 'r': fast (triton: f, version 1) (accept 0.9) → dear (triton: d, version 1)" == parts["plan"]
    assert "subject 'ann', who has no tenant" == told(PLAN, Principal("ann"))["whose"]
    shared = replace(PLAN, cache=replace(CACHING, shared=True, rows=True))
    assert ("everybody's: shared", "of each row ") == (told(shared, ANN)["whose"], told(shared, ANN)["inputs"][:12])

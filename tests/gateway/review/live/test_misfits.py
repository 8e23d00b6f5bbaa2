"""Tests of gateway.review.live.misfits: a policy held against what its backends say."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest
import yaml

from backends.signature import Input
from gateway.configuration.decode import Findings, decode
from gateway.configuration.load import load_policy
from gateway.configuration.schema_policy import PolicyDocument
from gateway.configuration.yaml_source import parse
from gateway.review.live.misfits import judge
from gateway.review.live.served import Heard, Missing, Served, Unheard

POLICY = """version: 1
backends:
  triton: {protocol: triton-http, endpoints: [a:1]}
models:
  digits:
    variants:
      fast: {backend: triton, model: m_fast, cost: 1}
      dear: {backend: triton, model: m_dear, version: "2", cost: 9}
    routes:
      - name: default
        cascade:
          confidence: {output: p, metric: max-softmax}
          stages: [{use: fast, accept: 0.9}, {use: dear}]
"""
IMAGE, P = Input("FP32", (-1, 64)), Input("FP32", (-1, 10))
GOOD = Served(True, {"image": IMAGE}, {"p": P}, 8, ("1", "2"))
CLASSES = " of probabilities for each row, of two classes or more"
FAST, DEAR = ("m_fast", ""), ("m_dear", "2")


def said(policy: str, *heard: Heard) -> list[str]:
    """The findings, each with its line and path."""
    source = parse(policy.encode(), "policy.yaml")
    load_policy(policy.encode(), "policy.yaml")
    found = Findings(source)
    document = decode(found, PolicyDocument)
    assert document is not None
    judge(found, document, heard)
    return [problem.text("p") for problem in found.problems]


def heard(fast: Any = GOOD, dear: Any = GOOD, index: int = 0) -> Heard:
    """What one endpoint says of the two models."""
    return Heard("triton", index, f"a:{index + 1}", models={FAST: fast, DEAR: dear})


def with_inputs(**inputs: Input) -> Served:
    return msgspec.structs.replace(GOOD, inputs=inputs)


def with_outputs(**outputs: Input) -> Served:
    return msgspec.structs.replace(GOOD, outputs=outputs)


def test_all_is_well() -> None:
    """Nothing is said where everything fits."""
    assert [] == said(POLICY, heard())


def test_an_endpoint_that_cannot_be_asked() -> None:
    """Is one problem, at its own line; of the models nothing is known then."""
    failed = Heard("triton", 0, "a:1", "nobody answers at a:1")
    assert ["p:3: backends.triton.endpoints[0]: nobody answers at a:1"] == said(POLICY, failed)


@pytest.mark.parametrize(
    ("word", "expected"),
    [
        (Missing(others=("x", "m_deer")), "model: a:1 has no model 'm_dear' — did you mean 'm_deer'?"),
        (Missing(), "model: a:1 has no model 'm_dear'"),
        (Missing(("1", "12")), "version: a:1 has no version '2' of model 'm_dear'; it has '1', '12' — did you mean '12'?"),
        (Unheard("a:1 did not answer within 5 s"), "model: model 'm_dear': a:1 did not answer within 5 s"),
        (msgspec.structs.replace(GOOD, ready=False), "model: model 'm_dear' is not ready at a:1"),
    ],
)
def test_a_model_that_is_not_there(word: Any, expected: str) -> None:
    """At the key that names it, with the nearest of those that are there."""
    assert [f"p:8: models.digits.variants.dear.{expected}"] == said(POLICY, heard(dear=word))


def test_a_model_that_streams() -> None:
    """Over HTTP it cannot; over gRPC it may."""
    streams = heard(msgspec.structs.replace(GOOD, streams=True))
    (told,) = said(POLICY, streams)
    assert told.endswith("model 'm_fast' streams its answers: ask it over a backend of protocol triton-grpc")
    assert [] == said(POLICY.replace("triton-http", "triton-grpc"), streams)


@pytest.mark.parametrize(
    ("dear", "expected"),
    [
        (with_inputs(image=Input("FP64", (-1, 64))), "takes input 'image' as FP64 [-1, 64]; {} as FP32 [-1, 64]"),
        (with_inputs(image=Input("FP32", (-1, -1))), "takes input 'image' as FP32 [-1, -1]; {} as FP32 [-1, 64]"),
        (
            with_inputs(image=Input("FP32", (-1, 64), True)),
            "takes input 'image' as FP32 [-1, 64], which may be left out; {} as FP32 [-1, 64]",
        ),
        (with_inputs(), "takes no input 'image'; {} does"),
        (with_inputs(image=IMAGE, more=P), "takes input 'more'; {} does not"),
        (with_outputs(p=Input("FP32", (-1, 11))), "gives output 'p' as FP32 [-1, 11]; {} as FP32 [-1, 10]"),
        (with_outputs(p=Input("FP32", (-1,))), "gives output 'p' as FP32 [-1]; {} as FP32 [-1, 10]"),
        (with_outputs(p=P, q=P), "gives output 'q'; {} does not"),
        (msgspec.structs.replace(GOOD, max_batch=0), "does not take batches; {} does"),
    ],
)  # fmt: skip
def test_variants_that_do_not_agree(dear: Served, expected: str) -> None:
    """Every difference from the first variant, which is named with its line."""
    told = said(POLICY, heard(dear=dear))
    assert ["p:8: models.digits.variants.dear: " + expected.format("variant 'fast' (line 7)")] == told


@pytest.mark.parametrize(
    "dear",
    [
        with_outputs(p=Input("FP32", (-1, -1))),  # a size that the description leaves open
        msgspec.structs.replace(GOOD, inputs=None, outputs=None, max_batch=None),
        Served(True),
    ],
)
def test_what_is_not_told_is_not_judged(dear: Served) -> None:
    """Only what is known can disagree."""
    assert [] == said(POLICY, heard(dear=dear))


def test_endpoints_that_do_not_agree() -> None:
    """Each is compared, and said by its address: they should hold the same models."""
    policy = POLICY.replace("[a:1]", "[a:1, a:2]")
    other = with_inputs(image=Input("FP64", (-1, 64)))
    differs = "takes input 'image' as FP64 [-1, 64] at a:2; variant 'fast' (line 7) at a:1 as FP32 [-1, 64]"
    assert [f"p:7: models.digits.variants.fast: {differs}"] == said(policy, heard(), heard(other, index=1))
    assert ["p:8: models.digits.variants.dear.model: a:2 has no model 'm_dear'"] == said(
        policy, heard(), heard(dear=Missing(), index=1)
    )


def reading(metric: str) -> str:
    """The policy with this metric, and a threshold in its range."""
    return POLICY.replace("max-softmax", f'"{metric}"').replace(
        "accept: 0.9", "accept: -1" if "logprob" in metric else "accept: 0.9"
    )


@pytest.mark.parametrize(
    ("metric", "output", "expected"),
    [
        ("max-softmax", Input("INT64", (-1, 10)), "INT64 [-1, 10]: max-softmax needs probabilities, in FP16, FP32 or FP64"),
        ("margin", Input("FP32", (-1, 1)), "FP32 [-1, 1]: margin needs one list" + CLASSES),
        ("entropy", Input("FP32", (-1,)), "FP32 [-1]: entropy needs one list" + CLASSES),
        ("margin", Input("FP32", (-1, 3, 10)), "FP32 [-1, 3, 10]: margin needs one list" + CLASSES),
        ("output:p", Input("BF16", (-1, 1)), "BF16 [-1, 1]: BF16 cannot be compared with a threshold"),
        ("json:score", Input("FP32", (-1, 1)), "FP32 [-1, 1]: json:$.score needs JSON documents, in BYTES"),
        ("min-logprob", Input("BYTES", (-1, 1)), "BYTES [-1, 1]: min-logprob needs log-probabilities, in FP16, FP32 or FP64"),
    ],
)  # fmt: skip
def test_an_output_unfit_for_the_metric(metric: str, output: Input, expected: str) -> None:
    """At the stage whose confidence is read from it; the last stage's is not read."""
    told = said(reading(metric), heard(with_outputs(p=output), with_outputs(p=output)))
    assert [f"p:13: models.digits.routes[0].cascade.stages[0].use: output 'p' of 'fast' is {expected}"] == told


@pytest.mark.parametrize(
    ("metric", "output"),
    [
        ("max-softmax", Input("FP16", (-1, 10))),
        ("margin", Input("FP64", (-1, -1))),
        ("entropy", Input("FP32", (-1, 1, 10))),
        ("output:p", Input("INT32", (-1,))),
        ("json:score", Input("BYTES", (-1, 1))),
        ("mean-logprob", Input("FP32", (-1, -1))),
    ],
)
def test_an_output_fit_for_the_metric(metric: str, output: Input) -> None:
    """Probabilities for the metrics that read them, any number for one that is the confidence itself."""
    fits = with_outputs(p=output)
    assert [] == said(reading(metric), heard(fits, fits))


def test_an_output_that_is_not_there() -> None:
    """With the nearest that is."""
    told = said(POLICY.replace("output: p,", "output: q1,"), heard(with_outputs(q=P, r=P), with_outputs(q=P, r=P)))
    where = "p:13: models.digits.routes[0].cascade.stages[0].use: "
    assert [where + "'fast' has no output 'q1' to read the confidence from; it has 'q', 'r' — did you mean 'q'?"] == told


@pytest.mark.parametrize(
    ("outputs", "expected"),
    [
        ({"l": Input("INT64", (-1, 1))}, []),
        ({"l": Input("BYTES", (-1,))}, []),
        ({"l": Input("FP32", (-1,))}, ["output 'l' of 'fast' is FP32 [-1]: no label is a fraction"]),
        ({"lbl": P}, ["'fast' has no output 'l' to read the label from; it has 'p', 'lbl'"]),
    ],
)
def test_an_output_with_the_label(outputs: dict[str, Input], expected: list[str]) -> None:
    """Is there, and is a text or a whole number."""
    told = said(
        POLICY.replace("max-softmax", "max-softmax, calibration: {label: l, maps: {other: [[0, 1]]}}"),
        heard(with_outputs(p=P, **outputs), with_outputs(p=P, **outputs)),
    )
    assert [f"p:13: models.digits.routes[0].cascade.stages[0].use: {each}" for each in expected] == told


@pytest.mark.parametrize("match", ["text_length: {txt: 5..}", "any: [{tier: a}, {not: {text_length: {txt: 5..}}}]"])
def test_a_text_that_is_not_there(match: str) -> None:
    """Wherever in the conditions it is measured: the input must be there, and a text."""
    route = f"- {{name: long, match: {{{match}}}, use: dear}}\n      - name: default"
    policy = POLICY.replace("- name: default", route)
    text, number = with_inputs(text=Input("BYTES", (-1, 1))), with_inputs(txt=Input("INT32", (-1, 1)))
    (told,) = said(policy, heard(text, text))
    assert told.startswith("p:10: models.digits.routes[0].match.")
    assert told.endswith("txt: variant 'fast' has no input 'txt'; it takes 'text' — did you mean 'text'?")
    (told,) = said(policy, heard(number, number))
    assert told.endswith("txt: input 'txt' of variant 'fast' is INT32; only BYTES have texts")
    fits = with_inputs(txt=Input("BYTES", (-1, 1)))
    assert [] == said(policy, heard(fits, fits))


def test_a_router_s_input_that_is_not_there() -> None:
    """What a prompt router reads must be an input of every variant, and a text."""
    routers = f'    routers: {{hard: {{file: r.json, sha256: "{"a" * 64}", input: prompt}}}}\n    routes:\n'
    route = "      - {name: hard, match: {prompt: {hard: {at_least: 0.6}}}, use: dear}\n"
    policy = POLICY.replace("    routes:\n", routers + route)
    text, number = with_inputs(promt=Input("BYTES", (-1, 1))), with_inputs(prompt=Input("INT32", (-1, 1)))
    where = "p:9: models.digits.routers.hard.input: "
    meant = "variant 'fast' has no input 'prompt'; it takes 'promt' — did you mean 'promt'?"
    assert [where + meant] == said(policy, heard(text, text))
    assert [where + "input 'prompt' of variant 'fast' is INT32; only BYTES have texts"] == said(policy, heard(number, number))
    fits = with_inputs(prompt=Input("BYTES", (-1, 1)))
    assert [] == said(policy, heard(fits, fits))


def test_versions_that_are_not_there() -> None:
    """A version that clients may ask for by name must be one that some variant has."""
    policy = POLICY.replace("    routes:", "    version_policy: specific(2, 21)\n    routes:")
    where = "p:9: models.digits.version_policy: "
    assert [where + "no variant has version '21'; there is '1', '2' — did you mean '2'?"] == said(policy, heard())
    assert [] == said(policy.replace("specific(2, 21)", "specific(1, 2)"), heard())
    assert ["no model 'm_fast'"] == [each.partition("has ")[2] for each in said(policy, heard(fast=Missing()))]  # then who knows


@pytest.mark.parametrize(
    ("routes", "where"),
    [
        (None, "routes[0].cascade.stages[1].use"),
        ([{"name": "default", "split": {"fast": 1, "dear": 1}}], "routes[0].split.dear"),
        ([{"name": "default", "split": {"fast": 1, "dear": 0}}], None),
        ([{"name": "default", "use": "dear"}], None),
        ([{"name": "few", "match": {"rows": "..4"}, "split": {"fast": 1, "dear": 1}}, {"name": "default", "use": "fast"}], None),
        ([{"name": "many", "match": {"rows": "5.."}, "use": "fast"}, {"name": "default", "split": {"fast": 1, "dear": 1}}], None),
        (
            [{"name": "many", "match": {"rows": "6.."}, "use": "fast"}, {"name": "default", "split": {"fast": 1, "dear": 1}}],
            "routes[1].split.dear",
        ),
        (
            [
                {"name": "some", "match": {"rows": "5..", "tier": "a"}, "use": "fast"},
                {"name": "default", "split": {"fast": 1, "dear": 1}},
            ],
            "routes[1].split.dear",
        ),
    ],
)
def test_a_variant_that_takes_fewer_rows(routes: Any, where: str | None) -> None:
    """Is told where a larger request could reach it: routes above that take all of those are reckoned with."""
    document = yaml.safe_load(POLICY)
    if routes is not None:
        document["models"]["digits"]["routes"] = routes
    told = said(yaml.safe_dump(document, sort_keys=False), heard(dear=msgspec.structs.replace(GOOD, max_batch=4)))
    expected = f" models.digits.{where}: 'dear' takes at most 4 rows a request, 'fast' 8: what is larger fails here;"
    assert [where is not None] * len(told) == [expected in each for each in told]
    assert len(told) == (where is not None)


def test_a_fallback_that_takes_fewer_rows() -> None:
    """What the failed variant could take may be too much for the one that stands in."""
    policy = POLICY.replace("    routes:", "    fallback: {fast: dear}\n    routes:").replace("dear}]", "dear}]")
    told = said(policy, heard(dear=msgspec.structs.replace(GOOD, max_batch=4)))
    assert "p:9: models.digits.fallback.fast: 'dear' takes at most 4 rows" in told[-1]


def test_an_output_that_is_compared_is_there() -> None:
    """Of the candidate; what nobody has heard of is not judged."""
    shadow = "    shadows: [{name: s, of: dear, to: fast, fraction: 1%, compare: {P: exact}}]\n"
    policy = POLICY.replace("cost:", "pure: true, cost:") + shadow
    assert ["p:14: models.digits.shadows[0].compare.P: 'fast' has no output 'P' to be compared; it has 'p'"] == [
        each.partition(" — ")[0] for each in said(policy, heard())
    ]
    assert [] == said(policy, heard(with_unknown_outputs(), with_unknown_outputs()))


def with_unknown_outputs() -> Served:
    return msgspec.structs.replace(GOOD, outputs=None)

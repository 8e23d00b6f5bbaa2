"""Holds a policy against what its backends say of their models: what is missing there, and what does not go together. Pure."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from backends.signature import Input
from gateway.configuration import schema_policy as policy
from gateway.configuration.decode import Findings
from gateway.configuration.problems import Path, listed, nearest, shown
from gateway.configuration.schema_cascade import Cascade, Confidence
from gateway.configuration.schema_shadows import Shadow
from gateway.review.live.served import Heard, Missing, Served, Unheard
from routing.cascade.confidence import LOGPROBS, WHOLE

_FLOATING = ("FP16", "FP32", "FP64")
_INCOMPARABLE = ("BYTES", "BF16")  # routing/cascade/confidence.py cannot read them


def judge(found: Findings, document: policy.PolicyDocument, heard: Sequence[Heard]) -> None:
    """Notes in `found` whatever does not fit. `heard` has every endpoint of every backend."""
    for each in heard:
        if each.failure is not None:
            found.wrong(("backends", each.backend, "endpoints", each.index), each.failure)
    for name, model in document.models.items():
        _Judge(found, document, ("models", name), model, heard).judge()


@dataclass(frozen=True, slots=True)
class _Seen:
    """A variant as one of its endpoints has it. `at` says which, where there are several."""

    variant: str
    at: str
    served: Served


@dataclass(frozen=True, slots=True)
class _Judge:
    """One public model against what is heard of its variants."""

    found: Findings
    document: policy.PolicyDocument
    path: Path
    model: policy.Model
    heard: Sequence[Heard]

    def judge(self) -> None:
        seen = [each for name in self.model.variants for each in self._there(name)]
        self._agree(seen)
        first: dict[str, Served] = {}
        for each in seen:
            first.setdefault(each.variant, each.served)
        self._batches(first)
        for index, route in enumerate(self.model.routes):
            place = (*self.path, "routes", index)
            if route.cascade is not None:
                self._confidence((*place, "cascade"), route.cascade, first)
            for path, name in _text_lengths((*place, "match"), route.match):
                self._text(path, name, first)
        for name, router in self.model.routers.items():
            self._text((*self.path, "routers", name, "input"), router.input, first)
        for index, shadow in enumerate(self.model.shadows):
            self._compared((*self.path, "shadows", index, "compare"), shadow, first)
        self._versions(first)

    def _there(self, name: str) -> Iterator[_Seen]:
        """The variant at each endpoint that has it; what is wrong with the others is noted."""
        variant, path = self.model.variants[name], (*self.path, "variants", name)
        endpoints = [each for each in self.heard if each.backend == variant.backend]
        for each in endpoints:
            match each.models.get((variant.model, variant.version)):
                case Missing(versions=(), others=others):
                    what = f"{each.address} has no model {shown(variant.model)}"
                    self.found.wrong((*path, "model"), what, nearest(variant.model, others))
                case Missing(versions=versions):
                    what = f"{each.address} has no version {shown(variant.version)} of model {shown(variant.model)}"
                    self.found.wrong((*path, "version"), f"{what}; it has {_few(versions)}", nearest(variant.version, versions))
                case Unheard(why=why):
                    self.found.wrong((*path, "model"), f"model {shown(variant.model)}: {why}")
                case Served() as served:
                    if not served.ready:
                        self.found.wrong((*path, "model"), f"model {shown(variant.model)} is not ready at {each.address}")
                    if served.streams and self.document.backends[variant.backend].protocol != "triton-grpc":
                        what = f"model {shown(variant.model)} streams its answers: ask it over a backend of protocol triton-grpc"
                        self.found.wrong((*path, "backend"), what)
                    yield _Seen(name, f" at {each.address}" if len(endpoints) > 1 else "", served)

    def _agree(self, seen: Sequence[_Seen]) -> None:
        """Every variant takes and gives what the first one does, at every endpoint."""
        for each in seen[1:]:
            first, path = seen[0], (*self.path, "variants", each.variant)
            line = self.found.source.mark((*self.path, "variants", first.variant)).line
            other = f"variant {shown(first.variant)} (line {line}){first.at}"
            for what in _differences(each.served, first.served):
                self.found.wrong(path, f"{what[0]}{each.at}; {other} {what[1]}")

    def _batches(self, seen: Mapping[str, Served]) -> None:
        """Nobody is asked for more rows than it takes where another variant of the same route would take them."""
        takes = {name: each.max_batch for name, each in seen.items() if each.max_batch}
        bounds: list[int] = []  # routes above take whatever has more rows
        for index, route in enumerate(self.model.routes):
            asked = {name: path for path, name in _asked((*self.path, "routes", index), route) if name in takes}
            rows = route.match.rows if route.match is not None else None
            most = min([max((takes[name] for name in asked), default=0), *bounds, *([rows.high] if rows and rows.high else [])])
            for name, path in asked.items():
                if takes[name] < most:
                    self._small(path, name, {each: takes[each] for each in asked})
            if rows is not None and rows.high is None and route.match == policy.Match(rows=rows):
                bounds.append(rows.low - 1)
        for failed, instead in self.model.fallback.items():
            if failed in takes and instead in takes and takes[instead] < takes[failed]:
                self._small((*self.path, "fallback", failed), instead, takes)

    def _small(self, path: Path, name: str, takes: Mapping[str, int]) -> None:
        most = max(takes, key=lambda each: takes[each])
        self.found.wrong(
            path,
            f"{shown(name)} takes at most {takes[name]} rows a request, {shown(most)} {takes[most]}: what is larger fails here;"
            f" give it a route of its own above this one (match: {{rows: {takes[name] + 1}..}})",
        )

    def _confidence(self, path: Path, cascade: Cascade, seen: Mapping[str, Served]) -> None:
        """Each stage but the last, which takes whatever comes, gives the output that the confidence is read from."""
        metric = cascade.confidence.metric
        name = metric.removeprefix("output:") if metric.startswith("output:") else cascade.confidence.output or ""
        for index, stage in enumerate(cascade.stages[:-1]):
            outputs = seen[stage.use].outputs if stage.use in seen else None
            if outputs is None:
                continue
            place = (*path, "stages", index, "use")
            if name not in outputs:
                what = f"{shown(stage.use)} has no output {shown(name)} to read the confidence from; it has {_few(outputs)}"
                self.found.wrong(place, what, nearest(name, outputs))
            elif unfit := _unfit(outputs[name], cascade.confidence):
                self.found.wrong(place, f"output {shown(name)} of {shown(stage.use)} is {_tensor(outputs[name])}: {unfit}")
            calibration = stage.calibration or cascade.confidence.calibration
            label = calibration.label if calibration is not None else None
            if label is not None and label not in outputs:
                what = f"{shown(stage.use)} has no output {shown(label)} to read the label from; it has {_few(outputs)}"
                self.found.wrong(place, what, nearest(label, outputs))
            elif label is not None and outputs[label].datatype not in (*WHOLE, "BYTES"):
                what = f"output {shown(label)} of {shown(stage.use)} is {_tensor(outputs[label])}: no label is a fraction"
                self.found.wrong(place, what)

    def _compared(self, path: Path, shadow: Shadow, seen: Mapping[str, Served]) -> None:
        """Every output with a rule is one that the candidate gives."""
        outputs = seen[shadow.to].outputs if shadow.to in seen else None
        if outputs is None:
            return
        for name in shadow.compare:
            if name not in outputs:
                what = f"{shown(shadow.to)} has no output {shown(name)} to be compared; it has {_few(outputs)}"
                self.found.wrong((*path, name), what, nearest(name, outputs))

    def _text(self, path: Path, name: str, seen: Mapping[str, Served]) -> None:
        """The input whose text is measured or scored is one, of every variant that is known."""
        for variant, each in seen.items():
            if each.inputs is not None and name not in each.inputs:
                what = f"variant {shown(variant)} has no input {shown(name)}; it takes {_few(each.inputs)}"
                self.found.wrong(path, what, nearest(name, each.inputs))
                return
            if each.inputs is not None and each.inputs[name].datatype != "BYTES":
                datatype = each.inputs[name].datatype
                self.found.wrong(path, f"input {shown(name)} of variant {shown(variant)} is {datatype}; only BYTES have texts")
                return

    def _versions(self, seen: Mapping[str, Served]) -> None:
        """Every version that clients may ask for by name is there; unjudged where a variant is not known."""
        if len(seen) < len(self.model.variants) or not all(each.versions for each in seen.values()):
            return
        pinned = {name: variant.version for name, variant in self.model.variants.items() if variant.version}
        there = {version for name, each in seen.items() for version in ([pinned[name]] if name in pinned else each.versions)}
        for version in sorted(self.model.version_policy.named - there):
            what = f"no variant has version {shown(version)}; there is {_few(sorted(there))}"
            self.found.wrong((*self.path, "version_policy"), what, nearest(version, there))


def _asked(path: Path, route: policy.Route) -> Iterator[tuple[Path, str]]:
    """Every variant that the route asks, and where it says so."""
    if route.use is not None:
        yield (*path, "use"), route.use
    for name, weight in (route.split or {}).items():
        if weight > 0:
            yield (*path, "split", name), name
    for index, stage in enumerate(route.cascade.stages if route.cascade else ()):
        yield (*path, "cascade", "stages", index, "use"), stage.use


def _text_lengths(path: Path, match: policy.Match | None) -> Iterator[tuple[Path, str]]:
    """Every input whose text the conditions measure, and where."""
    if match is None:
        return
    for name in match.text_length:
        yield (*path, "text_length", name), name
    for key, parts in (("all", match.all), ("any", match.any)):
        for index, part in enumerate(parts):
            yield from _text_lengths((*path, key, index), part)
    yield from _text_lengths((*path, "not"), match.never)


def _differences(one: Served, first: Served) -> Iterator[tuple[str, str]]:
    """What the one has and what the first has instead, as far as both are known."""
    if one.max_batch is not None and first.max_batch is not None and bool(one.max_batch) != bool(first.max_batch):
        yield ("takes batches", "does not") if one.max_batch else ("does not take batches", "does")
        return  # then no shape is like another's
    yield from _unlike("takes", "input", one.inputs, first.inputs)
    yield from _unlike("gives", "output", one.outputs, first.outputs)


def _unlike(
    does: str, what: str, ones: Mapping[str, Input] | None, firsts: Mapping[str, Input] | None
) -> Iterator[tuple[str, str]]:
    if ones is None or firsts is None:
        return
    for name in dict.fromkeys([*firsts, *ones]):
        one, first = ones.get(name), firsts.get(name)
        if one is None or first is None:
            yield (f"{does} no {what} {shown(name)}", "does") if one is None else (f"{does} {what} {shown(name)}", "does not")
        elif not _like(one, first, exact=what == "input"):
            yield f"{does} {what} {shown(name)} as {_tensor(one)}", f"as {_tensor(first)}"


def _like(one: Input, first: Input, *, exact: bool) -> bool:
    """The same; an output may leave a size open (-1) that the other fixes, an input may not: a request must fit both."""
    sizes = [(a, b) for a, b in zip(one.shape, first.shape, strict=False) if a != b]
    same = len(one.shape) == len(first.shape) and all(not exact and -1 in pair for pair in sizes)
    return same and one.datatype == first.datatype and one.optional == first.optional


def _unfit(output: Input, confidence: Confidence) -> str | None:
    """Why the metric cannot be read from the output; None if it can."""
    metric = confidence.metric
    if confidence.path is not None or metric.startswith("json:"):
        return None if output.datatype == "BYTES" else f"{metric} needs JSON documents, in BYTES"
    if metric.startswith("output:"):
        return f"{output.datatype} cannot be compared with a threshold" if output.datatype in _INCOMPARABLE else None
    if output.datatype not in _FLOATING:
        return f"{metric} needs {'log-probabilities' if metric in LOGPROBS else 'probabilities'}, in {listed(_FLOATING)}"
    if metric in LOGPROBS:
        return None
    classes = [size for size in output.shape[1:] if size != 1]
    if len(classes) != 1:
        return f"{metric} needs one list of probabilities for each row, of two classes or more"
    return None


def _tensor(tensor: Input) -> str:
    return f"{tensor.datatype} {list(tensor.shape)}" + (", which may be left out" if tensor.optional else "")


def _few(names: Mapping[str, object] | Sequence[str]) -> str:
    return ", ".join(shown(name) for name in list(names)[:8]) or "none"

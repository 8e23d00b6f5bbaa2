"""The rules of DESIGN sections 1, 5 and 6 that a program can check. The lists of exceptions only shrink."""

from __future__ import annotations

import ast
import importlib
import importlib.util
import re
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
PACKAGES = ("gateway", "policies", "routing", "backends")
SOURCES = (*PACKAGES, "loadtest", "serving-image")
FOLDERS = (*SOURCES, "tests")
MAX_LINES, MAX_FUNCTION, MAX_PARAMETERS = 400, 40, 5

# Words that say nothing (DESIGN section 5), wherever a name is made; the second kind only where it would name a type or a module.
BANNED = frozenset({"manager", "handler", "helper", "util", "base", "impl", "context", "ctx"})
FOREIGN = {("backends/promise.py", "context")}  # asyncio.Future.add_done_callback's own keyword
BANNED_TYPES = BANNED | {"data", "info"}

# `file: function` with more than five parameters.
MANY_PARAMETERS = {
    "backends/errors.py: __init__",  # the one exception: everything that is known of a failure
}

STATEMENTS = (ast.stmt, ast.excepthandler, ast.match_case)  # and what holds some
FUNCTIONS = ast.FunctionDef | ast.AsyncFunctionDef


def files(*folders: str) -> list[str]:
    """Every Python file below the folders, as paths from the root."""
    found = (path.relative_to(ROOT) for folder in folders for path in (ROOT / folder).rglob("*.py"))
    return sorted(str(path) for path in found if not any(part.startswith((".", "__pycache__")) for part in path.parts))


@dataclass(frozen=True, slots=True)
class Found:
    """What the rules ask of one file. Its tree is not kept: millions of nodes would slow the collector down for other tests."""

    lines: int
    summary: str  # the docstring's first paragraph
    functions: tuple[Function, ...]
    names: frozenset[tuple[str, bool]]  # that a source file makes, and whether each is a type's
    imported: frozenset[str]  # top-level names of everything that it imports, wherever in it


@dataclass(frozen=True, slots=True)
class Function:
    """One of a file's functions, methods and inner ones too."""

    name: str
    lines: int
    parameters: tuple[str, ...]  # self and cls aside
    acts: bool  # does more than declare: protocols have bodies of a docstring and an ellipsis


@cache
def found(file: str) -> Found:
    """Of one walk through the file for all rules."""
    text = (ROOT / file).read_text()
    tree = ast.parse(text, file)
    nodes = list(walk(tree, STATEMENTS if file.startswith("tests/") else (ast.AST,)))  # nobody asks for the names of a test
    return Found(
        lines=len(text.splitlines()),
        summary=(ast.get_docstring(tree) or "").partition("\n\n")[0],
        functions=tuple(function(node) for node in nodes if isinstance(node, FUNCTIONS)),
        names=frozenset(name for node in nodes for name in named(node)),
        imported=frozenset(name for node in nodes for name in imported(node)),
    )


def walk(tree: ast.AST, kinds: tuple[type[ast.AST], ...]) -> Iterator[ast.AST]:
    """As ast.walk, in a third of the time; only what is of these kinds and stands in such."""
    ahead = [tree]
    for node in ahead:  # grows meanwhile
        yield node
        for value in vars(node).values():
            if isinstance(value, list):
                ahead += [each for each in value if isinstance(each, kinds)]
            elif isinstance(value, kinds):
                ahead.append(value)


def function(node: ast.FunctionDef | ast.AsyncFunctionDef) -> Function:
    """What the rules ask of it."""
    declares = all(isinstance(step, ast.Expr) and isinstance(step.value, ast.Constant) for step in node.body)
    return Function(node.name, (node.end_lineno or 0) - node.lineno + 1, parameters(node), not declares)


def parameters(node: ast.FunctionDef | ast.AsyncFunctionDef) -> tuple[str, ...]:
    """The parameters' names, self and cls aside."""
    given = node.args
    every = [*given.posonlyargs, *given.args, given.vararg, *given.kwonlyargs, given.kwarg]
    return tuple(argument.arg for argument in every if argument is not None and argument.arg not in ("self", "cls"))


@cache
def words(name: str) -> set[str]:
    """The words of a snake_case or CamelCase name, in lower case and in the singular."""
    return {word.lower().removesuffix("s") for word in re.findall(r"[A-Z]?[a-z]+\d*|[A-Z]+(?![a-z])", name)}


def named(node: ast.AST) -> Iterator[tuple[str, bool]]:
    """Every name that the node makes, and whether it is a type's."""
    match node:
        case ast.ClassDef(name=name):
            yield name, True
        case ast.FunctionDef(name=name) | ast.AsyncFunctionDef(name=name):
            yield name, False
            yield from ((parameter, False) for parameter in parameters(node))
        case ast.Name(id=name, ctx=ast.Store()):
            yield name, False


def imported(node: ast.AST) -> set[str]:
    """The top-level names of what the node imports."""
    match node:
        case ast.Import(names=names):
            return {alias.name.partition(".")[0] for alias in names}
        case ast.ImportFrom(module=str(module)):
            return {module.partition(".")[0]}
    return set()


def mirrored(file: str) -> Path:
    """Where the file's tests belong."""
    path = Path(file)
    return ROOT / "tests" / path.parent / f"test_{path.name}"


# Each rule is one test over all files, which names those that break it: a test for each file took longer than the rule.


def test_files_are_short() -> None:
    """At most 400 lines."""
    assert {} == {file: found(file).lines for file in files(*FOLDERS) if found(file).lines > MAX_LINES}


def test_files_say_what_they_are_for() -> None:
    """One sentence at the top."""
    assert [] == [file for file in files(*FOLDERS) if not found(file).summary.endswith((".", "?"))]


def test_functions_are_short() -> None:
    """At most 40 lines."""
    assert [] == [f"{file}: {f.name}" for file in files(*FOLDERS) for f in found(file).functions if f.lines > MAX_FUNCTION]


def test_functions_take_at_most_five_parameters() -> None:
    """More than five belong together in a value. An exception that is none any more must leave the list."""
    many = {f"{file}: {f.name}" for file in files(*SOURCES) for f in found(file).functions if len(f.parameters) > MAX_PARAMETERS}
    assert MANY_PARAMETERS == many


def test_names_say_something() -> None:
    """No name is made of the words that fit anything, the files' own included."""
    made = {(file, *name) for file in files(*SOURCES) for name in ((Path(file).stem, True), *found(file).names)}
    assert FOREIGN == {(file, name) for file, name, is_type in made if words(name) & (BANNED_TYPES if is_type else BANNED)}


def test_source_files_have_their_tests_at_the_mirrored_path() -> None:
    """One test file for each source file that does anything; pure declarations need none."""
    doing = [file for file in files(*PACKAGES) if any(f.acts for f in found(file).functions)]
    assert [] == [file for file in doing if not mirrored(file).exists()]


def test_patterns_mean_the_same_in_every_python(capsys: pytest.CaptureFixture[str]) -> None:
    """Possessive quantifiers and atomic groups do not, before 3.11.5 (python/cpython 100061, 106052)."""
    modules = [
        importlib.import_module(file.removesuffix(".py").replace("/", ".")) for file in files(*PACKAGES) if "__" not in file
    ]
    patterns = {value for module in modules for value in vars(module).values() if isinstance(value, re.Pattern)}
    assert len(patterns) > 50
    re.compile("a++(?>b)", re.DEBUG)
    assert {"POSSESSIVE_REPEAT", "ATOMIC_GROUP"} <= set(capsys.readouterr().out.split())
    for pattern in patterns:
        re.compile(pattern.pattern, pattern.flags | re.DEBUG)
        said = capsys.readouterr().out
        assert not re.search("POSSESSIVE|ATOMIC", said), pattern.pattern


def test_nothing_but_the_serving_image_knows_torch() -> None:
    """The gateway and everything that drives it is free of torch."""
    outside = files(*PACKAGES, "loadtest", "tests")
    assert [] == [file for file in outside if "torch" in found(file).imported]


def test_the_gateway_runs_where_torch_and_the_offline_extra_are_not_installed() -> None:
    """Every module of the four packages can be imported without torch, which is not here, and without what learns offline."""
    assert importlib.util.find_spec("torch") is None
    assert [] == re.findall(r"^(?:scikit-learn|scipy|pyarrow)==", (ROOT / "requirements.lock").read_text(), re.MULTILINE)
    modules = [file.removesuffix(".py").replace("/", ".").removesuffix(".__init__") for file in files(*PACKAGES)]
    program = (
        "import sys, importlib\n"
        "sys.modules |= dict.fromkeys(('sklearn', 'scipy', 'pyarrow'))\n"  # None: as if there were no such module
        "for name in sys.argv[1:]: importlib.import_module(name)"
    )
    wanted = [module for module in modules if not module.endswith("__main__")]
    done = subprocess.run([sys.executable, "-c", program, *wanted], cwd=ROOT, capture_output=True, text=True, check=False)
    assert "" == done.stderr
    assert 0 == done.returncode


@pytest.mark.parametrize("lock", ["requirements.lock", "requirements-dev.lock"])
def test_every_install_checks_hashes(lock: str) -> None:
    """Each package of a lock has its hashes, and no install goes without them."""
    pinned = re.findall(r"^(\S+==\S+.*)\n(.*)", (ROOT / lock).read_text(), re.MULTILINE)
    assert pinned
    assert [] == [name for name, following in pinned if not following.startswith("    --hash=sha256:")]
    assert "--require-hashes" in re.findall(r"^PIP := .*", (ROOT / "Makefile").read_text(), re.MULTILINE)[0]

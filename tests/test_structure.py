"""The rules of DESIGN sections 1, 5 and 6 that a program can check. The lists of exceptions only shrink."""

from __future__ import annotations

import ast
import importlib.util
import re
import subprocess
import sys
from collections.abc import Iterator
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

Function = ast.FunctionDef | ast.AsyncFunctionDef


def files(*folders: str) -> list[str]:
    """Every Python file below the folders, as paths from the root."""
    found = (path.relative_to(ROOT) for folder in folders for path in (ROOT / folder).rglob("*.py"))
    return sorted(str(path) for path in found if not any(part.startswith((".", "__pycache__")) for part in path.parts))


@cache
def tree(file: str) -> ast.Module:
    """The file, parsed."""
    return ast.parse((ROOT / file).read_text(), file)


def functions(file: str) -> Iterator[Function]:
    """Every function of the file, methods and inner ones too."""
    return (node for node in ast.walk(tree(file)) if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef))


def acts(function: Function) -> bool:
    """Whether it does more than declare: protocols have bodies of a docstring and an ellipsis."""
    return not all(isinstance(step, ast.Expr) and isinstance(step.value, ast.Constant) for step in function.body)


def parameters(function: Function) -> list[str]:
    """The parameters' names, self and cls aside."""
    given = function.args
    every = [*given.posonlyargs, *given.args, given.vararg, *given.kwonlyargs, given.kwarg]
    return [argument.arg for argument in every if argument is not None and argument.arg not in ("self", "cls")]


def words(name: str) -> set[str]:
    """The words of a snake_case or CamelCase name, in lower case and in the singular."""
    return {word.lower().removesuffix("s") for word in re.findall(r"[A-Z]?[a-z]+\d*|[A-Z]+(?![a-z])", name)}


def named(file: str) -> Iterator[tuple[str, bool]]:
    """Every name that the file makes, and whether it is a type's."""
    for node in ast.walk(tree(file)):
        match node:
            case ast.ClassDef(name=name):
                yield name, True
            case ast.FunctionDef(name=name) | ast.AsyncFunctionDef(name=name):
                yield name, False
                yield from ((parameter, False) for parameter in parameters(node))
            case ast.Name(id=name, ctx=ast.Store()):
                yield name, False


def imported(file: str) -> set[str]:
    """The top-level names of everything that the file imports, wherever in it."""
    found = set[str]()
    for node in ast.walk(tree(file)):
        match node:
            case ast.Import(names=names):
                found |= {alias.name.partition(".")[0] for alias in names}
            case ast.ImportFrom(module=str(module)):
                found.add(module.partition(".")[0])
    return found


def mirrored(file: str) -> Path:
    """Where the file's tests belong."""
    path = Path(file)
    return ROOT / "tests" / path.parent / f"test_{path.name}"


@pytest.mark.parametrize("file", files(*FOLDERS))
def test_file_is_short_and_says_what_it_is_for(file: str) -> None:
    """At most 400 lines, functions of at most 40, and one sentence at the top."""
    assert len((ROOT / file).read_text().splitlines()) <= MAX_LINES
    assert [] == [f.name for f in functions(file) if (f.end_lineno or 0) - f.lineno + 1 > MAX_FUNCTION]
    summary = (ast.get_docstring(tree(file)) or "").partition("\n\n")[0]
    assert summary.endswith((".", "?"))


def test_functions_take_at_most_five_parameters() -> None:
    """More than five belong together in a value. An exception that is none any more must leave the list."""
    found = {f"{file}: {f.name}" for file in files(*SOURCES) for f in functions(file) if len(parameters(f)) > MAX_PARAMETERS}
    assert MANY_PARAMETERS == found


@pytest.mark.parametrize("file", files(*SOURCES))
def test_names_say_something(file: str) -> None:
    """No name is made of the words that fit anything, the file's own included."""
    made = [(Path(file).stem, True), *named(file)]
    found = {(file, name) for name, is_type in made if words(name) & (BANNED_TYPES if is_type else BANNED)}
    assert {foreign for foreign in FOREIGN if foreign[0] == file} == found


def test_source_files_have_their_tests_at_the_mirrored_path() -> None:
    """One test file for each source file that does anything; pure declarations need none."""
    doing = [file for file in files(*PACKAGES) if any(map(acts, functions(file)))]
    assert [] == [file for file in doing if not mirrored(file).exists()]


def test_nothing_but_the_serving_image_knows_torch() -> None:
    """The gateway and everything that drives it is free of torch."""
    outside = files(*PACKAGES, "loadtest", "tests")
    assert [] == [file for file in outside if "torch" in imported(file)]


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

"""Put Triton's model repository together: each model's config, the code its config names, and its weights."""

import argparse
import re
import shutil
from collections.abc import Iterator
from pathlib import Path
from string import Template

from layout import SOURCES

CONFIGS = SOURCES / "model_repository"
CODE = SOURCES / "model_code"

# What a model's name says (upstream's clients write lower case), and what config.pbtxt calls the same datatype.
DATATYPES = {
    **{name: f"TYPE_{name.upper()}" for name in ("bool", "uint8", "uint16", "uint32", "uint64")},
    **{name: f"TYPE_{name.upper()}" for name in ("int8", "int16", "int32", "int64")},
    **{name: f"TYPE_{name.upper()}" for name in ("fp16", "fp32", "fp64", "bf16")},
    "bytes": "TYPE_STRING",
}


def configs() -> Iterator[tuple[str, str]]:
    """Yield name and config.pbtxt of every model there is, the identity of each datatype included."""
    for file in sorted(CONFIGS.glob("*/config.pbtxt")):
        yield file.parent.name, file.read_text()
    template = Template((CONFIGS / "identity" / "config.pbtxt.template").read_text())
    for name, datatype in DATATYPES.items():
        yield f"identity_{name}", template.substitute(name=f"identity_{name}", datatype=datatype)


def code_of(config: str) -> str:
    """Return the file name in model_code/ that a config asks for."""
    found = re.search(r'key: "code" value: { string_value: "(\w+)" }', config)
    if found is None:
        raise ValueError('a config.pbtxt here names its code: parameters { key: "code" value: { string_value: "…" } }')
    return f"{found[1]}.py"


def assemble(weights: Path, target: Path) -> int:
    """Write the repository to `target` (emptied first) with the weights/<model>/<version>.safetensors; return the models."""
    shutil.rmtree(target, ignore_errors=True)
    count = 0
    for name, config in configs():
        count += 1
        trained = {file.stem: file for file in (weights / name).glob("*.safetensors")}
        for version in trained or ["1"]:
            folder = target / name / version
            folder.mkdir(parents=True)
            shutil.copyfile(CODE / code_of(config), folder / "model.py")
            if trained:
                shutil.copyfile(trained[version], folder / "weights.safetensors")
                shutil.copyfile(SOURCES / "training" / "models.py", folder / "models.py")  # Triton puts this folder on sys.path
        (target / name / "config.pbtxt").write_text(config)
    return count


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--weights", type=Path, required=True)
    parser.add_argument("--out", type=Path, required=True)
    arguments = parser.parse_args()
    print(f"{assemble(arguments.weights, arguments.out)} models in {arguments.out}")

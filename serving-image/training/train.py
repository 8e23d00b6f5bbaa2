"""Train the digit classifiers and write all that the demo and the tests need, so that neither needs torch nor scikit-learn."""

import argparse
import json
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import digits
import models
import numpy as np
import thresholds
import torch
from safetensors.torch import save_file
from torch import nn

# What the policy charges per row: between the measured CPU times of a single row (1 : 2 : 9) and of a batch of 32 (1 : 6 : 75).
COSTS = (1.0, 6.0, 40.0)
LOST = 0.005  # how much validation accuracy the cascade may give up against asking the accurate model every time


@dataclass(frozen=True, slots=True)
class Recipe:
    """How one version of one model is trained; `shifted` moves some training images by a pixel."""

    model: str
    version: str
    seed: int
    epochs: int
    rate: float
    shifted: bool = False

    @property
    def name(self) -> str:
        """The key of this version in the .npz files and the report."""
        return f"{self.model}_{self.version}"


RECIPES = (
    Recipe("digits_fast", "1", seed=1, epochs=120, rate=0.02),
    Recipe("digits_balanced", "1", seed=1, epochs=60, rate=0.02),
    Recipe("digits_accurate", "1", seed=1, epochs=25, rate=0.003),
    Recipe("digits_accurate", "2", seed=1, epochs=25, rate=0.003, shifted=True),
)
CASCADE = ("digits_fast_1", "digits_balanced_1", "digits_accurate_1")


def shift(images: torch.Tensor) -> torch.Tensor:
    """Move half of the images by up to one pixel sideways and a third of them up or down: [n, 64] to [n, 64]."""
    count = len(images)
    down = torch.randint(-1, 2, (count,)) * (torch.rand(count) < 0.3)
    right = torch.randint(-1, 2, (count,)) * (torch.rand(count) < 0.5)
    padded = nn.functional.pad(images.view(-1, 8, 8), (1, 1, 1, 1))
    pixels = torch.arange(1, 9)
    rows = (pixels + down[:, None])[:, :, None].expand(count, 8, 8)
    columns = (pixels + right[:, None])[:, None, :].expand(count, 8, 8)
    return padded[torch.arange(count)[:, None, None], rows, columns].reshape(count, 64)


def train(recipe: Recipe, rows: digits.Rows) -> nn.Module:
    """Train one network from its seed; the same machine gives the same weights again."""
    torch.manual_seed(recipe.seed)
    network = models.NETWORKS[recipe.model]()
    images, labels = torch.from_numpy(rows.images), torch.from_numpy(rows.labels)
    optimizer = torch.optim.AdamW(network.parameters(), recipe.rate, weight_decay=0.05)
    steps = recipe.epochs * -(-len(labels) // 32)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, recipe.rate, total_steps=steps)
    for _ in range(recipe.epochs):
        for batch in torch.randperm(len(labels)).split(32):
            seen = shift(images[batch]) if recipe.shifted else images[batch]
            loss = nn.functional.cross_entropy(network(seen), labels[batch])
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            schedule.step()
    return network.eval()


def microseconds_per_row(network: nn.Module, images: Any) -> float:
    """Return the best of many timings of one thread answering these images as one batch, divided by the rows."""
    best = float("inf")
    for _ in range(150):
        start = time.perf_counter()
        models.answer(network, images)
        best = min(best, time.perf_counter() - start)
    return round(best / len(images) * 1e6, 1)


def write(out: Path, parts: dict[str, digits.Rows], say: Callable[[str], None]) -> dict[str, Any]:
    """Train every recipe into `out` and return the report that is also written there."""
    answers: dict[str, dict[str, Any]] = {"validation": {}, "held_out": {}}
    report: dict[str, Any] = {"models": {}}
    for recipe in RECIPES:
        start = time.monotonic()
        network = train(recipe, parts["train"])
        file = out / "weights" / recipe.model / f"{recipe.version}.safetensors"
        file.parent.mkdir(parents=True, exist_ok=True)
        save_file(network.state_dict(), file)
        figures: dict[str, Any] = {"parameters": sum(weight.numel() for weight in network.parameters())}
        for part, given in answers.items():
            given[recipe.name], labels = models.answer(network, parts[part].images)
            figures[f"{part}_accuracy"] = round(float((labels[:, 0] == parts[part].labels).mean()), 4)
        for rows in (1, 32):
            figures[f"us_per_row_batch_{rows}"] = microseconds_per_row(network, parts["train"].images[:rows])
        report["models"][recipe.name] = figures
        say(f"  {recipe.name}: {figures['held_out_accuracy']:.3f} on held-out rows ({time.monotonic() - start:.0f} s)")
    for part, given in answers.items():
        np.savez(out / f"{part}.npz", images=parts[part].images, labels=parts[part].labels, **given)
    report["cascade"] = cascade(answers, parts)
    (out / "report.json").write_text(json.dumps(report, indent=2) + "\n")
    return report


def cascade(answers: dict[str, dict[str, Any]], parts: dict[str, digits.Rows]) -> dict[str, Any]:
    """Choose thresholds on the validation rows, and only then look at what they do on the held-out ones."""
    validation = [answers["validation"][name] for name in CASCADE]
    chosen = thresholds.choose(validation, parts["validation"].labels, COSTS, LOST)
    held_out = [answers["held_out"][name] for name in CASCADE]
    seen = thresholds.run(held_out, parts["held_out"].labels, chosen.accept, COSTS)
    return {"stages": CASCADE, "costs": COSTS, "validation": asdict(chosen), "held_out": asdict(seen)}


def main() -> None:
    """Command line: `train.py --out DIR`."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=Path, required=True, help="folder for weights/, held_out.npz, validation.npz, report.json")
    out = parser.parse_args().out
    torch.set_num_threads(1)  # the figures are those of one core, and sums come out in the same order every time
    torch.use_deterministic_algorithms(True)
    write(out, digits.load(), lambda line: print(line, flush=True))


if __name__ == "__main__":
    main()

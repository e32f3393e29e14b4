"""Time proxy training against the reference recipe run the plain way, on the same work.

The plain way: one process with torch's default threads, images decoded and
augmented one by one in a `DataLoader` (PIL and torch operations per image), the
network eager in torch's default memory format, accuracy read back at every
step. bpe-bench: as many processes as fit, each with one thread, augmentation in
batches on the device, nothing read back before the end of an epoch.

Both train the same networks from the same recipe on the same images, batch size
and number of steps, on the same device in one run. Evaluation is left out of
both. Run as::

    python benchmarks/training.py --data ../shared/cifar10 [--device cuda]
"""

from __future__ import annotations

import datetime
import functools
import json
import multiprocessing
import os
import platform
import time
from importlib.metadata import version
from pathlib import Path
from typing import Any

import click
import numpy as np
import torch
from PIL import Image
from torch import Tensor, nn
from torch.nn import functional
from torch.utils.data import DataLoader, Dataset

from bpe_bench.budget import Budget, parse_budget
from bpe_bench.spaces import Architecture
from bpe_bench.tables.catalog import open_table
from bpe_bench.tables.curves import Split
from bpe_bench.training.images.data import ImageData, load_images, split_indices, subset
from bpe_bench.training.networks.network import build_network
from bpe_bench.training.trainer import Trainer, describe_device
from bpe_bench.training.trial import Recipe, Trial


class PlainImages(Dataset[tuple[Tensor, int]]):
    """Images as a plain script has them: crop, flip, resize and normalise one at a time."""

    def __init__(self, data: ImageData, places: Any, size: int) -> None:
        self.images = [
            Image.fromarray(np.moveaxis(np.asarray(data.train.pixels[i]), 0, 2)) for i in places
        ]
        self.labels = [int(data.train.labels[i]) for i in places]
        self.size = size
        self.mean = torch.tensor([0.4914, 0.4822, 0.4465])[:, None, None]
        self.std = torch.tensor([0.2470, 0.2435, 0.2616])[:, None, None]

    def __len__(self) -> int:
        return len(self.labels)

    def __getitem__(self, index: int) -> tuple[Tensor, int]:
        image = self.images[index]
        padded = Image.new(image.mode, (image.width + 8, image.height + 8))
        padded.paste(image, (4, 4))
        left, top = torch.randint(0, 9, (2,)).tolist()
        image = padded.crop((left, top, left + image.width, top + image.height))
        if torch.rand(()) < 0.5:
            image = image.transpose(Image.Transpose.FLIP_LEFT_RIGHT)
        image = image.resize((self.size, self.size), Image.Resampling.BILINEAR)
        pixels = torch.from_numpy(np.array(image)).permute(2, 0, 1).float() / 255
        return (pixels - self.mean) / self.std, self.labels[index]


def train_plainly(
    cell: Architecture, budget: Budget, data: ImageData, device: torch.device
) -> float:
    """Train a network for the budget's epochs the plain way; return the seconds."""
    places, _ = split_indices(data, "split")
    places = subset(data, places, budget.data_fraction)
    loader = DataLoader(
        PlainImages(data, places, budget.image_size), batch_size=budget.batch_size, shuffle=True
    )
    recipe = Recipe()
    network = build_network(cell, budget, data.classes).to(device)
    for module in network.modules():
        if isinstance(module, nn.Conv2d):  # torch's own, not this project's for dilated ones
            module.forward = functools.partial(nn.Conv2d.forward, module)  # type: ignore[method-assign]
    optimizer = torch.optim.SGD(
        network.parameters(), lr=budget.learning_rate, momentum=recipe.momentum,
        weight_decay=recipe.weight_decay,
    )  # fmt: skip
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, budget.epochs)
    generator = torch.Generator(device)
    _wait(device)
    start = time.perf_counter()
    for epoch in range(budget.epochs):
        network.drop_path = recipe.drop_path * epoch / budget.epochs
        network.train()
        right, loss_sum = 0.0, 0.0
        for batch, answers in loader:
            images, labels = batch.to(device), answers.to(device)
            optimizer.zero_grad()
            logits, auxiliary = network(images, generator)
            loss = functional.cross_entropy(logits, labels)
            if auxiliary is not None:
                loss = loss + recipe.auxiliary_weight * functional.cross_entropy(auxiliary, labels)
            loss.backward()
            nn.utils.clip_grad_norm_(network.parameters(), recipe.gradient_clip)
            optimizer.step()
            right += (logits.argmax(1) == labels).sum().item()
            loss_sum += loss.item()
        schedule.step()
    _wait(device)
    return time.perf_counter() - start


class _TrainingOnly(Trainer):
    """The trainer without its evaluations, which the plain way does not do here either."""

    def _evaluate(self, split: Split) -> Any:
        from bpe_bench.training.trial import SplitResult

        return SplitResult(0, self.pipeline.sizes[split], 0.0)


def _train_ours(words: tuple[Trial, str | None, str]) -> float:
    trial, source, device = words
    torch.set_num_threads(1)
    start = time.perf_counter()
    for _ in _TrainingOnly(trial, load_images(source), device=device).epochs():
        pass
    return time.perf_counter() - start


def train_ours(trials: list[Trial], source: str | None, device: str, jobs: int) -> float:
    """Train all trials in worker processes that are up already; return the seconds."""
    context = multiprocessing.get_context("spawn")
    with context.Pool(jobs) as pool:
        # Starting processes and importing torch is the same once for a thousand trials.
        pool.map(_warm_up, [(source, device)] * jobs, chunksize=1)
        start = time.perf_counter()
        pool.map(_train_ours, [(t, source, device) for t in trials], chunksize=1)
        return time.perf_counter() - start


def _warm_up(words: tuple[str | None, str]) -> None:
    source, device = words
    load_images(source)
    torch.ones(8, device=device).sum()
    time.sleep(1)  # so that every worker gets one


def _wait(device: torch.device) -> None:
    if device.type == "cuda":
        torch.cuda.synchronize(device)


@click.command()
@click.option("--data", help="CIFAR-10, as for `bpe-bench train --data`.", required=True)
@click.option("--budget", default="BPE-1,epochs=1,data_fraction=0.1", show_default=True)
@click.option("--architectures", default=4, show_default=True, help="First cells of darts-bpe.")
@click.option("--device", default="cpu", show_default=True)
@click.option("--jobs", type=int, help="Processes.  [default: one per core, four on a GPU]")
@click.option("-o", "--output", type=click.Path(path_type=Path), help="Write the figures as JSON.")
def main(
    data: str, budget: str, architectures: int, device: str, jobs: int | None, output: Path | None
) -> None:
    """Print architectures per hour both ways, and the ratio."""
    images, chosen = load_images(data), parse_budget(budget)
    cells = open_table("darts-bpe").architectures[:architectures]
    jobs = jobs or (os.cpu_count() or 1 if device == "cpu" else 4)
    trials = [Trial(cell, chosen, images.name) for cell in cells]
    where = torch.device(device)
    train_plainly(cells[0], chosen.replace(data_fraction=0.01), images, where)  # warm up
    plain = sum(train_plainly(cell, chosen, images, where) for cell in cells)
    ours = train_ours(trials, data, device, jobs)
    alone = train_ours(trials[:1], data, device, 1)
    figures = {
        "date": str(datetime.date.today()),
        "budget": str(chosen),
        "architectures": architectures,
        "plain_seconds": plain,
        "plain_per_hour": 3600 * architectures / plain,
        "ours_seconds": ours,
        "ours_per_hour": 3600 * architectures / ours,
        "ratio": plain / ours,
        "jobs": jobs,
        "one_alone_seconds": alone,
        "plain_threads": torch.get_num_threads(),
        "machine": f"{platform.machine()}, {os.cpu_count()} cores",
        "pillow": version("pillow"),
        **describe_device(device),
    }
    print(
        f"plain: {plain:.1f} s, {figures['plain_per_hour']:.0f} architectures/hour; bpe-bench "
        f"({jobs} processes): {ours:.1f} s, {figures['ours_per_hour']:.0f} architectures/hour; "
        f"ratio {figures['ratio']:.2f}; one alone {alone:.1f} s"
    )
    print(json.dumps(figures, indent=2))
    if output is not None:
        output.write_text(json.dumps(figures, indent=2) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()

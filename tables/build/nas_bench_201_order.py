"""Make the official order of NAS-Bench-201 from the file that NATS-Bench publishes.

Run as::

    python -m bpe_bench_tables.build.nas_bench_201_order meta.pickle.pbz2 \
        -o bpe_bench/spaces/nas_bench_201_order.npy

The input is ``NATS-tss-v1_0-3ffb9-simple/meta.pickle.pbz2`` of
https://github.com/D-X-Y/NATS-Bench (MIT licence): a pickle of built-in types whose
entry ``meta_archs`` lists the text of all 15,625 architectures by index. It is read
without the power to import anything, so that a foreign file cannot run code.
"""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

import click
import numpy as np
import numpy.typing as npt

from bpe_bench.errors import BpeBenchError, GenotypeError, SourceFileError
from bpe_bench.files import load_pickle
from bpe_bench.spaces.nas_bench_201 import ORDER_FILE, NasBench201Space

from ._pickles import unpack_bz2

LIST = "meta_archs"
_LARGEST = 64 * 2**20  # bytes unpacked; the published file has 1.7 million


def build(file: Path) -> npt.NDArray[np.uint16]:
    """Return the base-5 codes of the architectures in official order, (15625,).

    Raises
    ------
    SourceFileError
        If the file is missing or does not list every architecture once.
    """
    texts = _read(file)
    space = NasBench201Space()
    try:
        codes = [int("".join(map(str, space.parse(text).genes)), 5) for text in texts]
    except GenotypeError as error:
        raise SourceFileError(
            f"{file}: {LIST} holds a text that is not an architecture: {error}"
        ) from error
    if sorted(codes) != list(range(space.size)):
        raise SourceFileError(
            f"{file}: {LIST} must hold all {space.size} architectures once, found "
            f"{len(codes)} texts of {len(set(codes))} architectures"
        )
    return np.array(codes, dtype=np.uint16)


def _read(file: Path) -> list[str]:
    if not file.is_file():
        raise SourceFileError(f"no file {file}")
    content: Any = load_pickle(
        io.BytesIO(unpack_bz2(file.read_bytes(), str(file), _LARGEST)), str(file), {}
    )
    texts = content.get(LIST) if isinstance(content, dict) else None
    if not isinstance(texts, list) or not all(isinstance(text, str) for text in texts):
        raise SourceFileError(f"{file}: no list of texts named {LIST}")
    return texts


@click.command()
@click.argument("file", type=click.Path(path_type=Path, dir_okay=False))
@click.option("-o", "--output", type=click.Path(path_type=Path), default=ORDER_FILE)
def main(file: Path, output: Path) -> None:
    """Write the official order of NAS-Bench-201 listed in FILE (meta.pickle.pbz2)."""
    try:
        codes = build(file)
    except BpeBenchError as error:
        raise click.ClickException(str(error)) from error
    with output.open("wb") as stream:  # by name, numpy would append an ending of its own
        np.save(stream, codes, allow_pickle=False)
    print(f"{output}: {len(codes)} architectures")


if __name__ == "__main__":
    main()

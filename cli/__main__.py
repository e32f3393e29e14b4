"""Lets ``python -m bpe_bench_cli`` do what ``bpe-bench`` does."""

from .main import main

main()

"""Real training of real networks: what fills a table's gaps.

Only `data`, `operations`, `network` and `trainer` import torch; `trial` and
`journal` do without, so results can be read where it is not installed.
"""

"""Real training of real networks: what fills a table's gaps.

Only `operations`, `network`, `pipeline`, `trainer` and `task` import torch; `trial`,
`journal` and `data` do without, so results can be read where it is not installed.
"""

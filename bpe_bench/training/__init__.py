"""Real training of real networks, which fills the gaps of tables.

`trial`, `journal` and `data` do without torch, so results can be read where it is not
installed; networks, pipeline, trainer, supernet and task import it.
"""

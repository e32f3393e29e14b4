"""Networks of the search spaces, a module for each with the space's name.

A module has ``OPERATIONS``, by name what makes them; a class ``Network``, a `ProxyNetwork`
made of (architecture, budget, `Frame`); and ``SUPERNET``, a `Relaxation`, where there is one.
"""

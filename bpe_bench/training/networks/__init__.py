"""Networks of the search spaces: a module for each, of the space's name.

A module has ``OPERATIONS``, by name what makes them; a class ``Network``, a `ProxyNetwork`
made of (architecture, budget, classes, input channels, whether it gets an auxiliary head,
operations by name); and, where the space has a supernet, ``SUPERNET``, a `Relaxation`.
"""

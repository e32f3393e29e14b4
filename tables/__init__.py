"""The tables that ship with bpe-bench, their registry and the code that builds them."""

"""Networks of the search spaces."""

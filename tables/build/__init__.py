"""One module per shipped table; each makes it again from the published files."""

"""The command line: commands parse, make one library call, and render."""

"""What the Python checks, tests and benchmarks of this repository share. Standard library only."""

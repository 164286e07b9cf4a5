"""Local field → susceptibility: one module per family of methods."""

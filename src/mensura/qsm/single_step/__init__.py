"""Total field → susceptibility in one step: one module per family of methods."""

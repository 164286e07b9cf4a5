"""Total field → local field: one module per family of methods."""

"""Executors run graphs: `numpy`, one step at a time by the reference rules. `jit` stages, caches and chooses."""

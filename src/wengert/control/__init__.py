"""Steps that carry graphs: calls, conditions, loops, recomputation."""

"""How parameters begin: initialisers take a shape or an array, and return an array."""

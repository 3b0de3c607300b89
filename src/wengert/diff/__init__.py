"""Derivatives: walks over the linearised graph."""

"""Experiments of chapter 5: normalisation through the weights."""

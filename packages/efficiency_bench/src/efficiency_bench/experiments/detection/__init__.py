"""Experiments of chapter 2."""

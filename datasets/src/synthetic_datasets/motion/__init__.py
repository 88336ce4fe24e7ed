"""Paths and boxes of moving objects."""

"""Measuring time, memory, multiply-adds and energy."""

"""Experiments, measuring, run records and tables for the methods of *Efficiency in Deep Learning*."""

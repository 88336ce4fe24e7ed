"""Readers of data sets of labelled videos in their published layouts."""

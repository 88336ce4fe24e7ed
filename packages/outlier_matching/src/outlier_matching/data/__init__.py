"""Labelled images of several domains: data sets in their own layouts, selections of them, and batches of pixels."""

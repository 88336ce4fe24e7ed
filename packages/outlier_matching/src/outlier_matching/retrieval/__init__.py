"""Matching of described images: exact ranking, its metrics, evaluation of two domains, and lookup in folders of images."""

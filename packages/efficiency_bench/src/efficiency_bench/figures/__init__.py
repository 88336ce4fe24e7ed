"""Figures: definitions and drawing."""

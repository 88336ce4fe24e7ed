"""The commands of ``location-anticipation``."""

"""The console command ``outlier-matching``."""

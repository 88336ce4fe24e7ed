"""The command ``weight-align``."""

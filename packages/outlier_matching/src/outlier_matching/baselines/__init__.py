"""Baselines: SIFT with Fisher vectors (table 4.2), and outlier detectors of scikit-learn."""

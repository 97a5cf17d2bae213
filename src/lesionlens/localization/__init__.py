"""Maps against annotations: metrics, thresholds, baselines."""

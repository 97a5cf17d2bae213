"""Training of case-based models: losses, the schedule, push and prune."""

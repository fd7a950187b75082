"""Metrics: pure functions of features, pixels or answers, each with its source and its interval."""

"""Training: one small loop that knows no task."""

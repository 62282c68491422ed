"""What MLflow is told: of contestants, of what was broken off, of what it did not take before."""

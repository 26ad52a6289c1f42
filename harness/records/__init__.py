"""What is kept: lines of runs and measurements, the store, and tuned settings."""

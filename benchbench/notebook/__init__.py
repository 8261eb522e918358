"""What notebooks and scripts call: `evaluate` and `sweep`, what they give back, and how they show their progress."""

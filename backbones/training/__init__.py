"""Training: one loop that trains anything in this house."""

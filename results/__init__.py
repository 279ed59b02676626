"""What was found: records, the store, statistics, and the board in every format. Knows nothing of how it was found."""

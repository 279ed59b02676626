"""Losses, pure functions that read like their papers."""

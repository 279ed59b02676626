"""Pieces that methods share."""

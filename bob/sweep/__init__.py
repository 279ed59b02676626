"""Sweeps: a plan's cells launched somewhere, watched from files alone, and run by workers that share nothing else."""

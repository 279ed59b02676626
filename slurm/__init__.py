"""Launching: any list of jobs, here or elsewhere. Knows nothing of backbones, tasks or results."""

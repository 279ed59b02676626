"""Scores by name, found by reading the files of ``tasks/ood/scores``."""

from backbones.plugins import Plugins

SCORES = Plugins("score", "tasks.ood.scores", "METHODS", "bob.ood_scores")

"""Answers: the backbone contract, one adapter per source, and feature extraction with its cache.

Importing this package loads no deep-learning library; names are resolved by :mod:`backbones.catalogue`.
"""

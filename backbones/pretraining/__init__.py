"""Pretraining: self-supervised methods that make backbones of this house's own."""

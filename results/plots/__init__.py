"""Pictures drawn from records: one file a plot, each with ``PLOTS = {"name": draw}`` and a ``draw(evidence)``."""

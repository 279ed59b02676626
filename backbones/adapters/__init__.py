"""One adapter per source of weights; each file declares ``ADAPTERS = {"prefix": load}`` and is found by its name."""

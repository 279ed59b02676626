"""The data tasks ask their questions on: one contract, one reader a file (``DATASETS = {"name": read}``)."""

"""transformers: vision models behind the contract: one table of kinds, and how to build, read and check them."""

"""One file a command, or a few of a kind: each parses, calls, prints. Nothing heavy is imported before it is needed."""

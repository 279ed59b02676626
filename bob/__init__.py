"""The roof: the command line, what to run (plan), and running it (gauntlet). Puts the wings together."""

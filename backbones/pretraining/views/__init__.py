"""How a method wants its images varied, and the device doing it."""

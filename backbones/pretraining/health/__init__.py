"""Whether what is trained still learns: numbers of an encoder's embeddings, and an alarm when they collapse."""

"""Whether what is trained still learns."""

"""Attacks on a classifier of pixels, one a file: each moves images so that they are taken for another class."""

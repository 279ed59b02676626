"""The parts of ``bob pretrain``: what was asked for, the images, the probes, and what is seen of it meanwhile."""

"""A GPU's hour: what the GPU path does and how fast, in one script that goes on where it was cut off."""

"""Ways to a convolution on a CPU that take fewer products than its sums."""

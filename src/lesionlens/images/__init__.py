"""Files to grey values and annotations."""

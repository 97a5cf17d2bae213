"""From patches to models: backbones, strategies, the training loop."""

"""From models to scores: classification, activation maps, localisation, statistics."""

"""Does the classifier look at the lesion?"""

__version__ = "0.1.0"

"""unblur takes blur out of images."""

__version__ = "0.1.0.dev0"

"""A result in the browser: ``mesoface view``."""

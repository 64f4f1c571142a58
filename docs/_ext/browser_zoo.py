"""Models for the page where the zoo runs in the reader's browser."""

ENTRIES = ("realnvp_digits", "glow_digits", "glow_digits_spline", "nice_digits")


def setup(app):
    return {"parallel_read_safe": True}

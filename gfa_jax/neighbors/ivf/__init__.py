"""Approximate neighbours through an inverted file, calibrated to a recall."""

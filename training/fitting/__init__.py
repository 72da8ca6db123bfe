"""Fit a network: epochs, resume, progress, calibration."""

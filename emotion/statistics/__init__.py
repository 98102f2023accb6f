"""Confidence intervals and hypothesis tests on tables of predictions, with speakers as the sampling unit."""

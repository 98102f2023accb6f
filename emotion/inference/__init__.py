"""A finished run on people's own files."""

from emotion.inference.predictor import Prediction, Predictor, Problem

__all__ = ["Prediction", "Predictor", "Problem"]

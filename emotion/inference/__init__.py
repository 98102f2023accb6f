"""A finished run on people's own files."""

from emotion.inference.predictions import Prediction, Problem
from emotion.inference.predictor import Predictor

__all__ = ["Prediction", "Predictor", "Problem"]

"""Training of neural classifiers with Lightning, and fitting of scikit-learn estimators."""

"""Augmentations of waveforms, spectra, features, images, and whole batches."""

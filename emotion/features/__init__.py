"""Waveform to network input, on the device: front ends, their feature sets, augmentation and normalisation."""

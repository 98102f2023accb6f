"""Decode audio and video files, nothing else."""

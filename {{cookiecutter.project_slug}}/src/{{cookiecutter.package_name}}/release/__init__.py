"""Releases: images, the target, the canary, back."""

"""Fixtures of the tests of a release."""

from release_parts import plan, registered, versions

__all__ = ["plan", "registered", "versions"]

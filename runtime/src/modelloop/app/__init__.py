"""The parts of the demo, for a repository's app/demo.py: a frame and three tabs.

Fields and figures follow from the contract that the server sends: nothing here knows a model.
"""

from modelloop.app.about import about
from modelloop.app.one_case import one_case
from modelloop.app.page import page
from modelloop.app.whole_file import whole_file
from modelloop.app.words import plain

__all__ = ["about", "one_case", "page", "plain", "whole_file"]

"""The model of this repository; `project` is how the library finds it."""

from modelloop import Project

project = Project.of(__file__)

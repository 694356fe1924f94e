"""Read a pipeline file as GoCD reads it."""

from collections.abc import Hashable
from pathlib import Path
from typing import Any

import yaml


def read(file: Path) -> Any:
    """The content of a file: dictionaries and lists of strings; None of an empty one.

    Raises:
        OSError: the file cannot be read.
        ValueError: it is not UTF-8.
        yaml.YAMLError: it is not YAML, or a map holds a key twice.
    """
    return yaml.load(file.read_text(encoding="utf-8"), _Loader)


class _Loader(yaml.BaseLoader):
    """Every scalar is a string, and a key comes once, also where `<<` merges another map."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Hashable, Any]:
        result: dict[Hashable, Any] = {}
        for nodes in node.value:
            key, value = (self.construct_object(item, deep=True) for item in nodes)
            merged = value if isinstance(value, list) else [value]
            problem = None
            if not isinstance(key, str):
                problem = "a key that is no text: quote a text that begins with a brace"
            elif key == "<<" and not all(isinstance(each, dict) for each in merged):
                problem = "<< merges maps only"
            elif key in result:
                problem = f"duplicate key {key}: write << after the keys that it shall not replace"
            if problem:
                raise yaml.MarkedYAMLError(problem=problem, problem_mark=nodes[0].start_mark)
            for each in merged if key == "<<" else [{key: value}]:
                result |= each | result
        return result

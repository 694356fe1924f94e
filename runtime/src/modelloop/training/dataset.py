"""The repository's own table as training uses it: read, validated, prepared, split."""

from modelloop.project import Project
from modelloop.table import columns, prepare, validate
from modelloop.table.columns import ColumnRule
from modelloop.table.prepare import Rows


def rules(project: Project) -> tuple[list[ColumnRule], ColumnRule]:
    """The rules of the features, in the order of FEATURES, and of the target.

    Raises:
        DataError: model.py names a column that SCHEMA in data.py does not have, or whose type no
            model takes.
    """
    schema, model = project.data.SCHEMA, project.model
    target = columns.target_rule(schema, model.TARGET, project.problem_type)
    return columns.column_rules(schema, model.FEATURES), target


def load(project: Project) -> Rows:
    """Read DATA_URI and prepare it as the pipeline's steps do, in this process.

    Raises:
        TableError: the table cannot be read.
        DataError: the rows break the schema, or are too few.
    """
    env, data = project.settings, project.data
    valid = validate.validate(data.load(env.data_uri, env.data_query), data.SCHEMA)
    features, target = rules(project)
    by = (project.model.WEIGHT, project.model.SPLIT)
    columns.check_names(data.SCHEMA, prepare.needed(features, target, *by))
    table = prepare.prepare(valid, features, target, *by)
    train_rows, test_rows = prepare.split(table, project.model.TEST_SHARE, project.model.SPLIT)
    return Rows(train_rows, test_rows, features, target)

"""The data itself. Yours to extend with what must hold of your table."""

from {{ cookiecutter.package_name }} import columns, data, model, settings
from {{ cookiecutter.package_name }}.training import validate


def test_the_table_obeys_the_schema():
    env = settings.load()
    assert len(validate.validate(data.load(env.data_uri, env.data_query), data.SCHEMA)) > 0


def test_the_model_names_columns_of_the_schema():
    rules = columns.column_rules(data.SCHEMA, [*model.FEATURES, model.TARGET])
    assert {rule.name for rule in rules} == {*model.FEATURES, model.TARGET}
    assert model.TARGET not in model.FEATURES


def test_every_slice_column_is_a_category():
    kinds = {rule.name: rule.kind for rule in columns.column_rules(data.SCHEMA, model.GATE.slices)}
    assert set(kinds.values()) <= {"category"}

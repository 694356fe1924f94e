import pytest

from {{ cookiecutter.package_name }}.errors import UserError
from {{ cookiecutter.package_name }}.monitoring import tools


@pytest.fixture(scope="session")
def programs() -> None:
    """For tests that run Prometheus' and Alertmanager's programs."""
    try:
        for name in tools.PROGRAMS:
            tools.find(name)
    except UserError as error:
        pytest.skip(str(error))

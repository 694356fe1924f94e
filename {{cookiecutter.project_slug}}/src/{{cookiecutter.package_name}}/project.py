"""The answers this repository was generated with, as constants. No other module carries them."""

from typing import Final, Literal

# fmt: off
NAME: Final = {{ cookiecutter.project_name|quoted }}
SLUG: Final = {{ cookiecutter.project_slug|quoted }}
DESCRIPTION: Final = {{ cookiecutter.description|quoted }}
OWNER_TEAM: Final = {{ cookiecutter.owner_team|quoted }}
CONTACT: Final = {{ cookiecutter.contact|quoted }}
PROBLEM_TYPE: Final[Literal["classification", "regression"]] = {{ cookiecutter.problem_type|quoted }}
CONTAINER_REGISTRY: Final = {{ cookiecutter.container_registry|quoted }}
KUBERNETES_NAMESPACE: Final = {{ cookiecutter.kubernetes_namespace|quoted }}
REPOSITORY_URL: Final = {{ cookiecutter.repository_url|quoted }}
GRAFANA_URL: Final = {{ cookiecutter.grafana_url|quoted }}
PROMETHEUS_URL: Final = {{ cookiecutter.prometheus_url|quoted }}
GOCD_URL: Final = {{ cookiecutter.gocd_url|quoted }}
# fmt: on

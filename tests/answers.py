"""Sets of answers: every value of every option, and the extremes of the free ones."""

Answers = dict[str, str | bool]

REGRESSION: Answers = {"problem_type": "regression"}
MIT: Answers = {"license": "MIT"}
PROPRIETARY: Answers = {"license": "proprietary"}
AZUREML: Answers = {"release_target": "azureml"}
AIRFLOW: Answers = {"airflow_dag": True}

SHORTEST: Answers = {
    "project_name": "P",
    "project_slug": "p",
    "package_name": "p",
    "description": "",
    "owner_team": "t",
    "contact": "c",
    "container_registry": "r",
    "kubernetes_namespace": "n",
    "mlflow_tracking_uri": "http://m",
    "repository_url": "http://r",
    "grafana_url": "http://g",
    "prometheus_url": "http://p",
    "gocd_url": "http://c",
}
LONGEST: Answers = {
    "project_name": ("Penguins of the long and winding name " * 3)[:100],
    "project_slug": "a-" * 19 + "zz",
    "package_name": "a_" * 19 + "zz",
    "description": ("It predicts whatever can be predicted of a penguin, and says so. " * 5)[:300],
    "owner_team": "t" * 63,
    "contact": "https://example.com/" + "c" * 180,
    "container_registry": "registry.example.com:5000/" + "r" * 102,
    "kubernetes_namespace": "n" * 55,
    "mlflow_tracking_uri": "https://" + "m" * 192,
    "repository_url": "https://" + "r" * 192,
    "grafana_url": "https://" + "g" * 192,
    "prometheus_url": "https://" + "p" * 192,
    "gocd_url": "https://" + "c" * 192,
}
# What breaks a file when somebody forgets to quote: in TOML, YAML, JSON, Make, shells, Markdown,
# Python, Go templates and HTML; and text that is not ASCII, or not written from left to right.
MARKS = (
    "{{ x }} {{ cookiecutter.contact }} {% raw %} {% endraw %} {# "
    'It\'s "so" \'\'\'so\'\'\' """so""" \\ \\n C:\\new # no: comment, - & *x !y [a] {b: c} }} %} #}'
)
HOSTILE: Answers = {
    "project_name": "- 'Pengu\u00efns': \"& co\" <b> {x} \\",
    "project_slug": "hostile",
    "package_name": "hostile",
    "description": MARKS + " $HOME ${x} $(id) `id` | > @ ~ %s \u05e9\u05dc\u05d5\u05dd \U0001f427",
    "owner_team": '{{ x }} #1: "Team\'s" \\ $(x) {y} % \u0644\u063a\u0629 \U0001f9ca\\',
    "contact": "#pengu\u00efns-\"'\\$(id)`{}&<>",
}

EVERY: dict[str, Answers] = {
    "default": {},
    "regression": REGRESSION,
    "mit": MIT,
    "proprietary": PROPRIETARY,
    "shortest": SHORTEST,
    "longest": LONGEST | REGRESSION | MIT,
    "hostile": HOSTILE,
    "hostile-regression": HOSTILE | REGRESSION | PROPRIETARY,
    "azureml": AZUREML,
    "azureml-longest": AZUREML | LONGEST | REGRESSION,
    "airflow": AIRFLOW,
    "airflow-shortest": AIRFLOW | SHORTEST | REGRESSION,
    "airflow-longest": AIRFLOW | LONGEST | AZUREML,
    "airflow-hostile": AIRFLOW | HOSTILE,
}

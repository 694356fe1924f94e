"""The repository's class of Seldon's methods, in this process."""

import time

import pytest

from modelloop.serving import Predictor, Refusal
from modelloop.serving.metrics import Metrics
from modelloop.testing import example_model
from modelloop.testing.example_model import FAILS, NAMES, ROW


@pytest.fixture
def model_of(project, tmp_path):
    """Make the repository's model around the example of a problem type."""

    def make(problem_type: str):
        contract = example_model.make_for(problem_type, tmp_path)
        predictor = Predictor.load(project, tmp_path, max_rows=10)
        return project.serving.Model(predictor, Metrics(contract))

    return make


@pytest.mark.parametrize(
    ("problem_type", "outputs", "labels"),
    [
        ("classification", example_model.CHANCES, {"prediction": ["low", "low"]}),
        ("regression", [example_model.VALUE], {}),
    ],
)
def test_the_response_says_which_model_answered_what_and_when(
    model_of, problem_type, outputs, labels
):
    model = model_of(problem_type)
    message = {"meta": {"puid": "p-1"}, "data": {"names": NAMES, "ndarray": [ROW, ROW]}}

    response = model.predict_raw(message)

    assert response["data"]["names"] == model.contract.output_names
    assert response["data"]["ndarray"] == [pytest.approx(outputs)] * 2
    assert response["meta"]["puid"] == "p-1"
    tags = response["meta"]["tags"]
    assert tags.pop("answered_at") == pytest.approx(time.time(), abs=60)
    assert tags == {"model_name": "answers", "model_version": "3", **labels}


def test_a_failing_model_is_the_servers_fault(model_of):
    row = [FAILS if name == "age" else value for name, value in zip(NAMES, ROW, strict=True)]
    message = {"meta": {"puid": "p-1"}, "data": {"names": NAMES, "ndarray": [row]}}

    with pytest.raises(Refusal, match="the model failed; see the server's log for 'p-1'") as caught:
        model_of("regression").predict_raw(message)

    assert (caught.value.status, caught.value.reason) == (500, "MODEL_FAILED")


def test_feedback_on_a_response_is_counted(model_of):
    model = model_of("classification")
    response = model.predict_raw({"data": {"names": NAMES, "ndarray": [ROW]}})

    truth = {"data": {"ndarray": [["mid"]]}}
    answer = model.send_feedback({"response": response, "truth": truth})

    puid = response["meta"]["puid"]
    assert answer == {"meta": {"puid": puid, "tags": {"feedback": "counted"}}}
    page = model.metrics.page().decode()
    (line,) = (x for x in page.splitlines() if 'truth="mid"' in x and 'predicted="low"' in x)
    assert line.endswith(" 1.0")

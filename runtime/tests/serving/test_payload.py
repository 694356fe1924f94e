import math

import numpy as np
import pytest

from modelloop.serving import payload
from modelloop.serving.payload import Feedback
from modelloop.serving.predictor import Prediction, Refusal
from modelloop.testing import example_model


def refusal(message: object) -> tuple[int, str]:
    with pytest.raises(Refusal) as caught:
        payload.decode(message)
    return caught.value.status, caught.value.reason


def test_ndarray():
    request = payload.decode({"data": {"names": ["a", "b"], "ndarray": [[1, "x"], [None, "y"]]}})
    assert request.names == ["a", "b"]
    assert request.rows == [[1, "x"], [None, "y"]]


def test_names_may_be_left_out():
    assert payload.decode({"data": {"ndarray": [[1]]}}).names is None


def test_tensor():
    tensor = {"shape": [3, 2], "values": [1, 2, 3.5, 4, 5, 6]}
    request = payload.decode({"data": {"names": ["a", "b"], "tensor": tensor}})
    assert request.names == ["a", "b"]
    assert request.rows == [[1, 2], [3.5, 4], [5, 6]]


def test_a_list_of_records():
    request = payload.decode({"jsonData": [{"a": 1, "b": "x"}, {"b": None, "a": 2}]})
    assert request.names == ["a", "b"]
    assert request.rows == [[1, "x"], [2, None]]


def test_one_record():
    request = payload.decode({"jsonData": {"a": 1, "b": "x"}})
    assert (request.names, request.rows) == (["a", "b"], [[1, "x"]])


def test_the_puid_of_the_request_is_kept():
    message = {"meta": {"puid": "p-1"}, "data": {"ndarray": []}}
    assert payload.decode(message, "other").puid == "p-1"
    assert payload.decode({**message, "meta": {}}, "other").puid == "other"


@pytest.mark.parametrize("meta", [{}, {"meta": None}, {"meta": {}}, {"meta": {"puid": ""}}])
def test_a_request_without_puid_gets_one(meta):
    first, second = (payload.decode({**meta, "data": {"ndarray": []}}).puid for _ in range(2))
    assert len(first) == 32
    assert first != second


@pytest.mark.parametrize(
    "message",
    [
        {"data": None},
        {"data": [[1]]},
        {"data": {"ndarray": "text"}},
        {"data": {"ndarray": {"a": 1}}},
        {"data": {"ndarray": None}},
        {"data": {"names": "a", "ndarray": [[1]]}},
        {"data": {"names": [1], "ndarray": [[1]]}},
        {"data": {"tensor": [[1]]}},
        {"data": {"tensor": {}}},
        {"data": {"tensor": {"shape": [1, 1]}}},
        {"data": {"tensor": {"values": [1]}}},
        {"data": {"tensor": {"shape": "1,1", "values": [1]}}},
        {"data": {"tensor": {"shape": [1.0, 1], "values": [1]}}},
        {"data": {"tensor": {"shape": [True, 1], "values": [1]}}},
        {"data": {"tensor": {"shape": [-1, 1], "values": [1]}}},
        {"data": {"tensor": {"shape": [1, 1], "values": ["x"]}}},
        {"data": {"tensor": {"shape": [1, 1], "values": [None]}}},
        {"data": {"tensor": {"shape": [1, 1], "values": [True]}}},
        {"jsonData": "text"},
        {"jsonData": None},
        {"jsonData": [[1]]},
        {"jsonData": [{"a": 1}, 2]},
        {"data": {"ndarray": [[1]]}, "meta": "text"},
        {"data": {"ndarray": [[1]]}, "meta": {"puid": 7}},
        {"data": {"ndarray": [[1]]}, "meta": {"puid": "x" * 201}},
    ],
)
def test_a_malformed_message_is_refused(message):
    assert refusal(message) == (400, "BAD_PAYLOAD")


@pytest.mark.parametrize(
    "message",
    [
        {},
        {"meta": {"puid": "p"}},
        {"strData": "text"},
        {"binData": "aGVsbG8="},
        {"data": {}},
        {"data": {"names": ["a"]}},
        {"data": {"tftensor": {}}},
        {"data": {"ndarray": [[1]], "tensor": {"shape": [1, 1], "values": [1]}}},
        {"data": {"ndarray": [[1]]}, "jsonData": [{"a": 1}]},
    ],
)
def test_another_kind_of_content_is_refused_with_what_to_send(message):
    with pytest.raises(Refusal, match=r'send \{"data": \{"names"') as caught:
        payload.decode(message)
    assert (caught.value.status, caught.value.reason) == (415, "UNSUPPORTED_PAYLOAD")


@pytest.mark.parametrize(
    ("shape", "values"),
    [([2], [1, 2]), ([2, 2], [1, 2, 3]), ([1, 2, 1], [1, 2]), ([], [1]), ([10**12, 0], [])],
)
def test_a_tensor_that_is_no_table_is_refused(shape, values):
    tensor = {"shape": shape, "values": values}
    assert refusal({"data": {"tensor": tensor}}) == (422, "NOT_A_TABLE")


@pytest.mark.parametrize("records", [[{}], [{"a": 1}, {"b": 1}], [{"a": 1}, {"a": 1, "b": 2}]])
def test_records_of_different_names_are_refused(records):
    assert refusal({"jsonData": records}) == (422, "WRONG_NAMES")


def test_no_records_are_no_rows():
    assert payload.decode({"jsonData": []}).rows == []


def test_the_response_has_the_outputs_by_name_the_id_and_the_tags(contract):
    request = payload.decode({"meta": {"puid": "p-1"}, "data": {"ndarray": []}})
    outputs = np.full((2, len(contract.output_names)), 0.5)
    response = payload.encode(Prediction(outputs, None, {}), contract, request, {"a": [1]})
    assert response == {
        "data": {"names": contract.output_names, "ndarray": outputs.tolist()},
        "meta": {"puid": "p-1", "tags": {"a": [1]}},
    }


def test_a_tensor_is_answered_with_a_tensor(contract):
    request = payload.decode({"data": {"tensor": {"shape": [3, 1], "values": [1, 2, 3]}}})
    outputs = np.arange(3.0 * len(contract.output_names)).reshape(3, -1)
    response = payload.encode(Prediction(outputs, None, {}), contract, request, {})
    tensor = response["data"]["tensor"]
    assert np.array_equal(np.reshape(tensor["values"], tensor["shape"]), outputs)


def truth(*rows: object) -> dict:
    return {"truth": {"data": {"ndarray": [[row] for row in rows]}}}


@pytest.fixture
def made(tmp_path):
    """The contract of the example, which answers a value."""
    return example_model.make(tmp_path)


def test_feedback_with_a_reward(made):
    response = {"meta": {"puid": "p-1", "tags": {"model_version": "3", "answered_at": 5.5}}}
    message = {"request": {}, "response": response, "reward": 0}
    assert payload.decode_feedback(message, made) == Feedback("p-1", "3", 0, answered_at=5.5)
    assert payload.decode_feedback({"reward": 0.5}, made) == Feedback("", reward=0.5)
    # Seldon's own client leaves out a reward of 0.
    assert payload.decode_feedback({"response": {}}, made) == Feedback("", reward=0)


def test_feedback_about_values(made):
    response = {"data": {"ndarray": [[9.5], [8]]}}
    found = payload.decode_feedback({"response": response} | truth(10, 8.5), made)
    assert found == Feedback("", truth=[10, 8.5], predicted=[9.5, 8])
    assert found.rows == 2
    tensor = {"data": {"tensor": {"shape": [1, 1], "values": [9.5]}}}
    found = payload.decode_feedback({"response": tensor, "truth": tensor}, made)
    assert (found.truth, found.predicted) == ([9.5], [9.5])
    assert payload.decode_feedback(truth(1), made).predicted is None


def test_feedback_about_classes(tmp_path):
    classes = example_model.make_classifier(tmp_path)
    response = {"meta": {"tags": {"prediction": ["low", "mid"]}}, "data": {"ndarray": []}}
    found = payload.decode_feedback({"response": response} | truth("low", "low"), classes)
    assert found == Feedback("", truth=["low", "low"], predicted=["low", "mid"])
    # Classes may be called by numbers, which are floats in protobuf.
    assert payload.decode_feedback(truth(1, 2.0, 0.5), classes).truth == ["1", "2", "0.5"]
    # Where they are booleans, they are text in the contract.
    target = classes.target.model_copy(update={"dtype": "bool"})
    classes = classes.model_copy(update={"classes": ["false", "true"], "target": target})
    assert payload.decode_feedback(truth(True, "false"), classes).truth == ["true", "false"]


@pytest.mark.parametrize(
    "message",
    [
        {},
        {"reward": 1, "score": 1},
        {"reward": 1.01},
        {"reward": -1},
        {"reward": "much"},
        {"reward": True},
        {"reward": [1]},
        {"reward": math.nan},
        {"reward": -math.inf},
        {"reward": 10**400},
        {"reward": 1, "request": 5},
        {"reward": 1, "response": []},
        {"reward": 1, "truth": "x"},
        {"truth": {}},
        {"truth": {"data": {"ndarray": []}}},
        {"truth": {"jsonData": [1]}},
        truth("x"),
        truth(True),
        truth(None),
        truth(math.inf),
        truth(10**400),
        {"response": {"meta": {"tags": "x"}}},
        {"response": {"data": {"ndarray": [[1]]}}} | truth(1, 2),
    ],
)
def test_malformed_feedback_is_refused(made, message):
    with pytest.raises(Refusal) as caught:
        payload.decode_feedback(message, made)
    assert (caught.value.status, caught.value.reason) == (400, "BAD_FEEDBACK")


@pytest.mark.parametrize("meta", ["text", {"puid": 7}, {"puid": "x" * 201}])
def test_feedback_with_a_malformed_id_is_refused(made, meta):
    with pytest.raises(Refusal) as caught:
        payload.decode_feedback({"reward": 1, "response": {"meta": meta}}, made)
    assert (caught.value.status, caught.value.reason) == (400, "BAD_PAYLOAD")

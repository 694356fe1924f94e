"""A small model that is made, not trained, so that tests know its outputs.

Its features are a number that may be missing, a number without limits and a category; the outlier
detector watches the two numbers, and each has the edge 5 between its bins. The output is
640 / (100 - age): for an age of 100 the model itself fails.
"""

from pathlib import Path

from onnx import TensorProto, helper

from modelloop.contract.contract import (
    Column,
    Contract,
    GoldenRow,
    OutlierDetector,
    Provenance,
    Reference,
    ServedForm,
)

NAMES = ["mass", "age", "colour"]
ROW = [2.5, 36, "red"]
VALUE = 10.0
CLASSES = ["low", "mid", "other"]
CHANCES = [0.5, 0.3, 0.2]
FAILS = 100  # as age


def make_for(problem_type: str, folder: Path, name: str = "answers") -> Contract:
    """Write the model that predicts a value (`make`), or a class (`make_classifier`)."""
    return {"regression": make, "classification": make_classifier}[problem_type](folder, name)


def make(folder: Path, name: str = "answers") -> Contract:
    """Write a regression and its contract into a folder; returns the contract."""
    feature = {"role": "feature", "missing": 0}
    numbers = Reference(edges=[5.0], shares=[0.4, 0.4, 0.1, 0.1])
    contract = Contract(
        name=name,
        version="3",
        description="A model that is made, not trained",
        owner="tests",
        problem_type="regression",
        target=Column(
            name="value",
            role="target",
            kind="number",
            dtype="float64",
            nullable=False,
            missing=0,
            reference=numbers,
        ),
        features=[
            Column(
                name="mass",
                kind="number",
                dtype="float64",
                unit="kg",
                nullable=True,
                minimum=0,
                maximum=10,
                reference=numbers,
                **feature,
            ),
            Column(
                name="age",
                kind="number",
                dtype="int64",
                nullable=False,
                reference=numbers,
                **feature,
            ),
            Column(
                name="colour",
                kind="category",
                dtype="str",
                nullable=False,
                categories=["red", "green"],
                reference=Reference(categories=["red", "green"], shares=[0.4, 0.4, 0.1, 0.1]),
                **feature,
            ),
        ],
        predictions=numbers,
        outliers=OutlierDetector(
            features=["mass", "age"],
            mean=[5, 40],
            precision=[[0.25, 0], [0, 0.01]],
            threshold=9.0,  # three standard deviations: 2 kg, 10 years
            share=0.01,
        ),
        served=ServedForm(form="onnx", file="model.onnx", largest_difference=0, reason="made"),
        golden=[GoldenRow(inputs=dict(zip(NAMES, ROW, strict=True)), outputs=[VALUE])],
        metrics={"mae": 0.5},
        provenance=Provenance(
            candidate="made",
            trained_at="2026-01-01T00:00:00+00:00",
            git_commit="0" * 40,
            data_uri="none",
            data_sha256="0" * 64,
            rows_train=0,
            rows_test=0,
            python="3",
            packages={},
            pipeline_run="none",
            mlflow_run="none",
            mlflow_model="none",
        ),
    )
    contract.write(folder)
    (folder / contract.served.file).write_bytes(_onnx())
    return contract


def make_classifier(folder: Path, name: str = "answers") -> Contract:
    """Write a classification of three classes: where `make` predicts 10, it predicts CHANCES."""
    contract = make(folder, name)
    of_classes = Reference(categories=CLASSES, shares=[0.4, 0.2, 0.2, 0.1, 0.1])
    golden = contract.golden[0].model_copy(update={"outputs": CHANCES})
    contract = contract.model_copy(
        update={
            "problem_type": "classification",
            "classes": CLASSES,
            "target": contract.target.model_copy(
                update={"kind": "category", "categories": CLASSES, "reference": of_classes}
            ),
            "predictions": of_classes,
            "golden": [golden],
            "metrics": {"accuracy": 0.9},
        }
    )
    contract.write(folder)
    (folder / contract.served.file).write_bytes(_onnx(classes=True))
    return contract


def _onnx(*, classes: bool = False) -> bytes:
    kinds = {"mass": TensorProto.FLOAT, "age": TensorProto.FLOAT, "colour": TensorProto.STRING}
    nodes = [
        helper.make_node("Sub", ["limit", "age"], ["rest"]),
        helper.make_node("Div", ["scale", "rest"], ["value"]),
    ]
    outputs = [helper.make_tensor_value_info("value", TensorProto.FLOAT, [None, 1])]
    constants: dict[str, float] = {"limit": FAILS, "scale": 640}
    if classes:
        nodes += [
            helper.make_node("Mul", ["value", "a twentieth"], ["low"]),
            helper.make_node("Sub", ["most", "low"], ["other"]),
            helper.make_node("Mul", ["value", "nothing"], ["no value"]),
            helper.make_node("Add", ["no value", "some"], ["mid"]),
            helper.make_node("Concat", ["low", "mid", "other"], ["chances"], axis=1),
        ]
        outputs += [helper.make_tensor_value_info("chances", TensorProto.FLOAT, [None, 3])]
        constants |= {"a twentieth": 0.05, "most": 0.7, "nothing": 0, "some": 0.3}
    graph = helper.make_graph(
        nodes,
        "example",
        [helper.make_tensor_value_info(name, kind, [None, 1]) for name, kind in kinds.items()],
        outputs,
        [
            helper.make_tensor(name, TensorProto.FLOAT, [1], [value])
            for name, value in constants.items()
        ],
    )
    opset = [helper.make_opsetid("", 18)]
    model = helper.make_model(graph, opset_imports=opset, ir_version=9)
    return model.SerializeToString()

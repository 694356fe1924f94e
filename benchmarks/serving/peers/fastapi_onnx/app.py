"""The least server that answers with the ONNX file: no validation, metrics or error handling."""

import os

import numpy as np
import onnxruntime
import orjson
from fastapi import FastAPI, Request, Response

options = onnxruntime.SessionOptions()
options.intra_op_num_threads = 1
options.inter_op_num_threads = 1
session = onnxruntime.InferenceSession(
    os.environ["MODEL_FILE"], options, providers=["CPUExecutionProvider"]
)
inputs = [(i.name, np.float32 if "float" in i.type else object) for i in session.get_inputs()]
probabilities = session.get_outputs()[1].name
app = FastAPI()


@app.post("/predict")
async def predict(request: Request) -> Response:
    """Answer a table of rows with the probabilities of the classes."""
    data = orjson.loads(await request.body())
    columns = dict(zip(data["names"], zip(*data["rows"], strict=True), strict=True))
    feed = {name: np.array(columns[name], dtype=kind).reshape(-1, 1) for name, kind in inputs}
    answer = {"outputs": session.run([probabilities], feed)[0]}
    return Response(
        orjson.dumps(answer, option=orjson.OPT_SERIALIZE_NUMPY), media_type="application/json"
    )

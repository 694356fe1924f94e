"""The model server: what it answers, in Seldon's format, over HTTP and, on request, gRPC.

Nothing is imported before it is used: `environment` must set what libraries read at their import.
"""

from typing import TYPE_CHECKING

from modelloop.lazy import exports

if TYPE_CHECKING:
    from modelloop.contract.served_model import MISSING
    from modelloop.serving import payload
    from modelloop.serving.predictor import Prediction, Predictor, Refusal
    from modelloop.serving.seldon import Message, SeldonModel

__all__ = [
    "MISSING",
    "Message",
    "Prediction",
    "Predictor",
    "Refusal",
    "SeldonModel",
    "payload",
]

__getattr__ = exports(
    __name__,
    {
        "MISSING": "modelloop.contract.served_model",
        "Message": "modelloop.serving.seldon",
        "Prediction": "modelloop.serving.predictor",
        "Predictor": "modelloop.serving.predictor",
        "Refusal": "modelloop.serving.predictor",
        "SeldonModel": "modelloop.serving.seldon",
        "payload": "modelloop.serving.payload",
    },
)

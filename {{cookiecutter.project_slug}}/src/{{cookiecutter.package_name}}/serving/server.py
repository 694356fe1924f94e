"""Start the model server: seldon-core's applications, at our addresses, in our processes.

seldon-core's own launcher listens on all interfaces, before the model is loaded, in up to seven
processes that do not end together. Here the model is loaded and proven first, then the ports are
opened, then the workers are forked.
"""

import logging
import os
import socket
from collections.abc import Callable, Iterable

from ..errors import UserError
from ..settings import Settings
from . import processes, rest
from .metrics import Metrics
from .predictor import Predictor
from .seldon_model import SeldonModel

logger = logging.getLogger(__name__)

Wsgi = Callable[[dict, Callable], Iterable[bytes]]

# A thread that a library starts is missing in the forked workers: without OpenMP's they can hang,
# without onnxruntime's, which sends usage data to its makers, they abort when they end. Neither
# library is imported before `run`.
NO_THREADS = {"OMP_NUM_THREADS": "1", "ORT_DISABLE_TELEMETRY": "1"}


def run(settings: Settings) -> None:
    """Serve the model of `settings.model_dir` until SIGTERM or Ctrl-C; ends by SystemExit.

    Raises:
        UserError: the folder holds no model that may be served, or a port cannot be opened.
    """
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(message)s")
    logging.getLogger("seldon_core").setLevel(logging.WARNING)
    os.environ.update(NO_THREADS)

    predictor = Predictor.load(settings.model_dir, settings.max_rows)
    metrics = Metrics()
    app = rest.prediction_app(SeldonModel(predictor), metrics, settings.max_body_bytes)
    by_port = {settings.serve_port: app, settings.metrics_port: rest.metrics_app(metrics)}
    ports = (settings.serve_port, settings.metrics_port)
    listeners = [_listen(settings.serve_host, port) for port in ports]

    contract = predictor.contract
    logger.info(
        "serving %s version %s (%s) on %s, metrics on %s/metrics",
        contract.name,
        contract.version or "none",
        contract.served.form,
        *(_url(settings.serve_host, port) for port in ports),
    )
    processes.run(_dispatch(by_port), listeners, settings)


def _listen(host: str, port: int) -> socket.socket:
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    try:
        return socket.create_server((host, port), family=family, backlog=2048)
    except OSError as error:
        reason = error.strerror.partition(" (while")[0]
        raise UserError(
            f"cannot listen on {_url(host, port)}: {reason}; "
            "SERVE_HOST, SERVE_PORT and METRICS_PORT choose the addresses"
        ) from error


def _url(host: str, port: int) -> str:
    return f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"


def _dispatch(by_port: dict[int, Wsgi]) -> Wsgi:
    """One application for both ports, so that one set of processes serves them."""

    def app(environ: dict, start_response: Callable) -> Iterable[bytes]:
        # gunicorn takes the port from the socket, not from what the client says.
        return by_port[int(environ["SERVER_PORT"])](environ, start_response)

    return app

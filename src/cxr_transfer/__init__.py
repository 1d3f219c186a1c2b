"""cxr-transfer: chest radiographs told apart from few examples, and how far to trust it.

>>> import cxr_transfer as cxr
>>> dataset = cxr.load_dataset("images.csv")  # doctest: +SKIP
>>> run = cxr.train("model_1", dataset, out="runs/mine", seed=0)  # doctest: +SKIP
>>> cxr.evaluate(run, dataset.test).to_frame()  # doctest: +SKIP
>>> cxr.audit(run, dataset)["verdict"]  # doctest: +SKIP
>>> cxr.Predictor.released("model_3").predict("image.dcm").probabilities  # doctest: +SKIP
{'normal': 0.02, 'bacterial': 0.01, 'covid19': 0.97}

Everything here is imported when it is asked for: `import cxr_transfer` alone takes no time.
"""

import importlib
from typing import TYPE_CHECKING

from cxr_transfer.about import DEFAULT_MODEL, INTENDED_USE, __version__

if TYPE_CHECKING:
    from cxr_transfer.api import Report, evaluate, load_dataset, train
    from cxr_transfer.api_acceptance import accept, monitor, plan_acceptance
    from cxr_transfer.api_audits import audit
    from cxr_transfer.api_protocols import compare, cross_validate, validate
    from cxr_transfer.api_readers import readers, readings_as_dicom
    from cxr_transfer.api_reports import report
    from cxr_transfer.api_studies import learning_curve, local_curve
    from cxr_transfer.client import AsyncClient, Client
    from cxr_transfer.client_job_requests import ServerJob
    from cxr_transfer.client_requests import ServerAnswer, ServerModel
    from cxr_transfer.datasets.case import Case
    from cxr_transfer.datasets.paper import Dataset
    from cxr_transfer.errors import CxrError
    from cxr_transfer.inference.explain import Explainer
    from cxr_transfer.inference.prediction import Prediction, Predictions
    from cxr_transfer.inference.predictor import Predictor
    from cxr_transfer.radiograph.reorientation import Reorientation

__all__ = [
    "DEFAULT_MODEL",
    "INTENDED_USE",
    "AsyncClient",
    "Case",
    "Client",
    "CxrError",
    "Dataset",
    "Explainer",
    "Prediction",
    "Predictions",
    "Predictor",
    "Reorientation",
    "Report",
    "ServerAnswer",
    "ServerJob",
    "ServerModel",
    "__version__",
    "accept",
    "audit",
    "compare",
    "cross_validate",
    "evaluate",
    "learning_curve",
    "load_dataset",
    "local_curve",
    "monitor",
    "plan_acceptance",
    "readers",
    "readings_as_dicom",
    "report",
    "train",
    "validate",
]

_HOMES = {
    **dict.fromkeys(("Report", "evaluate", "load_dataset", "train"), "api"),
    **dict.fromkeys(("accept", "monitor", "plan_acceptance"), "api_acceptance"),
    **dict.fromkeys(("compare", "cross_validate", "validate"), "api_protocols"),
    **dict.fromkeys(("learning_curve", "local_curve"), "api_studies"),
    "readers": "api_readers",
    "readings_as_dicom": "api_readers",
    "audit": "api_audits",
    "report": "api_reports",
    **dict.fromkeys(("AsyncClient", "Client"), "client"),
    **dict.fromkeys(("ServerAnswer", "ServerModel"), "client_requests"),
    "ServerJob": "client_job_requests",
    "Case": "datasets.case",
    "CxrError": "errors",
    "Dataset": "datasets.paper",
    "Explainer": "inference.explain",
    **dict.fromkeys(("Prediction", "Predictions"), "inference.prediction"),
    "Predictor": "inference.predictor",
    "Reorientation": "radiograph.reorientation",
}


def __getattr__(name: str) -> object:
    if name in _HOMES:
        try:
            module = importlib.import_module(f"{__name__}.{_HOMES[name]}")
        except ModuleNotFoundError as error:
            from cxr_transfer.extras import missing_package

            missing = missing_package(error.name, f"cxr_transfer.{name}")
            if missing is None:
                raise
            raise missing from None
        return getattr(module, name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})

"""Which programs a training writes its figures for, and what is said where one is absent."""

import pytest

from cxr_transfer.errors import MachineError, UsageError
from cxr_transfer.extras import installed
from cxr_transfer.training.loggers import chosen_loggers, loggers_of, where_to_look
from cxr_transfer.training.stage_recipe import Stage

HEAD = Stage(name="head", train=("head",))


def test_names_are_read_and_unknown_ones_refused():
    assert chosen_loggers("none") == ()
    if installed("tensorboard"):
        assert chosen_loggers(" tensorboard ,tensorboard") == ("tensorboard",)
    with pytest.raises(UsageError) as error:
        chosen_loggers("tensorboard,csv")
    assert error.value.code == "unknown_logger"
    assert "'csv'" in error.value.message


@pytest.mark.skipif(installed("mlflow"), reason="MLflow is installed")
def test_without_mlflow_the_extra_is_named():
    with pytest.raises(MachineError) as error:
        chosen_loggers("mlflow")
    assert "cxr-transfer[mlflow]" in error.value.message


def test_where_to_look_can_be_typed(tmp_path):
    lines = where_to_look(tmp_path / "my run", ("tensorboard", "mlflow"))
    assert lines[0] == f"TensorBoard: tensorboard --logdir '{tmp_path}/my run/tensorboard'"
    assert lines[1].startswith("MLflow: mlflow ui --backend-store-uri 'sqlite:///")


@pytest.mark.slow
@pytest.mark.skipif(not installed("mlflow"), reason="MLflow is not installed")
def test_a_stage_that_goes_on_writes_into_its_own_run(tmp_path):
    from mlflow.tracking import MlflowClient

    (first,) = loggers_of(tmp_path, HEAD, ("mlflow",))
    first.log_metrics({"loss": 0.5}, step=0)
    (again,) = loggers_of(tmp_path, HEAD, ("mlflow",))
    again.log_metrics({"loss": 0.4}, step=1)
    assert again.run_id == first.run_id
    client = MlflowClient(f"sqlite:///{tmp_path}/mlflow/mlflow.db")
    assert [each.value for each in client.get_metric_history(first.run_id, "loss")] == [0.5, 0.4]
    assert client.get_run(first.run_id).data.tags["mlflow.user"] == ""

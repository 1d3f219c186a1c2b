"""What must hold for every training: frozen means frozen, kept activations change nothing."""

import copy
import csv

import pytest
import torch

from cxr_transfer.errors import MachineError, UsageError
from cxr_transfer.models.resnet50 import resnet50
from cxr_transfer.models.simple_cnn import simple_cnn
from cxr_transfer.training import frozen_features, trainer
from cxr_transfer.training.device import Execution, resolve_device, resolve_precision
from cxr_transfer.training.frozen_features import cut, freeze
from cxr_transfer.training.tensors import ImageTensors
from cxr_transfer.training.trainer import train_stages
from made import full_disk
from miniature import SIDE, make_images, make_recipe

HEAD = ("head", ["head"])
LAST_BLOCK = ("last_block", ["conv5_block3", "head"])
CPU = Execution(device="cpu", precision="float32")
CPU_BFLOAT16 = Execution(device="cpu", precision="bfloat16")


def network_of(kind):
    torch.manual_seed(5)
    return simple_cnn(3, size=(SIDE, SIDE)) if kind == "simple_cnn" else resnet50(3)


def weights_of(network):
    return {name: tensor.clone() for name, tensor in network.state_dict().items()}


def trained(recipe, training, validation, folder, seed=0, execution=CPU):
    network = network_of(recipe.network)
    done = train_stages(
        recipe, network, training, validation, folder=folder, seed=seed, execution=execution
    )
    return network, done.history


def same(a, b):
    a, b = a.state_dict(), b.state_dict()
    return all(torch.equal(a[name], b[name]) for name in a)


def test_frozen_weights_and_batch_norm_statistics_stay_bit_equal(training, validation, tmp_path):
    recipe = make_recipe("resnet50", [LAST_BLOCK], max_epochs=1)
    before = weights_of(network_of("resnet50"))
    network, _ = trained(recipe, training, validation, tmp_path)
    changed = {
        name
        for name, tensor in weights_of(network).items()
        if not torch.equal(tensor, before[name])
    }
    assert changed
    assert all(name.startswith(("conv5_block3.", "head.")) for name in changed)
    assert {"conv5_block3.conv2.weight", "conv5_block3.conv2_bn.running_mean"} <= changed


def test_a_frozen_batch_norm_inside_a_trained_block_uses_its_moving_statistics(
    training, validation, tmp_path
):
    rest = ["conv5_block3.conv2", "conv5_block3.conv3", "head"]  # every batch norm is frozen
    recipe = make_recipe("resnet50", [("rest", rest)], max_epochs=1)
    before = weights_of(network_of("resnet50"))
    network, _ = trained(recipe, training, validation, tmp_path)
    after = weights_of(network)
    assert torch.equal(
        after["conv5_block3.conv2_bn.running_mean"], before["conv5_block3.conv2_bn.running_mean"]
    )
    assert not torch.equal(after["conv5_block3.conv2.weight"], before["conv5_block3.conv2.weight"])


@pytest.mark.parametrize("execution", [CPU, CPU_BFLOAT16], ids=lambda each: each.precision)
@pytest.mark.parametrize(
    ("kind", "stages"),
    [("simple_cnn", [HEAD]), ("resnet50", [HEAD, LAST_BLOCK])],
)
def test_training_on_kept_activations_is_training_through_the_whole_network(
    kind, stages, execution, training, validation, tmp_path, monkeypatch
):
    recipe = make_recipe(kind, stages, max_epochs=1)
    # Batches of one size: bit for bit.
    even = ImageTensors(training.images[:40], training.targets[:40])
    kept, _ = trained(recipe, even, validation, tmp_path / "kept", execution=execution)
    if execution is CPU:
        # A partial last batch adds up in another order, in its last bits; Adam magnifies them.
        _, partial = trained(recipe, training, validation, tmp_path / "partial")
    monkeypatch.setattr(trainer, "cut", lambda network: network[:0])
    whole, _ = trained(recipe, even, validation, tmp_path / "whole", execution=execution)
    if execution is CPU_BFLOAT16:
        assert same(kept, whole)
        return
    _, expected = trained(recipe, training, validation, tmp_path / "expected")
    assert same(kept, whole)
    for row, other in zip(partial, expected, strict=True):
        assert row["loss"] == pytest.approx(other["loss"], rel=1e-3)


def test_a_fitted_head_and_a_trained_stage_go_together(training, validation, tmp_path):
    fitted = ("head", ["head"], {"fit": "logistic", "penalty": 0.1})
    alone, (first,) = trained(make_recipe(stages=[fitted]), training, validation, tmp_path / "one")
    recipe = make_recipe(stages=[fitted, ("all", ["*"], {"learning_rate": 1e-6})], max_epochs=2)
    both, history = trained(recipe, training, validation, tmp_path / "two")
    assert [(row["stage"], row["epoch"]) for row in history] == [
        ("head", 1), ("all", 1), ("all", 2),
    ]  # fmt: skip
    assert (history[0]["loss"], history[0]["val_loss"]) == (first["loss"], first["val_loss"])
    before, after, now = (weights_of(each) for each in (network_of("simple_cnn"), alone, both))
    moved = {name for name in before if not torch.equal(before[name], after[name])}
    assert moved == {"head.weight", "head.bias"}, "a fitted head leaves the rest as it was"
    assert not torch.equal(now["conv1.weight"], before["conv1.weight"])
    # The head that was fitted is the one that is trained on, by a step of the rate at a time.
    moved = (now["head.weight"] - after["head.weight"]).abs().max()
    assert 0 < moved < 1e-4 < after["head.weight"].abs().max()
    again, other = trained(recipe, training, validation, tmp_path / "again")
    assert same(both, again)
    assert [row["loss"] for row in other] == [row["loss"] for row in history]


def test_many_activations_are_kept_in_a_file_that_leaves_nothing_behind(
    training, validation, tmp_path, monkeypatch
):
    recipe = make_recipe("resnet50", [HEAD, LAST_BLOCK], max_epochs=1)
    expected, _ = trained(recipe, training, validation, tmp_path / "memory")
    monkeypatch.setattr(frozen_features, "IN_MEMORY", 0)
    mapped, _ = trained(recipe, training, validation, tmp_path / "file")
    assert same(mapped, expected)
    assert not list(tmp_path.rglob("*.scratch"))


def test_a_disk_too_small_for_activations_is_named_before_they_are_computed(
    training, validation, tmp_path, monkeypatch
):
    monkeypatch.setattr(frozen_features, "IN_MEMORY", 0)
    with full_disk(10_000), pytest.raises(MachineError) as raised:
        trained(make_recipe("resnet50", [HEAD]), training, validation, tmp_path)
    assert raised.value.code == "disk_full"


def test_activations_are_kept_only_up_to_what_is_random_or_learns():
    network = network_of("simple_cnn")
    freeze(network, ["head"])
    names = [name for name, _ in cut(network).named_children()]
    assert names[0] == "scale"
    assert names[-1] == "dense_relu"  # dropout comes next
    freeze(network, ["*"])
    assert len(cut(network)) == 0


def test_the_same_seed_gives_the_same_bits_and_another_does_not(training, validation, tmp_path):
    recipe = make_recipe(max_epochs=2)
    a, history_a = trained(recipe, training, validation, tmp_path / "a", seed=3)
    b, history_b = trained(recipe, training, validation, tmp_path / "b", seed=3)
    c, _ = trained(recipe, training, validation, tmp_path / "c", seed=4)
    assert same(a, b)
    assert [row["loss"] for row in history_a] == [row["loss"] for row in history_b]
    assert not same(a, c)


def test_the_best_weights_are_kept_not_the_last(training, validation, tmp_path):
    # A rate this high makes the loss jump: the last epoch is then not the best.
    recipe = make_recipe(max_epochs=6, learning_rate=0.05)
    network, history = trained(recipe, training, validation, tmp_path)
    best = min(row["val_loss"] for row in history)
    assert history[-1]["val_loss"] > best
    with torch.inference_mode():
        loss = torch.nn.functional.cross_entropy(network(validation.images), validation.targets)
    assert loss.item() == pytest.approx(best, rel=1e-5)


def going_nowhere(keep):
    """A head that learns, and then a stage whose rate spoils all."""
    spoiling = {"learning_rate": 0.5, "max_epochs": 2, "keep": keep}
    return make_recipe(stages=[("head", ["head"], {"keep": keep}), ("all", ["*"], spoiling)])


def test_a_stage_that_improves_nothing_gives_back_what_it_was_given(training, validation, tmp_path):
    recipe = going_nowhere("best_overall")
    alone = recipe.model_copy(update={"stages": recipe.stages[:1]})
    expected, _ = trained(alone, training, validation, tmp_path / "alone")
    said = []
    network = network_of("simple_cnn")
    done = train_stages(
        recipe, network, training, validation, folder=tmp_path / "both", seed=0, execution=CPU,
        log=said.append,
    )  # fmt: skip
    assert same(network, expected)
    (line,) = (line for line in said if "no epoch has a lower validation loss" in line)
    assert line.endswith("the weights before it are kept")
    head, last = done.outcomes
    assert (head.improved, last.improved, last.goes_back) == (True, False, True)
    assert last.val_loss == head.val_loss
    with torch.inference_mode():
        loss = torch.nn.functional.cross_entropy(network(validation.images), validation.targets)
    assert loss.item() == pytest.approx(last.val_loss, rel=1e-5)
    with (tmp_path / "both" / "history.csv").open(newline="") as handle:
        rows = list(csv.DictReader(handle))
    kept = [(row["stage"], int(row["epoch"])) for row in rows if row["kept"] == "1"]
    assert kept == [("head", head.kept_epoch)]
    assert {row["kept"] for row in rows} == {"0", "1"}


def test_the_papers_rule_keeps_each_stages_own_best_and_says_so(training, validation, tmp_path):
    said = []
    network = network_of("simple_cnn")
    done = train_stages(
        going_nowhere("best_of_stage"), network, training, validation, folder=tmp_path, seed=0,
        execution=CPU, log=said.append,
    )  # fmt: skip
    head, last = done.outcomes
    assert last.val_loss > head.val_loss
    assert not last.improved
    with torch.inference_mode():
        loss = torch.nn.functional.cross_entropy(network(validation.images), validation.targets)
    assert loss.item() == pytest.approx(last.val_loss, rel=1e-5)
    assert sum("as in the paper" in line for line in said) == 1


def test_a_stage_that_improves_ends_alike_under_both_rules(training, validation, tmp_path):
    networks = []
    for keep in ("best_overall", "best_of_stage"):
        stages = [("head", ["head"], {"max_epochs": 1, "learning_rate": 1e-5}), ("all", ["*"])]
        network, history = trained(
            make_recipe(stages=stages, keep=keep), training, validation, tmp_path / keep
        )
        best = min((row for row in history if row["stage"] == "all"), key=lambda r: r["val_loss"])
        assert best["val_loss"] < history[0]["val_loss"]
        assert best["kept"] == 1
        networks.append(network)
    assert same(*networks)


def test_batch_size_does_not_change_a_score():
    from cxr_transfer.models.forward import probabilities

    tensors = make_images(13, seed=9)
    for kind in ("simple_cnn", "resnet50"):
        network = network_of(kind)
        one, all_at_once = (
            probabilities(network, tensors.images, batch_size=size) for size in (1, 13)
        )
        assert torch.allclose(one, all_at_once, atol=1e-6)


def test_unknown_modules_and_devices_are_named(training, validation, tmp_path):
    with pytest.raises(UsageError, match=r"conv9.*it has conv1") as raised:
        trained(make_recipe(stages=[("x", ["conv9"])]), training, validation, tmp_path)
    assert raised.value.code == "unknown_module"
    absent = "cuda" if not torch.cuda.is_available() else "tpu"
    with pytest.raises(MachineError, match=absent):
        resolve_device(absent)


def test_bfloat16_learns_what_float32_learns(training, validation, tmp_path):
    recipe = make_recipe(max_epochs=3)
    exact, expected = trained(recipe, training, validation, tmp_path / "exact")
    rounded, history = trained(
        recipe, training, validation, tmp_path / "rounded", execution=CPU_BFLOAT16
    )
    assert all(tensor.dtype == torch.float32 for tensor in rounded.state_dict().values())
    assert not same(exact, rounded), "the option did nothing"
    for row, other in zip(history, expected, strict=True):
        assert row["val_loss"] == pytest.approx(other["val_loss"], rel=0.02)


def test_precision_is_what_was_asked_for_or_what_the_processor_has():
    assert resolve_precision("float32", "cpu") == "float32"
    assert resolve_precision("bfloat16", "cpu") == "bfloat16"
    assert resolve_precision("auto", "mps") == "float32"
    can = torch.cpu.get_capabilities()
    is_amd = can.get("cpu_name", "").startswith("AMD")
    units = can.get("amx_bf16") or (is_amd and can.get("avx512_bf16"))
    assert resolve_precision("auto", "cpu") == ("bfloat16" if units else "float32")
    with pytest.raises(UsageError, match="float16"):
        resolve_precision("float16", "cpu")


def test_a_batch_that_does_not_divide_over_the_processes_is_refused(training, validation, tmp_path):
    network = copy.deepcopy(network_of("simple_cnn"))
    with pytest.raises(UsageError) as raised:
        train_stages(
            make_recipe(batch_size=20),
            network,
            training,
            validation,
            folder=tmp_path,
            seed=0,
            execution=Execution(device="cpu", devices=3),
        )
    assert raised.value.code == "batch_not_divisible"


def test_a_fitted_head_has_no_batch_to_divide(training, validation, tmp_path):
    stages = [("head", ["head"], {"fit": "logistic", "batch_size": 20})]
    network = network_of("simple_cnn")
    on_three = Execution(device="cpu", devices=3)
    train_stages(
        make_recipe(stages=stages),
        network,
        training,
        validation,
        folder=tmp_path / "fitted",
        seed=0,
        execution=on_three,
    )
    with pytest.raises(UsageError) as raised:
        train_stages(
            make_recipe(stages=[*stages, ("all", ["*"])]),
            network,
            training,
            validation,
            folder=tmp_path / "mixed",
            seed=0,
            execution=on_three,
        )
    assert raised.value.code == "batch_not_divisible"

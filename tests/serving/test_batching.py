"""Images before a network, without processes and HTTP."""

from concurrent.futures import ThreadPoolExecutor

from cxr_transfer.serving.batching import Batches


def test_a_network_meets_every_size_before_the_first_image(predictor, monkeypatch):
    sizes = []
    answers = predictor.answers
    monkeypatch.setattr(
        predictor, "answers", lambda images: sizes.append(len(images)) or answers(images)
    )
    with ThreadPoolExecutor(1) as thread:
        batches = Batches(predictor, thread, 8, sizes.append)
        for size in batches.sizes:
            batches.warm(size)
    assert sizes == [8, 7, 6, 5, 4, 3, 2, 1]

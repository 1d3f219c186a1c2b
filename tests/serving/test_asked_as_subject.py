"""The server as a subject of an audit: asked over HTTP, it answers as it does for anybody."""

import numpy as np
from PIL import Image

from cxr_transfer.subjects.opening import SERVER_SIDE, open_subject
from serving.asking import phantom


def test_its_scores_are_those_of_its_predictor(server, predictor):
    subject = open_subject(f"{server.url}/v1/predict")
    assert (subject.kind, tuple(subject.labels)) == ("server", ("normal", "bacterial", "covid19"))
    pictures = [
        np.asarray(Image.fromarray(phantom(seed)).resize((SERVER_SIDE, SERVER_SIDE)))
        for seed in (1, 2)
    ]
    blank = np.zeros((SERVER_SIDE, SERVER_SIDE), np.uint8)
    images = np.stack([*pictures, blank])[:, None]
    given = subject.scored(images, with_features=False, on_image=lambda number: None).given
    for scores, picture in zip(given, pictures, strict=False):
        expected = predictor.predict(picture).probabilities
        np.testing.assert_allclose(scores, [expected[label] for label in subject.labels], atol=1e-4)
    assert np.isnan(given[2]).all(), "what it refuses to judge has no scores"

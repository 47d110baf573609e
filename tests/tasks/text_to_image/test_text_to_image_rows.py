"""Principal components of embeddings, and words upon images."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from PIL import Image

from tao_like.errors import DatasetError, SpecError
from tao_like.runtime.generation.journey import Journey
from tao_like.tasks.text_to_image.model.code_prior import EmbeddingCodes
from tao_like.tasks.text_to_image.spec_blocks.stages import GenerateInferenceSpec
from tao_like.tasks.text_to_image.unclip.model import DecoderWithComponents
from tao_like.tasks.text_to_image.unclip.rows import kept_components, with_word


def measured() -> tuple[DecoderWithComponents, torch.Tensor]:
    """A decoder that knows embeddings of six numbers, and these."""
    generator = torch.Generator().manual_seed(0)
    spread = torch.randn(300, 6, generator=generator) * torch.tensor([0.1, 2.0, 0.3, 1.0, 0.05, 0.6])
    embeddings = torch.nn.functional.normalize(spread + 2, dim=1)
    part = DecoderWithComponents(torch.nn.Identity(), 6)
    part.measure(embeddings)
    return part, embeddings


def test_components_are_those_of_the_covariance() -> None:
    part, embeddings = measured()
    values = embeddings.double().numpy()
    mean = values.mean(axis=0)
    _, vectors = np.linalg.eigh(np.cov(values, rowvar=False))
    for count in range(7):
        kept = vectors[:, ::-1][:, :count]
        expected = mean + (values - mean) @ kept @ kept.T
        expected /= np.linalg.norm(expected, axis=1, keepdims=True)
        found = part.reconstructed(embeddings, torch.full((300,), float(count)))
        np.testing.assert_allclose(found.numpy(), expected, atol=1e-5)
    np.testing.assert_allclose(found.numpy(), values, atol=1e-5)  # all of them are the embedding itself


def test_codes_are_the_principal_components_in_order() -> None:
    generator = torch.Generator().manual_seed(0)
    spread = torch.randn(400, 5, generator=generator) * torch.tensor([3.0, 0.01, 1.0, 0.3, 0.1])
    embeddings = torch.nn.functional.normalize(spread + 10, dim=1)
    coder = EmbeddingCodes(5, 4, 256)
    coder.measure(embeddings)
    codes = coder.codes(embeddings)
    assert codes.min() == 0
    assert codes.max() == 255
    # The covariance's eigenvectors are the axes, up to their sign.
    _, vectors = np.linalg.eigh(np.cov(embeddings.numpy(), rowvar=False))
    cosines = abs((coder.axes.numpy() * vectors.T[::-1][:4]).sum(axis=1))
    np.testing.assert_allclose(cosines, 1, atol=1e-3)
    assert ((coder.embeddings(codes) * embeddings).sum(dim=1) > 0.9999).all()


def test_each_embedding_keeps_as_many_as_it_is_told() -> None:
    part, embeddings = measured()
    together = part.reconstructed(embeddings[:2], torch.tensor([1.0, 4.0]))
    for number, count in enumerate((1.0, 4.0)):
        alone = part.reconstructed(embeddings[number : number + 1], torch.tensor([count]))
        torch.testing.assert_close(together[number], alone[0])


def test_weights_of_an_earlier_decoder_load_without_components() -> None:
    part, _ = measured()
    weights = part.state_dict()
    del weights["axes"]
    other = DecoderWithComponents(torch.nn.Identity(), 6)
    other.load_state_dict(weights)
    assert torch.equal(other.mean, part.mean)
    assert not other.axes.any()
    del weights["mean"]
    with pytest.raises(RuntimeError, match="mean"):
        other.load_state_dict(weights)


def test_samples_stand_in_rows_by_their_seeds() -> None:
    images = [np.full((4, 4, 3), value, np.uint8) for value in (0, 255)]
    journey = Journey.of({"image": images, "components": [1, 8], "first": 5}, 4, 4)
    rows, columns = journey.cells(np.arange(5, 11))
    assert rows.tolist() == [0, 0, 0, 1, 1, 1]
    assert columns.tolist() == [0, 1, 2, 0, 1, 2]
    assert set(journey.noise_seeds(np.arange(5, 11)).tolist()) == {5}
    made = journey.with_given(np.zeros((6, 3, 4, 4), np.float32), np.arange(5, 11))
    np.testing.assert_allclose(made[:, 0, 0, 0], [-1, 0, 0, 1, 0, 0])
    others = Journey.of({"image": images, "frames": 2, "first": 5}, 4, 4)
    assert others.noise_seeds(np.arange(5, 11)).tolist() == [5, 6, 7, 5, 6, 7]
    with pytest.raises(SpecError, match="make no rows"):
        Journey.of({"image": images, "image_to": images[0]}, 4, 4)


def test_components_double_where_none_are_asked_for() -> None:
    assert kept_components(GenerateInferenceSpec(), 64) == [1, 2, 4, 8, 16, 32, 64]
    assert kept_components(GenerateInferenceSpec(), 12) == [1, 2, 4, 8, 12]
    with pytest.raises(SpecError, match=r"\[65\] are more than the embedding has numbers, 64"):
        kept_components(GenerateInferenceSpec(components=[3, 65]), 64)


def test_a_word_stands_in_black_on_white_and_leaves_the_rest() -> None:
    image = Image.new("RGB", (64, 64), (200, 30, 30))
    written = np.asarray(with_word(image, "apple"))
    changed = (written != np.asarray(image)).any(axis=2)
    rows, columns = np.nonzero(changed)
    assert rows.min() > 32
    slip = written[rows.min() : rows.max() + 1, columns.min() : columns.max() + 1]
    assert (slip == 255).all(axis=2).mean() > 0.3
    assert (slip < 60).all(axis=2).mean() > 0.05
    with pytest.raises(DatasetError, match="does not fit upon 64 by 64 pixels"):
        with_word(image, "incomprehensibilities")

"""Networks of text_to_image: published numbers of parameters, masks, cached steps, codes."""

from __future__ import annotations

import math

import pytest
import torch
from published_networks import PRESETS

from tao_like.tasks.text_to_image.model.dalle import DalleTransformer, attention_mask, layer_kinds
from tao_like.tasks.text_to_image.model.diffusion_networks import GlideNetwork, UnclipDecoder
from tao_like.tasks.text_to_image.model.dvae import DVAE, FSQ, logit_laplace_loss, mapped
from tao_like.tasks.text_to_image.model.parts import WordSum, timestep_embedding
from tao_like.tasks.text_to_image.model.prior import Prior
from tao_like.tasks.text_to_image.model.towers import TextTower
from tao_like.tasks.text_to_image.model.unet import TextEncoder, UNetSize


@pytest.mark.parametrize("name", list(PRESETS))
def test_a_published_network_has_the_published_number_of_parameters(name: str) -> None:
    with torch.device("meta"):
        network = PRESETS[name].build()
    count = sum(parameter.numel() for parameter in network.parameters())
    if PRESETS[name].exact:
        assert count == PRESETS[name].parameters
    else:
        assert count == pytest.approx(PRESETS[name].parameters, rel=0.03)


def test_the_blocks_of_dalle_have_twelve_times_the_square_of_its_width_a_layer() -> None:
    with torch.device("meta"):
        network = PRESETS["dalle_12b"].build()
    matrices = sum(parameter.numel() for parameter in network.blocks.parameters() if parameter.dim() == 2)
    assert matrices == 64 * 12 * 3968**2


def small_transformer(attention: str) -> DalleTransformer:
    torch.manual_seed(0)
    model = DalleTransformer(
        vocabulary=11,
        text_length=5,
        codes=7,
        grid=4,
        width=16,
        layers=5,
        heads=2,
        attention=attention,
    )
    return model.eval()


@pytest.mark.parametrize("attention", ["full", "sparse"])
@torch.no_grad()
def test_steps_with_kept_keys_give_the_logits_of_the_whole_sequence(attention: str) -> None:
    model = small_transformer(attention)
    text = torch.tensor([[3, 4, 0, 0, 0], [1, 2, 3, 4, 5]])
    codes = torch.randint(7, (2, 16))
    _, expected = model(text, codes)
    logits, past = model.begin(text)
    found = [logits]
    for number in range(15):
        logits, past = model.go_on(text, codes[:, number], past)
        found.append(logits)
    torch.testing.assert_close(torch.stack(found, dim=1), expected, atol=1e-5, rtol=1e-5)


@torch.no_grad()
def test_no_code_sees_itself_or_what_comes_after() -> None:
    model = small_transformer("full")
    text = torch.tensor([[3, 4, 0, 0, 0]])
    codes = torch.randint(7, (1, 16))
    other = codes.clone()
    other[0, 9] = (other[0, 9] + 1) % 7
    before, after = model(text, codes)[1], model(text, other)[1]
    assert torch.equal(before[:, :10], after[:, :10])
    assert not torch.allclose(before[:, 10:], after[:, 10:])


def test_masks_are_those_that_can_be_counted_by_hand() -> None:
    """A caption of two tokens, and an image of three by three codes; the last place is its corner."""
    last = {
        kind: attention_mask(kind, 2, 3, kernel=3)[-1].int().tolist() for kind in ("full", "row", "column")
    }
    assert last["full"] == [1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1]
    assert last["row"] == [1, 1, 0, 0, 0, 0, 0, 1, 1, 1, 1]
    assert last["column"] == [1, 1, 0, 0, 1, 0, 0, 1, 0, 0, 1]
    # A neighborhood of 3 by 3 around the middle (place 4): the row above it, and what is left of it.
    middle = attention_mask("conv", 2, 3, kernel=3)[2 + 4].int().tolist()
    assert middle == [1, 1, 1, 1, 1, 1, 1, 0, 0, 0, 0]
    assert layer_kinds(6, "sparse") == ["row", "column", "row", "row", "row", "conv"]


def test_the_codes_of_fsq_are_all_there_and_come_back() -> None:
    fsq = FSQ((8, 6, 5))
    assert fsq.codes == 240
    numbers = torch.arange(240).view(1, 15, 16)
    values = fsq.values(numbers)
    assert values.abs().max() <= 1
    assert torch.equal(fsq.indices(values), numbers)
    wide = torch.linspace(-4, 4, 900).repeat(3, 1).view(1, 3, 30, 30)
    rounded = fsq.quantize(wide)
    assert [len(rounded[0, number].unique()) for number in range(3)] == [8, 6, 5]
    assert torch.allclose(fsq.values(fsq.indices(rounded)), rounded, atol=1e-6)


def test_a_gradient_passes_through_rounding() -> None:
    values = torch.zeros(1, 3, 2, 2, requires_grad=True)
    FSQ((8, 6, 5)).quantize(values).sum().backward()
    assert (values.grad > 0.5).all()


@pytest.mark.parametrize("settings", [{"levels": (8, 6, 5)}, {"codes": 32}])
def test_a_dvae_gives_images_of_the_size_that_it_took(settings: dict[str, object]) -> None:
    model = DVAE(width=8, groups=2, blocks=1, **settings)  # type: ignore[arg-type]
    pixels = torch.rand(2, 3, 16, 16)
    codes = model.encode(pixels)
    assert codes.shape == (2, 8, 8)
    assert codes.max() < model.codes
    assert model.decode(codes).shape == pixels.shape
    statistics, kl = model(pixels)
    assert statistics.shape == (2, 6, 16, 16)
    assert 0 <= float(kl) <= 64 * math.log(model.codes)


def test_the_density_of_logit_laplace_integrates_to_one() -> None:
    """Over the values that a mapped pixel can have, with scipy's independent rule left out: a fine sum."""
    x = torch.linspace(1e-4, 1 - 1e-4, 200001, dtype=torch.float64)
    pixels = ((x - 0.1) / 0.8).view(-1, 1, 1, 1).expand(-1, 3, 1, 1)
    statistics = torch.tensor([0.3, 0.3, 0.3, -0.5, -0.5, -0.5], dtype=torch.float64).view(1, 6, 1, 1)
    one = [logit_laplace_loss(statistics, pixel[None]) for pixel in pixels[::1000]]
    density = torch.stack(one).div(-3).exp()
    total = torch.trapezoid(density, mapped(pixels[::1000, 0, 0, 0]))
    assert float(total) == pytest.approx(1.0, abs=2e-3)


def test_timesteps_are_embedded_as_in_the_code_of_glide() -> None:
    """First channel: cos(t); at half the width: sin(t); the last: the slowest wave."""
    found = timestep_embedding(torch.tensor([0.0, 5.0]), 8)
    assert found[0].tolist() == [1, 1, 1, 1, 0, 0, 0, 0]
    assert found[1, 0] == pytest.approx(math.cos(5.0))
    assert found[1, 4] == pytest.approx(math.sin(5.0))
    assert found[1, 7] == pytest.approx(math.sin(5.0 / 1000), rel=1e-4)


@torch.no_grad()
def test_small_networks_run_and_see_their_text() -> None:
    torch.manual_seed(0)
    size = UNetSize(16, (1, 2), 1, (2,), head_channels=8, dropout=0.0)
    text = TextEncoder(vocabulary=20, length=6, width=16, layers=1, heads=2, outputs=64)
    network = GlideNetwork(size, text, patch=2, coordinates=True).eval()
    for parameter in network.parameters():
        parameter.add_(0.02 * torch.randn_like(parameter))
    x, timesteps = torch.randn(2, 3, 16, 16), torch.tensor([10.0, 900.0])
    red = network(x, timesteps, *text(torch.tensor([[3, 4, 0, 0, 0, 0]] * 2)))
    blue = network(x, timesteps, *text(torch.tensor([[5, 4, 0, 0, 0, 0]] * 2)))
    assert red.shape == x.shape
    assert not torch.allclose(red, blue)


@torch.no_grad()
def test_prior_and_decoder_run_and_padding_is_not_seen() -> None:
    torch.manual_seed(0)
    prior = Prior(embedding=8, text_width=12, length=5, width=16, layers=2, heads=2).eval()
    padding = torch.tensor([[False, False, True, True, True]])
    tokens = torch.randn(1, 5, 12)
    given = (torch.randn(1, 8), torch.tensor([3.0]), torch.randn(1, 8))
    first = prior(*given, tokens, padding)
    other = tokens.clone()
    other[:, 2:] += 1
    assert torch.allclose(first, prior(*given, other, padding), atol=1e-6)
    other[:, :2] += 1
    assert not torch.allclose(first, prior(*given, other, padding), atol=1e-6)
    size = UNetSize(16, (1, 2), 1, (2,), head_channels=8, dropout=0.0)
    decoder = UnclipDecoder(size, embedding=8, text_width=12, context=16).eval()
    found = decoder(torch.randn(1, 3, 8, 8), given[1], given[0], given[2], tokens)
    assert found.shape == (1, 3, 8, 8)


def test_words_are_summed_without_padding_and_in_any_order() -> None:
    torch.manual_seed(0)
    words = WordSum(7, 3)
    table = words.weight.detach()
    found = words(torch.tensor([[2, 5, 0, 0], [5, 2, 0, 0], [0, 0, 0, 0]])).detach()
    torch.testing.assert_close(found[0], table[2] + table[5])
    assert torch.equal(found[0], found[1])
    assert not found[2].any()


def test_a_caption_without_words_has_no_embedding_with_their_sum_either() -> None:
    torch.manual_seed(0)
    sizes = {"vocabulary": 9, "end": 2, "length": 5, "width": 8, "layers": 1, "heads": 2, "embedding": 4}
    tower, plain = TextTower(**sizes, caption_sum=True).eval(), TextTower(**sizes).eval()
    caption, blank = torch.tensor([[1, 6, 2, 0, 0]]), torch.zeros(1, 5, dtype=torch.int64)
    assert not tower(blank)[0].any()
    plain.load_state_dict({name: one for name, one in tower.state_dict().items() if name != "words.weight"})
    assert tower.words is not None
    with torch.no_grad():
        tower.words.weight.zero_()
    torch.testing.assert_close(tower(caption), plain(caption))

"""VICRegL: places and matches against brute force, the loss against a loop and lightly's."""

from itertools import permutations, product

import pytest
import torch
from torch import Tensor

from backbones.places import Places
from backbones.pretraining.catalogue import presets
from backbones.pretraining.encoder import encoder_over
from backbones.pretraining.fresh import fresh
from backbones.pretraining.losses.vicreg import covariance, invariance, variance
from backbones.pretraining.method import Method
from backbones.pretraining.methods.vicregl import VICRegL
from backbones.pretraining.parts.matches import chosen, nearest, places
from backbones.pretraining.views.settings import ViewGroup
from tests.pretraining_fakes import PROGRESS, random_batch, tiny_encoder, tiny_method

LARGE, SMALL = ViewGroup(count=2), ViewGroup(size=16)
WHOLE = torch.tensor([[0.0, 0.0, 1.0, 1.0]])
STRAIGHT, MIRRORED = torch.tensor([False]), torch.tensor([True])


def tiny(**settings: object) -> Method:
    return tiny_method(VICRegL(projector=(8, 8), map_projector=(8, 6), **settings), "vit")  # type: ignore[arg-type]


def random_outputs(rows: tuple[int, ...], images: int = 5, seed: int = 0) -> dict[str, Tensor]:
    """What :meth:`represent` would make of views whose maps have these sides."""
    generator = torch.Generator().manual_seed(seed)
    found = {"z": torch.randn(images, len(rows), 8, dtype=torch.float64, generator=generator)}
    for number, (side, view) in enumerate(zip(rows, random_batch(images, [8] * len(rows), seed).views, strict=True)):
        found[f"u{number}"] = torch.randn(images, side**2, 6, dtype=torch.float64, generator=generator)
        found[f"places{number}"] = places(view.boxes, view.flipped, side, side).double()
    return found


def test_places_of_a_whole_view() -> None:
    grid = places(WHOLE, STRAIGHT, 2, 2)[0]
    torch.testing.assert_close(grid, torch.tensor([[0.25, 0.25], [0.25, 0.75], [0.75, 0.25], [0.75, 0.75]]))
    mirrored = places(WHOLE, MIRRORED, 2, 2)[0]
    torch.testing.assert_close(mirrored, grid[[1, 0, 3, 2]])


def test_places_against_a_loop() -> None:
    view = random_batch(4, (32,)).views[0]
    assert 0 < view.flipped.sum() < 4
    found = places(view.boxes, view.flipped, 3, 5)
    for image, row, column in product(range(4), range(3), range(5)):
        top, left, height, width = view.boxes[image].tolist()
        cell = 4 - column if view.flipped[image] else column
        expected = [top + height * (row + 0.5) / 3, left + width * (cell + 0.5) / 5]
        assert found[image, row * 5 + column].tolist() == pytest.approx(expected, abs=1e-6)


def test_a_mirrored_view_matches_the_mirrored_locations() -> None:
    straight, mirrored = places(WHOLE, STRAIGHT, 4, 4), places(WHOLE, MIRRORED, 4, 4)
    here, there = nearest(torch.cdist(straight, mirrored), 16)
    partner = dict(zip(here[0].tolist(), there[0].tolist(), strict=True))
    assert partner == {row * 4 + column: row * 4 + 3 - column for row, column in product(range(4), range(4))}


@pytest.mark.parametrize("apart", [False, True])
def test_matches_against_brute_force(apart: bool) -> None:
    """Also of crops that do not overlap: the nearest are on the sides that face each other."""
    first, second = random_batch(6, (32, 32), seed=1).views
    boxes = torch.tensor([[0.0, 0.0, 0.5, 0.4], [0.0, 0.6, 0.5, 0.4]]) if apart else None
    here = places(first.boxes if boxes is None else boxes[:1].expand(6, 4), first.flipped, 3, 3)
    there = places(second.boxes if boxes is None else boxes[1:].expand(6, 4), second.flipped, 4, 2)
    mine, theirs = nearest(torch.cdist(here, there), 4)
    for image in range(6):
        gaps = {(a, b): float((here[image, a] - there[image, b]).norm()) for a, b in product(range(9), range(8))}
        best = {a: min(gaps[a, b] for b in range(8)) for a in range(9)}
        expected = sorted(best.values())[:4]
        found = [gaps[pair] for pair in zip(mine[image].tolist(), theirs[image].tolist(), strict=True)]
        assert found == pytest.approx(expected, abs=1e-5)
        assert len(set(mine[image].tolist())) == 4


def test_too_many_matches_are_refused() -> None:
    with pytest.raises(ValueError, match="cannot match 5 locations of a map of 4"):
        nearest(torch.ones(1, 4, 9), 5)


def test_chosen_takes_locations_of_each_image() -> None:
    vectors = torch.arange(12.0).view(2, 3, 2)
    assert chosen(vectors, torch.tensor([[2, 0], [1, 1]])).tolist() == [[[4, 5], [0, 1]], [[8, 9], [8, 9]]]


def test_the_loss_against_a_loop() -> None:
    outputs = random_outputs((4, 4, 2))
    counts = (5, 5, 3)
    mean = {"global": 0.0, "local": 0.0}
    pairs = [(a, b) for a, b in permutations(range(3), 2) if a != 2]
    for a, b in pairs:
        mean["global"] += 25 * float(invariance(outputs["z"][:, a], outputs["z"][:, b])) / len(pairs)
        for here, there in ((a, b), (b, a)):
            for kind in ("places", "u"):
                mean["local"] += _matched(outputs, here, there, kind, counts[here]) / 2 / len(pairs)
    for view in range(3):
        z = outputs["z"][:, view]
        mean["global"] += (25 * float(variance(z)) + float(covariance(z))) / 3
    method = tiny(views=(LARGE, SMALL), alpha=0.3, matches=5, small_matches=3)
    assert float(method.loss(outputs, PROGRESS)) == pytest.approx(0.3 * mean["global"] + 0.7 * mean["local"], rel=1e-9)


def _matched(outputs: dict[str, Tensor], here: int, there: int, kind: str, count: int) -> float:
    """VICReg of the matches of one view in another, found image by image."""
    mine, theirs = outputs[f"u{here}"], outputs[f"u{there}"]
    left, right = outputs[f"{kind}{here}"], outputs[f"{kind}{there}"]
    rows = []
    for image in range(len(mine)):
        gaps = [min((float((a - b).norm()), number) for number, b in enumerate(right[image])) for a in left[image]]
        order = sorted(range(len(gaps)), key=lambda number: gaps[number][0])[:count]
        rows.append(torch.stack([torch.stack([mine[image, n], theirs[image, gaps[n][1]]]) for n in order]))
    first, second = torch.stack(rows).unbind(2)
    spread = 25 * (variance(first) + variance(second)) + covariance(first) + covariance(second)
    return float(25 * invariance(first, second) + spread / 2)


def test_the_loss_equals_lightlys() -> None:
    """Whose count of matches depends on the direction, not on the view, so of equal counts."""
    loss = pytest.importorskip("lightly.loss").VICRegLLoss(alpha=0.75, num_matches=(4, 4))
    outputs = {name: value.float() for name, value in random_outputs((4, 4, 2)).items()}
    features = [(outputs["z"][:, n], outputs[f"u{n}"].view(5, side, side, 6)) for n, side in enumerate((4, 4, 2))]
    grids = [outputs[f"places{n}"].view(5, side, side, 2) for n, side in enumerate((4, 4, 2))]
    expected = loss(features[:2], grids[:2], features[2:], grids[2:])
    mine = tiny(views=(LARGE, SMALL), matches=4, small_matches=4).loss(outputs, PROGRESS)
    assert float(mine) == pytest.approx(float(expected), rel=1e-5)


def test_a_resnets_embedding_is_its_maps_mean_and_a_class_token_is_not() -> None:
    for kind, mean in (("cnn", True), ("vit", False)):
        settings = VICRegL(projector=(8, 8), map_projector=(8, 6), matches=1)
        method = tiny_method(settings, kind)
        assert method.from_map is mean
    encoder = tiny_encoder("cnn").eval()
    images = random_batch(2, (64,)).views[0].images
    torch.testing.assert_close(encoder.last_map(images).mean((2, 3)), encoder(images))


def test_views_of_several_sizes_go_through() -> None:
    method = tiny(views=(LARGE, SMALL), matches=5, small_matches=3)
    outputs = method.represent(random_batch(4, (32, 32, 16)))
    assert outputs["z"].shape == (4, 3, 8)
    assert [outputs[f"u{number}"].shape for number in range(3)] == [(4, 16, 6), (4, 16, 6), (4, 4, 6)]
    assert torch.isfinite(method.loss(outputs, PROGRESS))


def test_locations_are_projected_one_by_one() -> None:
    """Row by row as their places are; in evaluation mode no location sees another."""
    method = tiny(matches=5).eval()
    view = random_batch(3, (32,)).views[0]
    found = method.represent(random_batch(3, (32, 32)))["u0"]
    features = method.encoder.last_map(view.images)
    projector = method.get_submodule("map_projector")
    torch.testing.assert_close(found[1, 4 * 2 + 3], projector(features[1:2, :, 2, 3])[0], rtol=1e-4, atol=1e-5)


def test_fewer_than_two_large_views_are_refused() -> None:
    with pytest.raises(ValueError, match="at least 2 views of the encoder's size, 32 pixels"):
        tiny(views=(ViewGroup(), SMALL))


def test_the_small_presets_maps_have_the_locations_it_matches() -> None:
    preset = presets("vicregl")["cifar"]
    encoder = encoder_over(fresh(preset.architecture, preset.kwargs, preset.size, 0, Places()))
    assert isinstance(preset.settings, VICRegL)
    assert (preset.settings.matches, encoder.stride) == (6, 8)  # of 4 x 4

"""Published checkpoints by name: which card ``RUN@STEP`` means, what is refused, and the untrained twin of a step."""

from pathlib import Path

import pytest
import torch

from backbones.adapters.random_weights import split_seed
from backbones.base import freeze
from backbones.catalogue import load
from backbones.certification import checks
from backbones.places import Places
from backbones.pretraining.beginning import Beginning, begun_from, drawn
from backbones.pretraining.publishing import WRITING, Lineage, Publisher
from backbones.pretraining.runs import RUNS, SETTINGS, published_steps
from backbones.reference import reference_of

LINEAGE = Lineage(run="tiny", method="simclr", recipe_sha256="0", data="1", parent=None)


def beginning(seed: int) -> Beginning:
    return drawn("timm:resnet10t", {"channels": [8, 8, 16, 16]}, 32, seed, Places())


def publisher(root: Path, begun: Beginning, every: int = 0) -> Publisher:
    folder = root / RUNS / "tiny"
    folder.mkdir(parents=True, exist_ok=True)
    (folder / SETTINGS).touch()
    return Publisher(folder, begun.architecture, LINEAGE, ("simclr", "noise"), "your own", 10, 4, every)


@pytest.fixture
def places(tmp_path: Path) -> Places:
    """A run that has published two steps, the later one first."""
    for seed, step in ((1, 200), (0, 30)):
        begun = beginning(seed)
        publisher(tmp_path, begun).publish(begun.backbone, step)
    return Places((tmp_path,))


def test_a_step_and_the_newest(places: Places) -> None:
    images = torch.randn(2, 3, 32, 32)
    for name, seed, step in (
        ("checkpoint:tiny@30", 0, 30),
        ("checkpoint:tiny", 1, 200),
        ("checkpoint:tiny@200", 1, 200),
    ):
        found, wanted = freeze(load(name, places)), freeze(beginning(seed).backbone)
        assert torch.equal(found.embed(images), wanted.embed(images))
        assert found.card.name == f"checkpoint:tiny@{step}"
        assert found.preprocess == wanted.preprocess


@pytest.mark.parametrize(
    ("name", "answer"),
    [
        ("checkpoint:tinny@30", "unknown run of pretraining 'tinny'; did you mean 'tiny'"),
        ("checkpoint:tiny@31", "has not published step 31; there are: 30, 200"),
    ],
)
def test_what_is_not_there_is_named_with_what_is(places: Places, name: str, answer: str) -> None:
    with pytest.raises(ValueError, match=answer):
        load(name, places)


def test_without_runs_it_says_where_it_looked(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"there is none in .*outputs/pretraining .*a card is named by its path"):
        load("checkpoint:tiny", Places((tmp_path,)))


def test_a_run_that_has_published_nothing_says_so(tmp_path: Path) -> None:
    publisher(tmp_path, beginning(0))
    with pytest.raises(ValueError, match="has published nothing yet"):
        load("checkpoint:tiny", Places((tmp_path,)))


def test_changed_weights_are_refused(places: Places) -> None:
    (path,) = (places.roots[0] / RUNS).glob("tiny/published/step-000000030/weights.safetensors")
    damaged = bytearray(path.read_bytes())
    damaged[-1] ^= 1
    path.write_bytes(damaged)
    with pytest.raises(ValueError, match="it is another file"):
        load("checkpoint:tiny@30", places)


def test_the_twin_of_a_step_is_not_a_seed(places: Places) -> None:
    assert split_seed("checkpoint:tiny@30") == ("checkpoint:tiny@30", 0)
    assert split_seed("checkpoint:cards/tiny.yaml@3") == ("checkpoint:cards/tiny.yaml", 3)
    first, second = (load(f"random:checkpoint:tiny@30{seed}", places) for seed in ("", "@3"))
    assert (first.card.name, second.card.name) == ("random:checkpoint:tiny@30", "random:checkpoint:tiny@30@3")
    assert first.card.weights_sha256 != second.card.weights_sha256
    assert load(second.card.name, places).card.weights_sha256 == second.card.weights_sha256
    assert first.card.family == "random"


@pytest.mark.parametrize("name", ["checkpoint:tiny@30", "random:checkpoint:tiny@30"])
def test_certified_like_any_other(places: Places, name: str) -> None:
    backbone = load(name, places)
    for check in checks(backbone, lambda: load(name, places), reference_of(name, backbone, places)):
        assert check.passed is not False, (check.name, check.seen)


def test_published_at_intervals_and_at_the_end(tmp_path: Path) -> None:
    from backbones.pretraining.methods.simclr import SimCLR
    from backbones.pretraining.pretrainee import Pretrainee
    from tests.pretraining_fakes import tiny_method

    trainee = Pretrainee(tiny_method(SimCLR(projector=(8,))))
    publish = publisher(tmp_path, beginning(0), every=3)
    for epoch in range(1, 5):
        publish(trainee, 10 * epoch)
    assert published_steps(publish.folder) == [30, 40]


def test_leftovers_of_a_killed_writer_are_removed_and_a_step_is_replaced_whole(tmp_path: Path) -> None:
    begun = beginning(0)
    publish = publisher(tmp_path, begun)
    (publish.folder / "published" / f"{WRITING}1").mkdir(parents=True)
    assert published_steps(publish.folder) == []
    publish.publish(begun.backbone, 10)
    publish.publish(beginning(1).backbone, 10)
    assert [each.name for each in (publish.folder / "published").iterdir()] == ["step-000000010"]
    images = torch.randn(1, 3, 32, 32)
    found = load("checkpoint:tiny", Places((tmp_path,)))
    assert torch.equal(freeze(found).embed(images), freeze(beginning(1).backbone).embed(images))


def test_a_card_in_a_file_without_a_dot_is_still_found(places: Places) -> None:
    (card,) = (places.roots[0] / RUNS).glob("tiny/published/step-000000030/card.yaml")
    (places.roots[0] / "mine").write_text(
        card.read_text().replace("weights.safetensors", str(card.parent / "weights.safetensors"), 1)
    )
    assert load("checkpoint:mine", places).card.weights_sha256 == load("checkpoint:tiny@30", places).card.weights_sha256


@pytest.mark.parametrize("library", ["timm", "torchvision"])
def test_begins_from_a_librarys_weights_without_their_head(
    library: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Weights are drawn, as none can be fetched: a library's own loader is given them."""
    name = {"timm": "timm:resnet18.a1_in1k", "torchvision": "torchvision:squeezenet1_1.IMAGENET1K_V1"}[library]
    parent = load(f"random:{name}")
    monkeypatch.setattr("backbones.pretraining.beginning.load", lambda *_: parent)
    begun = begun_from(name, 64, Places())
    images = torch.randn(1, 3, 64, 64)
    assert torch.equal(freeze(begun.backbone).embed(images), freeze(parent).embed(images))
    assert begun.backbone.preprocess.size == (64, 64)
    assert begun.backbone.preprocess.mean == parent.preprocess.mean
    publisher(tmp_path, begun).publish(begun.backbone, 5)
    again = load("checkpoint:tiny@5", Places((tmp_path,)))
    assert torch.equal(freeze(again).embed(images), freeze(parent).embed(images))
    assert not hasattr(again, "classify")

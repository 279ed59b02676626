"""Zero-shot: closed forms, open_clip's own zero-shot classifier and transformers' own logits, and who is refused."""

import sys
from pathlib import Path
from typing import Any

import numpy as np
import open_clip
import pytest
import torch
from open_clip.zero_shot_metadata import OPENAI_IMAGENET_TEMPLATES
from pydantic import ValidationError
from torch import Tensor
from torch.nn import functional

from backbones.base import Backbone, TextEncoder, freeze
from backbones.catalogue import load
from backbones.features import Extractor, ExtractSettings
from backbones.images import decode, to_pil
from backbones.preprocessing import reference_transform
from backbones.text_features import TextExtractor
from tasks.base import Note, Outputs, Tools
from tasks.classification import class_names
from tasks.classification.class_names import readable_names
from tasks.classification.prompts import OF_OPEN_CLIP, PLACE, _sets, filled, templates_of
from tasks.classification.zero_shot import ZeroShot, ensembles, similarities
from tasks.datasets.base import Dataset, Split
from tests.backbones.tiny_transformers import save, save_tokenizer
from tests.feature_fakes import Speaking, random_images

NAMES = ("tench", "great white shark", "{odd} {} name", "electric ray")


class Telling(Speaking):
    """Its text tower knows the vectors of a few prompts."""

    def __init__(self, vectors: dict[str, list[float]], scale: float = 10.0) -> None:
        super().__init__()
        self.vectors, self.logit_scale = vectors, scale

    def vector(self, prompt: str) -> Tensor:
        return torch.tensor(self.vectors[prompt])


def named(world: Any, classes: tuple[str, ...], name: str = "d") -> Dataset:
    dataset: Dataset = world.dataset(name, classes, {"test": (np.eye(len(classes), 192), np.arange(len(classes)))})
    return dataset


def test_logits_are_the_scaled_cosines_with_each_class(world: Any) -> None:
    """Images at 0, 60 and 90 degrees from the first of two classes at right angles; lengths must not matter."""
    images = np.array([[5.0, 0.0], [0.5, np.sqrt(0.75)], [0.0, 0.01]], np.float32)
    dataset = world.dataset("d", ("cat", "big_dog"), {"test": (images, np.array([0, 0, 1]))})
    backbone = Telling({"a photo of a cat.": [3.0, 0.0], "a photo of a big dog.": [0.0, 0.2]}, scale=2.0)
    answers = world.run(ZeroShot(), backbone=backbone, dataset=dataset)
    margins = np.array([2.0, 2 * (0.5 - np.sqrt(0.75)), 2.0])  # right class's logit minus the other's
    assert answers["top1"] == pytest.approx(2 / 3)
    assert answers["nll"] == pytest.approx(np.log1p(np.exp(-margins)).mean(), rel=1e-5)
    np.testing.assert_allclose(answers.outputs["test"]["probability_of_label"], 1 / (1 + np.exp(-margins)), rtol=1e-5)
    assert answers.notes["class_names"].value == {"cat": "cat", "big_dog": "big dog"}
    assert answers.notes["templates"].value == ["a photo of a {}."]
    assert answers.notes["logit_scale"].value == 2.0


def test_an_ensemble_is_the_mean_of_directions_not_of_vectors(world: Any) -> None:
    """The long vector of the first class's second prompt counts no more than the short one of its first."""
    vectors = {"a cat": [1.0, 0.0], "the cat": [0.0, 100.0], "a dog": [0.0, 1.0], "the dog": [0.0, 2.0]}
    image = np.array([[1.0, 0.0]], np.float32)
    dataset = world.dataset("d", ("cat", "dog"), {"test": (image, np.array([0]))})
    task = ZeroShot(templates=("a {}", "the {}"))
    answers = world.run(task, backbone=Telling(vectors, scale=1.0), dataset=dataset)
    assert answers["nll"] == pytest.approx(np.log1p(np.exp(-np.sqrt(0.5))), rel=1e-5)


@pytest.fixture(scope="module")
def clip() -> Backbone:
    return freeze(load("random:open_clip:test_vit"))


@torch.no_grad()
def test_logits_are_those_of_open_clips_own_classifier(clip: Any) -> None:
    tokenizer = open_clip.get_tokenizer("test_vit")
    theirs = open_clip.build_zero_shot_classifier(clip.model, tokenizer, NAMES, OPENAI_IMAGENET_TEMPLATES)
    batch = torch.randn(8, 3, 64, 64, generator=torch.Generator().manual_seed(0))
    expected = clip.model.logit_scale.exp() * clip.model.encode_image(batch, normalize=True) @ theirs
    prompts = filled(templates_of("clip80"), NAMES)
    assert len(prompts) == 80 * len(NAMES)
    classes = ensembles(clip.embed_text(prompts).numpy(), len(NAMES))
    found = similarities(clip.embed(batch).numpy(), classes, clip.logit_scale)
    np.testing.assert_allclose(found, expected.numpy(), atol=1e-5)


def pictured(classes: tuple[str, ...], side: int = 64) -> Dataset:
    images = random_images(6, side)
    labels = np.arange(6, dtype=np.int64) % len(classes)
    split = Split(images, labels, tuple(images.names))
    return Dataset("pictures", classes, {"test": split}, "manifest", "none", "tests", 6, 6)


def tools(folder: Path) -> tuple[Tools, TextExtractor]:
    settings = ExtractSettings(folder, device="cpu", workers=1)
    text = TextExtractor(settings)
    return Tools(Extractor(settings), embed_text=text), text


def probabilities(task: ZeroShot, backbone: Backbone, dataset: Dataset, by: Tools) -> np.ndarray:
    yielded = list(task.run(backbone, {"dataset": [dataset]}, by, 0))
    (outputs,) = [each for each in yielded if isinstance(each, Outputs)]
    found: np.ndarray = outputs.columns["probability_of_label"]
    return found


def encoded(backbone: Backbone, dataset: Dataset) -> Tensor:
    """The dataset's images, which are of the model's own size, as the reference transform makes them."""
    images, transform = dataset.splits["test"].images, reference_transform(backbone.preprocess)
    return torch.stack([transform(to_pil(decode(images.read(row)))) for row in range(len(images))])


@torch.no_grad()
def test_from_files_to_probabilities_as_open_clip_would_have_it(clip: Any, tmp_path: Path) -> None:
    dataset = pictured(NAMES)
    by, text = tools(tmp_path)
    found = probabilities(ZeroShot(templates="clip80"), clip, dataset, by)
    theirs = open_clip.build_zero_shot_classifier(
        clip.model, open_clip.get_tokenizer("test_vit"), NAMES, OPENAI_IMAGENET_TEMPLATES
    )
    logits = clip.model.logit_scale.exp() * clip.model.encode_image(encoded(clip, dataset), normalize=True) @ theirs
    expected = logits.softmax(1)[torch.arange(6), torch.from_numpy(dataset.splits["test"].labels)]
    np.testing.assert_allclose(found, expected.numpy(), atol=1e-5)
    assert [facts.from_cache for facts in text.used] == [False]


@pytest.mark.parametrize("name", ["clip", "siglip"])
@torch.no_grad()
def test_probabilities_are_the_softmax_of_transformers_own_logits(name: str, tmp_path: Path) -> None:
    """Of SigLIP's too: its bias is the same for every class."""
    save(tmp_path, name)
    save_tokenizer(tmp_path)
    backbone: Any = freeze(load(f"huggingface:{tmp_path}"))
    assert isinstance(backbone, TextEncoder)
    dataset = pictured(("cat", "dog", "photo"))
    found = probabilities(ZeroShot(templates=("a photo of a {}",)), backbone, dataset, tools(tmp_path / "cache")[0])
    tokens = backbone.tokenizer(
        [f"a photo of a {each}" for each in dataset.classes], padding="max_length", max_length=8, return_tensors="pt"
    )
    asked = {key: tokens[key] for key in ("input_ids", "attention_mask")}
    logits = backbone.model(pixel_values=encoded(backbone, dataset), **asked).logits_per_image
    expected = functional.softmax(logits, dim=1)[torch.arange(6), torch.from_numpy(dataset.splits["test"].labels)]
    np.testing.assert_allclose(found, expected.numpy(), atol=1e-5)


def test_cached_prompts_are_not_embedded_again(tmp_path: Path) -> None:
    first, second, dataset = Speaking(), Speaking(), pictured(("cat", "dog"), side=8)
    one = probabilities(ZeroShot(), first, dataset, tools(tmp_path)[0])
    other = probabilities(ZeroShot(), second, dataset, tools(tmp_path)[0])
    assert first.heard == ["a photo of a cat.", "a photo of a dog."]
    assert second.heard == []
    assert np.array_equal(one, other)


def test_the_hash_of_the_prompts_tells_templates_and_names_apart(world: Any) -> None:
    def told(task: ZeroShot, *classes: str) -> Note:
        answers = world.run(task, backbone=Speaking(), dataset=named(world, classes))
        note: Note = answers.notes["prompts_sha256"]
        return note

    same = [told(ZeroShot(), "cat", "dog"), told(ZeroShot(templates=("a photo of a {}.",)), "cat", "dog")]
    others = [
        told(ZeroShot(templates="name"), "cat", "dog"),
        told(ZeroShot(), "dog", "cat"),
        told(ZeroShot(class_names={"cat": "tiger"}), "cat", "dog"),
    ]
    assert same[0] == same[1]
    assert len({note.value for note in [*same, *others]}) == 4


@pytest.mark.parametrize(
    ("name", "classes", "expected"),
    [
        ("images:x", ("apple_pie", "001.Black_footed_Albatross"), ("apple pie", "Black footed Albatross")),
        ("torchvision:SUN397", ("abbey", "building/outdoor"), ("abbey", "outdoor building")),
        ("torchvision:FGVCAircraft", ("747-400", "DC-10"), ("747-400", "DC-10")),
        (
            "digits",
            tuple("0123456789"),
            ("zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine"),
        ),
        ("images:imagenet", ("n01440764", "n04254680"), ("tench", "soccer ball")),
        ("images:w", ("n00005787", "n01440764"), ("benthos", "tench")),  # the first is of ImageNet-22k alone
    ],
)
def test_classes_have_readable_names(
    world: Any, name: str, classes: tuple[str, ...], expected: tuple[str, ...]
) -> None:
    assert readable_names(named(world, classes, name), {}) == expected


def test_names_of_a_known_set_follow_its_classes_whatever_it_is_called(world: Any) -> None:
    eurosat = tuple(class_names._known_sets()["EuroSAT"]["names"])
    assert "annual crop land" in readable_names(named(world, eurosat, "images:anything"), {})
    assert readable_names(named(world, ("Forest", "Desert")), {}) == ("Forest", "Desert")
    given = readable_names(named(world, eurosat), {"River": "a river from above"})
    assert given[eurosat.index("River")] == "a river from above"
    assert given[eurosat.index("Forest")] == "forest"


def test_imagenets_names_are_in_the_order_of_its_ids() -> None:
    """Independent: torchvision's names in its order. Another order, or one class further on, agrees nearly nowhere."""
    from torchvision.models import ResNet18_Weights

    names = list(class_names._imagenet_1k().values())
    theirs = ResNet18_Weights.DEFAULT.meta["categories"]
    assert sum(one.lower() == other.lower() for one, other in zip(names, theirs, strict=True)) > 500


def test_classes_that_share_a_name_are_a_warning(world: Any) -> None:
    alike = [name for name, said in class_names._imagenet_1k().items() if said == "missile"]
    answers = world.run(ZeroShot(), backbone=Speaking(), dataset=named(world, (*alike, "n01440764")))
    assert answers.notes["shared_names"].warning
    assert all(name in answers.notes["shared_names"].value for name in alike)
    assert answers["top1"] < 1  # of two that tie, each counts half


def test_every_set_in_the_data_is_sound() -> None:
    for name in (*_sets(), *OF_OPEN_CLIP):
        task = ZeroShot(templates=name)
        assert all(PLACE in template for template in templates_of(task.templates)), name
    assert len(templates_of("clip80")) == len(set(templates_of("clip80"))) == 80
    assert templates_of("single") == ("a photo of a {}.",)
    for known in class_names._known_sets().values():
        assert known.keys() <= {"names", "datasets"}
        assert all(isinstance(text, str) and text.strip() for pair in known["names"].items() for text in pair)


@pytest.mark.parametrize(
    ("classes", "settings", "words"),
    [
        (("0", "1"), {}, "2 of 2 classes of dataset 'd' have no name that says what they are (0, 1); give them"),
        (("cat", "n99999999"), {}, "(n99999999)"),
        (("cat", "__"), {}, "(__)"),
        (("cat", "dog"), {"class_names": {"kat": "cat"}}, "did you mean 'cat'"),
        (("cat",), {}, "one class only"),
    ],
)
def test_datasets_without_names_are_refused(
    world: Any, classes: tuple[str, ...], settings: dict[str, Any], words: str
) -> None:
    task, data = ZeroShot(**settings), {"dataset": [named(world, classes)]}
    assert words in (task.refusal(Speaking(), data) or "")
    with pytest.raises(ValueError, match="dataset"):
        list(task.run(Speaking(), data, Tools(world.extract), 0))


def test_numbers_with_names_given_are_not_refused(world: Any) -> None:
    data = {"dataset": [named(world, ("0", "1"))]}
    assert ZeroShot(class_names={"0": "cat", "1": "dog"}).refusal(Speaking(), data) is None


def test_backbones_without_text_and_labels_without_a_class_are_refused(world: Any) -> None:
    dataset = world.dataset("d", ("cat", "dog"), {"test": (np.eye(2), np.array([0, 2]))})
    assert "has no text tower" in (ZeroShot().refusal(world.nobody, {"dataset": [dataset]}) or "")
    assert "labels run 0..2" in (ZeroShot().refusal(Speaking(), {"dataset": [dataset]}) or "")


def test_names_and_templates_of_open_clip_say_what_to_install(world: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    for module in ("open_clip", "open_clip.zero_shot_metadata"):
        monkeypatch.setitem(sys.modules, module, None)
    class_names._imagenet_1k.cache_clear()
    for task, classes in ((ZeroShot(templates="clip80"), ("cat", "dog")), (ZeroShot(), ("n01440764", "n04254680"))):
        why = task.refusal(Speaking(), {"dataset": [named(world, classes)]}) or ""
        assert "uv sync --extra open_clip" in why


def test_towers_of_different_widths_are_a_mistake(world: Any) -> None:
    with pytest.raises(ValueError, match="images in 192 dimensions and text in 5"):
        world.run(ZeroShot(), backbone=Speaking(dim=5), dataset=named(world, ("cat", "dog")))


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"templates": "clip08"}, "did you mean 'clip80'"),
        ({"templates": ""}, "unknown set of templates ''"),
        ({"templates": []}, "empty list"),
        ({"templates": ["a {}", ""]}, r"template '' has no \{\}"),
        ({"templates": ["a photo of a {c}."]}, r"'a photo of a \{c\}.' has no \{\}"),
        ({"class_names": {"cat": " "}}, "class_names"),
        ({"class_names": {"cat": None}}, "class_names"),
        ({"class_names": ["cat"]}, "class_names"),
    ],
)
def test_bad_settings_are_named(settings: dict[str, Any], words: str) -> None:
    with pytest.raises(ValidationError, match=words):
        ZeroShot(**settings)


def test_a_plan_with_a_file_of_names(bob: Any) -> None:
    """From the command line to the record; another file under the same name is another question."""
    names, plan = bob.folder / "names.yaml", bob.folder / "plan.yaml"
    names.write_text("".join(f"{digit}: number {digit}\n" for digit in range(10)))
    plan.write_text(
        "backbones: ['random:open_clip:test_vit', pixels]\n"
        "tasks:\n"
        "  - {task: classification.zero_shot, dataset: digits, templates: number}\n"
        "  - {task: classification.zero_shot, dataset: digits, class_names: names.yaml}\n"
    )
    code, log = bob("run", "plan.yaml")
    assert code == 0, log
    assert "2 cells computed" in log
    assert "has no text tower" in bob("plan", "plan.yaml")[1]
    assert "2 found done" in bob("run", "plan.yaml")[1]
    names.write_text(names.read_text().replace("number 3", "three"))
    assert "1 cells computed, 1 found done" in bob("run", "plan.yaml")[1]
    names.write_text("0: [")
    code, log = bob("plan", "plan.yaml")
    assert code == 2
    assert "names.yaml" in log
    names.unlink()
    code, log = bob("plan", "plan.yaml")
    assert code == 2
    assert "class_names: no file 'names.yaml': looked for" in log
    assert "classification.zero_shot" in bob("list", "tasks")[1]
    assert "setting templates: 'single'" in bob("show", "classification.zero_shot")[1]

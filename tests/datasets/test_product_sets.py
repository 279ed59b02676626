"""Stanford Online Products and In-shop Clothes by their official lists, against what was written, up to a task."""

import numpy as np
import pytest

from backbones.base import freeze
from backbones.catalogue import load
from backbones.features import Extractor, ExtractSettings
from tasks.base import Note, Score, Tools
from tasks.catalogue import open_dataset
from tasks.retrieval.retrieval import Retrieval

PRODUCTS = {
    "Ebay_train.txt": [
        (1, 1, 1, "bicycle_final/11_0.png"),
        (2, 1, 1, "bicycle_final/11_1.png"),
        (3, 9, 2, "cabinet_final/9.png"),
    ],
    "Ebay_test.txt": [
        (4, 100, 1, "bicycle_final/77_0.png"),
        (5, 100, 1, "bicycle_final/77_1.png"),
        (6, 21, 3, "chair_final/x y.png"),
    ],
}
CLOTHES = [
    ("img/WOMEN/Dresses/id_00000002/02_1_front.png", "id_00000002", "train"),
    ("img/WOMEN/Dresses/id_00000007/01_1_front.png", "id_00000007", "query"),
    ("img/WOMEN/Dresses/id_00000007/01_2_side.png", "id_00000007", "gallery"),
    ("img/MEN/Denim/id_00000080/01_1_front.png", "id_00000080", "gallery"),
]


@pytest.fixture
def products(tmp_path, make_tree):
    root = tmp_path / "Stanford_Online_Products"
    make_tree(root, [row[-1] for rows in PRODUCTS.values() for row in rows])
    for name, rows in PRODUCTS.items():
        lines = ["image_id class_id super_class_id path", *(" ".join(map(str, row)) for row in rows)]
        (root / name).write_text("\n".join(lines) + "\n")
    return root


@pytest.fixture(params=[("", "Eval"), ("Img", "Eval"), ("", "")], ids=["img", "Img/img", "together"])
def clothes(request, tmp_path, make_tree):
    images, lists = request.param
    root = tmp_path / "in-shop"
    make_tree(root / images, [name for name, _, _ in CLOTHES])
    (root / lists).mkdir(exist_ok=True)
    rows = [f"{name:<80}{item:<15}{status}" for name, item, status in CLOTHES]
    (root / lists / "list_eval_partition.txt").write_text(
        "\n".join([str(len(CLOTHES)), "image_name item_id evaluation_status", *rows]) + "\n"
    )
    return root / lists / "list_eval_partition.txt"


def found_in(dataset, split):
    part = dataset.splits[split]
    return {name: dataset.classes[label] for name, label in zip(part.images.names, part.labels, strict=True)}


def test_online_products_are_what_was_written(products, options):
    dataset = open_dataset("stanford-online-products", options)
    assert dataset.classes == ("1", "9", "21", "100")
    for split, name in (("train", "Ebay_train.txt"), ("test", "Ebay_test.txt")):
        assert found_in(dataset, split) == {path: str(number) for _, number, _, path in PRODUCTS[name]}
        first = dataset.splits[split].images
        assert first.read(0) == (products / first.names[0]).read_bytes()


def test_in_shop_is_what_was_written(clothes, options):
    dataset = open_dataset("deepfashion-in-shop", options)
    for split in ("train", "query", "gallery"):
        assert found_in(dataset, split) == {name: item for name, item, status in CLOTHES if status == split}


@pytest.mark.parametrize(
    ("set_name", "protocol", "asked"),
    [("stanford-online-products", "leave one out", 2), ("deepfashion-in-shop", "query and gallery", 1)],
)
def test_retrieval_is_asked_as_the_set_is_meant(set_name, protocol, asked, products, tmp_path, options, make_tree):
    """Of the products' test images two have another of their own, one has none; the clothes have a query."""
    root = make_tree(tmp_path / "in-shop", [name for name, _, _ in CLOTHES])
    rows = ["4", "image_name item_id evaluation_status", *(" ".join(row) for row in CLOTHES)]
    (root / "list_eval_partition.txt").write_text("\n".join(rows))
    tools = Tools(Extractor(ExtractSettings(tmp_path / "features", device="cpu", workers=1)))
    dataset = open_dataset(set_name, options)
    answers = list(Retrieval().run(freeze(load("pixels")), {"dataset": [dataset]}, tools, 0))
    notes = {each.name: each.value for each in answers if isinstance(each, Note)}
    assert notes["protocol"] == protocol
    (score,) = [each for each in answers if isinstance(each, Score) and each.metric == "recall@1"]
    assert np.shape(score.per_sample) == (asked,)


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("7 5 1 ../x.png", "outside the set's folder"),
        ("7 5 1", "line '7 5 1' is not image_id class_id"),
        ("7 five 1 x.png", "is not image_id class_id"),
        ("7 100 1 bicycle_final/77_0.png", "names 1 images more than once: bicycle_final/77_0.png"),
        ("7 5 1 chair_final/z.png", r"1 of 7 images cannot be read"),
    ],
)
def test_products_that_do_not_fit(line, message, products, options):
    with (products / "Ebay_test.txt").open("a") as file:
        file.write(f"{line}\n")
    with pytest.raises(ValueError, match=message):
        open_dataset("online_products:Stanford_Online_Products", options)


@pytest.mark.parametrize("text", ["", "1 1 1 bicycle_final/11_0.png\n"])
def test_a_list_of_products_without_its_header(text, products, options):
    (products / "Ebay_train.txt").write_text(text)
    with pytest.raises(ValueError, match=r"Ebay_train\.txt: its first line is .*, not 'image_id class_id"):
        open_dataset("online_products:Stanford_Online_Products", options)
    (products / "Ebay_train.txt").unlink()
    with pytest.raises(FileNotFoundError, match=r"no file Ebay_train\.txt in .*cvgl\.stanford\.edu"):
        open_dataset("online_products:Stanford_Online_Products", options)


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("4\n", "5\n", "its first line says '5' images, and 4 follow"),
        ("image_name item_id", "image item", "its second line is 'image item evaluation_status', not"),
        ("query", "probe", "with one of train, query, gallery"),
        ("img/MEN/", "../MEN/", "outside the set's folder"),
        ("01_2_side", "01_1_front", "names 1 images more than once"),
        ("01_2_side", "01_2_back", "1 of 4 images cannot be read"),
    ],
)
def test_clothes_that_do_not_fit(old, new, message, clothes, options):
    clothes.write_text(clothes.read_text().replace(old, new, 1))
    with pytest.raises(ValueError, match=message):
        open_dataset("in_shop:in-shop", options)


def test_clothes_without_list_or_images(clothes, options):
    clothes.write_text("4\n")
    with pytest.raises(ValueError, match="its second line is ''"):
        open_dataset("in_shop:in-shop", options)
    clothes.unlink()
    with pytest.raises(FileNotFoundError, match=r"no file list_eval_partition\.txt in .*mmlab\.ie\.cuhk\.edu\.hk"):
        open_dataset("in_shop:in-shop", options)
    clothes.write_text("4\n")
    root = clothes.parent.parent if clothes.parent.name == "Eval" else clothes.parent
    for folder in (root / "img", root / "Img" / "img"):
        if folder.is_dir():
            folder.rename(root / "elsewhere")
    with pytest.raises(FileNotFoundError, match="no folder img in"):
        open_dataset("in_shop:in-shop", options)

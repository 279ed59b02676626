"""WILDS' image sets by tables of the official columns: splits, classes, files and groups, against what was written."""

import pytest

from tasks.catalogue import open_dataset
from tasks.datasets.partition import partition

IWILDCAM = """split,filename,image_id,location_remapped,location,sequence_remapped,datetime,y
train,a.jpg,a,0,31,0,2013-06-05 06:44:19.000,10
train,b.jpg,b,1,32,1,2013-06-05 06:44:19.000,2
id_val,c.jpg,c,0,31,2,2013-06-06 06:44:19.000,2
id_test,d.jpg,d,1,32,3,2013-06-06 06:44:19.000,10
val,e.jpg,e,2,33,4,2013-06-05 06:44:19.000,2
test,f.jpg,f,3,34,5,2013-06-05 06:44:19.000,0
test,g.jpg,g,4,35,6,2013-06-05 06:44:19.000,10
"""
CAMELYON17 = """,patient,node,x_coord,y_coord,tumor,slide,center,split
0,004,4,3328,21792,1,0,0,0
1,004,4,3200,22272,0,0,0,1
2,020,0,64,32,0,20,1,0
3,040,3,96,128,1,28,2,0
4,042,1,96,160,0,29,2,1
5,064,2,1,2,0,33,3,0
"""
RXRX1 = """site_id,well_id,cell_type,dataset,experiment,plate,well,site,well_type,sirna,sirna_id
x_1_B02_1,x_1_B02,HEPG2,train,HEPG2-01,1,B02,1,negative_control,EMPTY,1138
x_1_B02_2,x_1_B02,HEPG2,train,HEPG2-01,1,B02,2,negative_control,EMPTY,1138
x_1_B03_1,x_1_B03,HUVEC,train,HUVEC-01,2,B03,1,treatment,s21721,965
y_1_B03_1,y_1_B03,HUVEC,val,HUVEC-17,3,B03,1,treatment,s21721,965
z_1_B03_1,z_1_B03,U2OS,test,U2OS-04,4,B03,1,treatment,s21721,965
z_1_B03_2,z_1_B03,RPE,test,RPE-08,4,B03,2,treatment,s1,9
"""
FMOW = """split,img_filename,category,country_code,timestamp
train,a,zoo,FRA,2010-03-01T10:00:00Z
train,b,dam,BRA,2014-03-01T10:00:00Z
val,c,zoo,FRA,2012-12-31T23:59:59Z
seq,d,airport,FRA,2010-03-01T10:00:00Z
val,e,dam,BRA,2013-01-01T00:00:00Z
val,f,dam,BRA,2016-01-01T00:00:00Z
test,g,zoo,FRA,2011-03-01T10:00:00Z
test,h,zoo,JPN,2016-01-01T00:00:00Z
test,i,dam,ATA,2017-01-01T00:00:00Z
test,j,dam,JPN,2015-12-31T23:59:59Z
"""
COUNTRIES = "name,alpha-2,alpha-3,region\nFrance,FR,FRA,Europe\nBrazil,BR,BRA,Americas\nJapan,JP,JPN,Asia\n"

CLASSES = {
    "iwildcam": ("0", "2", "10"),
    "camelyon17": ("normal", "tumor"),
    "rxrx1": ("9", "965", "1138"),
    "fmow": ("airport", "dam", "zoo"),
}
PATCH = "patches/patient_{0}_node_{1}/patch_patient_{0}_node_{1}_x_{2}_y_{3}.png"
EXPECTED = {
    "iwildcam": {
        "train": {"train/a.jpg": "10", "train/b.jpg": "2"},
        "val": {"train/c.jpg": "2"},
        "test": {"train/d.jpg": "10"},
    },
    "iwildcam#val": {"test": {"train/e.jpg": ("2", "2")}},
    "iwildcam#test": {"test": {"train/f.jpg": ("0", "3"), "train/g.jpg": ("10", "4")}},
    "camelyon17": {
        "train": {PATCH.format("004", 4, 3328, 21792): "tumor", PATCH.format("064", 2, 1, 2): "normal"},
        "val": {PATCH.format("004", 4, 3200, 22272): "normal"},
    },
    "camelyon17#val": {"test": {PATCH.format("020", 0, 64, 32): ("normal", "20")}},
    "camelyon17#test": {
        "test": {PATCH.format("040", 3, 96, 128): ("tumor", "28"), PATCH.format("042", 1, 96, 160): ("normal", "29")}
    },
    "rxrx1": {
        "train": {"images/HEPG2-01/Plate1/B02_s1.png": "1138", "images/HUVEC-01/Plate2/B03_s1.png": "965"},
        "test": {"images/HEPG2-01/Plate1/B02_s2.png": "1138"},
    },
    "rxrx1#val": {"test": {"images/HUVEC-17/Plate3/B03_s1.png": ("965", "HUVEC")}},
    "rxrx1#test": {
        "test": {
            "images/U2OS-04/Plate4/B03_s1.png": ("965", "U2OS"),
            "images/RPE-08/Plate4/B03_s2.png": ("9", "RPE"),
        }
    },
    "fmow": {
        "train": {"images/rgb_img_0.png": "zoo"},
        "val": {"images/rgb_img_2.png": "zoo"},
        "test": {"images/rgb_img_6.png": "zoo"},
    },
    "fmow#val": {"test": {"images/rgb_img_4.png": ("dam", "Americas")}},
    "fmow#test": {"test": {"images/rgb_img_7.png": ("zoo", "Asia"), "images/rgb_img_8.png": ("dam", "")}},
}


@pytest.fixture
def wilds(tmp_path, make_tree):
    """All four, with every image that a part of theirs names."""
    folders = {
        "iwildcam": ("iwildcam_v2.0", "metadata.csv", IWILDCAM),
        "camelyon17": ("camelyon17_v1.0", "metadata.csv", CAMELYON17),
        "rxrx1": ("rxrx1_v1.0", "metadata.csv", RXRX1),
        "fmow": ("fmow_v1.1", "rgb_metadata.csv", FMOW),
    }
    for name, (folder, file, text) in folders.items():
        images = [
            image
            for part, splits in EXPECTED.items()
            if part.startswith(name)
            for split in splits.values()
            for image in split
        ]
        make_tree(tmp_path / folder, images)
        (tmp_path / folder / file).write_text(text)
    (tmp_path / "fmow_v1.1" / "country_code_mapping.csv").write_text(COUNTRIES)
    return tmp_path


@pytest.mark.parametrize("name", EXPECTED)
def test_every_part_is_what_its_table_says(name, wilds, options):
    dataset = open_dataset(name, options)
    assert dataset.classes == CLASSES[name.partition("#")[0]], "one order of classes in all parts"
    found = {}
    for split, images in dataset.splits.items():
        labels = [dataset.classes[label] for label in images.labels]
        told = labels if images.groups is None else list(zip(labels, images.groups, strict=True))
        found[split] = dict(zip(images.images.names, told, strict=True))
    assert found == EXPECTED[name]


def test_nothing_is_chosen_on_other_domains(wilds, options):
    parts = partition(open_dataset("iwildcam", options), 0)
    assert parts.notes == dict.fromkeys(("train", "val", "test"), "official")
    assert parts.val.names == ["train/c.jpg"], "id_val, not the val of other cameras"


@pytest.mark.parametrize(
    ("folder", "file", "old", "new", "message"),
    [
        ("iwildcam_v2.0", "metadata.csv", "id_val,", "seq,", r"metadata\.csv row 4: split is 'seq'; choose from train"),
        ("iwildcam_v2.0", "metadata.csv", ",2\n", ",deer\n", r"row 3: y is 'deer', no whole number"),
        ("iwildcam_v2.0", "metadata.csv", "filename", "name", "has no column filename"),
        ("iwildcam_v2.0", "metadata.csv", "train,a.jpg", "train,../../a.jpg", "is not below the table's folder"),
        ("camelyon17_v1.0", "metadata.csv", ",1,0,0,0\n", ",2,0,0,0\n", r"row 2: tumor is '2'; choose from 0, 1"),
        ("fmow_v1.1", "rgb_metadata.csv", "2010-03-01T10", "1st of March", "row 2: timestamp is '1st of March"),
        ("rxrx1_v1.0", "metadata.csv", "sirna_id", "treatment", "it has none of the columns location_remapped, tumor"),
    ],
)
def test_rows_that_cannot_be_read_are_named(folder, file, old, new, message, wilds, options):
    path = wilds / folder / file
    text = path.read_text()
    assert old in text
    path.write_text(text.replace(old, new))
    with pytest.raises(ValueError, match=message):
        open_dataset(f"wilds:{folder}", options)


def test_a_folder_without_a_table_and_a_part_that_is_none(tmp_path, wilds, options):
    (tmp_path / "empty").mkdir()
    with pytest.raises(FileNotFoundError, match=r"neither metadata\.csv nor rgb_metadata\.csv.*https://wilds"):
        open_dataset("wilds:empty", options)
    with pytest.raises(ValueError, match="did you mean 'test'"):
        open_dataset("wilds:iwildcam_v2.0#tests", options)

"""MedMNIST: medical images at MNIST's size, those datasets that give every image one class.

MD5, numbers of images and names of classes are those that the collection's own package lists for version 3 (Zenodo
record 10519652). ChestMNIST gives an image several labels, and the three-dimensional ones are no images.
"""

from regulab.data.formats.medmnist import medmnist

_ORGANS = (
    "bladder",
    "femur-left",
    "femur-right",
    "heart",
    "kidney-left",
    "kidney-right",
    "liver",
    "lung-left",
    "lung-right",
    "pancreas",
    "spleen",
)
PATHMNIST = medmnist(
    "pathmnist",
    "colour pictures of tissue of the colon",
    md5="a8b06965200029087d5bd730944a56c1",
    images=(89_996, 10_004, 7_180),
    classes=(
        "adipose",
        "background",
        "debris",
        "lymphocytes",
        "mucus",
        "smooth muscle",
        "normal colon mucosa",
        "cancer-associated stroma",
        "colorectal adenocarcinoma epithelium",
    ),
    colour=True,
)
DERMAMNIST = medmnist(
    "dermamnist",
    "colour photographs of skin lesions",
    md5="0744692d530f8e62ec473284d019b0c7",
    images=(7_007, 1_003, 2_005),
    classes=(
        "actinic keratoses and intraepithelial carcinoma",
        "basal cell carcinoma",
        "benign keratosis-like lesions",
        "dermatofibroma",
        "melanoma",
        "melanocytic nevi",
        "vascular lesions",
    ),
    colour=True,
    licence="CC BY-NC 4.0",
)
OCTMNIST = medmnist(
    "octmnist",
    "grey tomographies of the retina",
    md5="c68d92d5b585d8d81f7112f81e2d0842",
    images=(97_477, 10_832, 1_000),
    classes=("choroidal neovascularization", "diabetic macular edema", "drusen", "normal"),
    colour=False,
)
PNEUMONIAMNIST = medmnist(
    "pneumoniamnist",
    "grey X-rays of children's chests",
    md5="28209eda62fecd6e6a2d98b1501bb15f",
    images=(4_708, 524, 624),
    classes=("normal", "pneumonia"),
    colour=False,
)
RETINAMNIST = medmnist(
    "retinamnist",
    "colour photographs of the retina, by the grade of a retinopathy",
    md5="bd4c0672f1bba3e3a89f0e4e876791e4",
    images=(1_080, 120, 400),
    classes=("0", "1", "2", "3", "4"),
    colour=True,
)
BREASTMNIST = medmnist(
    "breastmnist",
    "grey ultrasound pictures of breasts",
    md5="750601b1f35ba3300ea97c75c52ff8f6",
    images=(546, 78, 156),
    classes=("malignant", "normal, benign"),
    colour=False,
)
BLOODMNIST = medmnist(
    "bloodmnist",
    "colour pictures of blood cells",
    md5="7053d0359d879ad8a5505303e11de1dc",
    images=(11_959, 1_712, 3_421),
    classes=(
        "basophil",
        "eosinophil",
        "erythroblast",
        "immature granulocytes",
        "lymphocyte",
        "monocyte",
        "neutrophil",
        "platelet",
    ),
    colour=True,
)
TISSUEMNIST = medmnist(
    "tissuemnist",
    "grey pictures of kidney cells",
    md5="ebe78ee8b05294063de985d821c1c34b",
    images=(165_466, 23_640, 47_280),
    classes=(
        "collecting duct, connecting tubule",
        "distal convoluted tubule",
        "glomerular endothelial cells",
        "interstitial endothelial cells",
        "leukocytes",
        "podocytes",
        "proximal tubule segments",
        "thick ascending limb",
    ),
    colour=False,
)
ORGANAMNIST = medmnist(
    "organamnist",
    "grey tomographies of organs, axial",
    md5="68e3f8846a6bd62f0c9bf841c0d9eacc",
    images=(34_561, 6_491, 17_778),
    classes=_ORGANS,
    colour=False,
)
ORGANCMNIST = medmnist(
    "organcmnist",
    "grey tomographies of organs, coronal",
    md5="b9ceb9546e10131b32923c5bbeaea2b1",
    images=(12_975, 2_392, 8_216),
    classes=_ORGANS,
    colour=False,
)
ORGANSMNIST = medmnist(
    "organsmnist",
    "grey tomographies of organs, sagittal",
    md5="9ab87b696fb54e2a387ebe992d6ed5f1",
    images=(13_932, 2_452, 8_827),
    classes=_ORGANS,
    colour=False,
)

"""How a report writes numbers, and the terms for the codes of the record."""

import math
import re

DASH = "–"
MINUS = "−"

BACKBONES = {
    "vgg11_bn": "VGG11 with batch norm",
    "vgg16": "VGG16",
    "vgg19": "VGG19",
    "resnet18": "ResNet18",
    "resnet34": "ResNet34",
    "resnet50": "ResNet50",
    "efficientnet_b0": "EfficientNet-B0",
}
STRATEGIES = {
    "gradual": "gradual unfreezing",
    "simultaneous": "simultaneous training",
    "last_block": "last block alone",
    "two_step": "top first, then all",
    "examined": "as given",
}
STRATEGY_NUMBERS = {"gradual": "Strategy 1", "simultaneous": "Strategy 2"}
POINTS = {0.25: "0.25", 0.5: "0.5", 1.0: "1", 2.0: "2", 4.0: "4"}
"""False marks per film at which a FROC curve is read."""
CRITERIA = {"centre": "centre in its box", "iou_0.2": "IoU from 0.2", "iou_0.5": "IoU from 0.5"}
"""When a mark lies on a lesion."""
METHODS = {
    "boxes": "detector's boxes",
    "grad_cam": "Grad-CAM",
    "grad_cam_pp": "Grad-CAM++",
    "hires_cam": "HiResCAM",
    "layer_cam": "Layer-CAM",
    "eigen_cam": "Eigen-CAM",
    "score_cam": "Score-CAM",
    "ablation_cam": "Ablation-CAM",
    "saliency": "saliency",
    "smooth_grad": "SmoothGrad",
    "integrated_gradients": "integrated gradients",
    "gradient_shap": "GradientSHAP",
    "kernel_shap": "KernelSHAP",
    "lime": "LIME",
    "occlusion": "occlusion maps",
    "prototypes": "prototypes",
    "each_prototype": "every prototype of the class",
    "whole_patch": "whole patch",
    "centred_disc": "centred disc",
    "mean_mask": "mean training mask",
    "random_weights": "random weights",
    "dealt_maps": "other patients' maps",
    "breast": "the whole breast",
    "bright_blob": "bright blobs",
    "sweep": "sweep of the patch run",
    "ceiling": "ceiling of the grid",
}
NAMES = {
    "whole_patch": "the whole patch",
    "centred_disc": "a centred disc",
    "mean_mask": "the mean training mask",
    "random_weights": "random weights",
    "dealt_maps": "its own maps of other patients",
}
"""Baselines within a sentence."""
MEASURES = {f"over_{code}": f"its mean IoU minus that of {name}" for code, name in NAMES.items()} | {
    "ll": "its mean IoU",
    "fall": "the fall of the probability of a lesion with the lesion filled in, minus that with a control region",
    "auc_intact": "the AUC of the diagnosis",
    "auc_fall": "the fall of the AUC with the lesion filled in",
    "auc_lesion": "the AUC with the lesion filled in",
    "swap_surroundings_auc": "the AUC by what surrounds a swapped lesion",
}
"""The number that decided an answer."""
TARGETS = {"predicted": "predicted class", "true": "true class", "none": "no class"}
POLICIES = {
    "fixed": "fixed threshold",
    "otsu": "Otsu's threshold of each map",
    "validation": "threshold tuned on the validation split",
    "area": "area of the annotation (diagnostic: uses the annotation)",
    "mask": "the baseline's own region",
}
NORMALISATIONS = {
    "per_class": "mean and standard deviation of the patch's own class",
    "train": "mean and standard deviation of the training split",
    "imagenet": "mean and standard deviation of ImageNet",
    "per_patch": "mean and standard deviation of each patch",
}
SOURCES = {
    "phantom": "synthetic mammograms",
    "cbis_kaggle": "CBIS-DDSM mammograms (Kaggle edition)",
    "cbis_dicom": "CBIS-DDSM mammograms (DICOM edition)",
    "manifest": "own images",
    "coco": "own images",
}
SPLIT_RULES = {
    "paper": "as published: training patches moved to test",
    "official": "official splits of the data set",
    "given": "the data set's own splits",
    "sound": "official splits; patients in both go to test",
}
ASKED = {"detection": "lesion or not", "diagnosis": "which lesion"}
UNITS = {"lesion": "patch", "breast": "breast", "patient": "patient"}
STATUSES = {"pending": "not started", "running": "running", "finished": "finished", "failed": "failed"}
SPLITS = {"train": "training", "validation": "validation", "test": "test"}
ENTITIES = {"patient": "patients", "image": "images", "lesion": "lesions", "pixels": "identical images"}

BY_RULE = {
    "no_target_class": "belongs to no target class (benign without callback)",
    "no_margin_class": "no mass that is circumscribed, ill-defined or spiculated alone",
    "class_of_first_row": "the breast's first finding belongs to no target class",
    "overwritten": "a later lesion of the same image and class took its place",
    "no_laterality": "the film's side or view is not known, so it is of no breast",
    "single_view": "the breast has no film of the other view",
    "another_of_view": "another film of the same breast and view stands for it",
    "split_left_out": "official test split that the published study did not use",
}
BY_FILE = {
    "path_refused": "a path in the table is not of the expected form",
    "image_missing": "no image file",
    "image_ambiguous": "several image files fit",
    "image_refused": "the image lies outside the data folder",
    "image_unreadable": "the image file is unreadable",
    "image_too_large": "the image is too large",
    "mask_missing": "no mask file",
    "mask_ambiguous": "several mask files fit, or it is not plain what the mask marks",
    "mask_refused": "the mask lies outside the data folder",
    "mask_unreadable": "the mask file is unreadable",
    "mask_too_large": "the mask is too large",
    "mask_shape": "mask and image have different shapes, or a box leaves the image",
    "empty_mask": "the mask is empty",
}
EXCLUDED = BY_RULE | BY_FILE
"""Why a lesion gives no sample: by a rule of the study, or because of its files."""
NOTHING = "not recorded"


PATCH = re.compile(r"\b([Pp])atch(es)?\b(?! run)")
PER_FILM = re.compile(r"\bper film\b")


def worded(words: str, one: str, several: str) -> str:
    """Words about patches as words about other samples, called so; a patch run keeps its name.

    >>> worded("Patches: the whole patch, and its patch run", "film", "films")
    'Films: the whole film, and its patch run'

    What is counted per film is counted per sample, which of breasts are two films.

    >>> worded("1 false mark per film", "breast", "breasts")
    '1 false mark per breast'
    """

    def said(found: re.Match[str]) -> str:
        name = several if found[2] else one
        return name.capitalize() if found[1] == "P" else name

    return PER_FILM.sub(f"per {one}", PATCH.sub(said, words))


def term(code: object, terms: dict[str, str]) -> str:
    """The term for a code; an unknown code is shown with its underscores as spaces."""
    text = str(code)
    return terms.get(text, text.replace("_", " "))


def number(value: float | None, digits: int = 2, signed: bool = False) -> str:
    """Fixed digits with a true minus sign; a dash for None and for what is not finite."""
    if value is None or not math.isfinite(value):
        return DASH
    text = f"{value:+.{digits}f}" if signed else f"{value:.{digits}f}"
    if float(text) == 0:
        text = text.replace("-", "").replace("+", "")
    return text.replace("-", MINUS)


def interval(low: float | None, high: float | None, digits: int = 2) -> str:
    """`0.72–0.83`, or nothing where a bound is missing. Bounds below zero are joined by `to`."""
    if low is None or high is None or not (math.isfinite(low) and math.isfinite(high)):
        return ""
    joint = " to " if low < 0 or high < 0 else DASH
    return f"{number(low, digits)}{joint}{number(high, digits)}"


def with_interval(value: float | None, low: float | None, high: float | None) -> str:
    """`0.78 (0.72 to 0.83)` for sentences; without brackets where there is no interval."""
    if low is None or high is None:
        return number(value)
    return f"{number(value)} ({number(low)} to {number(high)})"


def proportion(value: float | None, low: float | None = None, high: float | None = None) -> str:
    """`42 % (33–51 %)`; without brackets where there is no interval, nothing for None."""
    if value is None:
        return ""
    around = "" if low is None or high is None else interval(100 * low, 100 * high, 0)
    return f"{number(100 * value, 0)}\u00a0%" + (f"\u00a0({around}\u00a0%)" if around else "")


def within(text: str) -> str:
    """A number with its interval, to stand in brackets itself.

    >>> within("0.54 (0.43 to 0.63)")
    '0.54, 0.43 to 0.63'
    """
    return re.sub(r"[ \u00a0]\((.*)\)", r", \1", text)


def count(value: int | float | None) -> str:
    """Whole number with thin spaces between thousands; a dash for None."""
    return DASH if value is None else f"{int(value):,}".replace(",", "\u202f")


def counted(value: int, one: str, many: str) -> str:
    """`1 patient`, `31 patients`."""
    return f"{count(value)} {one if value == 1 else many}"


def duration(seconds: float | None) -> str:
    """`42 s`, `3 min 20 s`, `2 h 5 min`; a dash for None."""
    if seconds is None or not math.isfinite(seconds):
        return DASH
    whole = round(seconds)
    if whole < 60:
        return f"{whole} s" if whole >= 10 else f"{seconds:.1f} s"
    if whole < 3600:
        return f"{whole // 60} min {whole % 60} s"
    return f"{whole // 3600} h {whole % 3600 // 60} min"


def joined(parts: list[str]) -> str:
    """`a`, `a and b`, `a, b and c`."""
    if len(parts) < 2:
        return "".join(parts)
    return f"{', '.join(parts[:-1])} and {parts[-1]}"


def p_value(p: float | None) -> str:
    """`p = 0.03`, `p < 0.001`; empty for None."""
    if p is None:
        return ""
    return "p < 0.001" if p < 0.001 else f"p = {p:.3f}" if p < 0.01 else f"p = {p:.2f}"

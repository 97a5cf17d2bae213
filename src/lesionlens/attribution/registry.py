"""Attribution methods by name: a new one is one line of METHODS."""

from dataclasses import dataclass

from pytorch_grad_cam import AblationCAM, GradCAM, GradCAMPlusPlus, HiResCAM, LayerCAM, ScoreCAM

from lesionlens.attribution.cam import AscendingEigenCAM, Maps, Zeroed, cam, case_evidence
from lesionlens.attribution.perturbation import kernel_shap, lime, occlusion, removal
from lesionlens.attribution.pixels import (
    gradient_shap,
    integrated_gradients,
    one_by_one,
    pixels,
    saliency,
    smooth_grad,
)
from lesionlens.config.evaluation import Method


@dataclass(frozen=True, slots=True)
class Attribution:
    """A method. `maps` gives maps of any resolution and range; methods that look at no inner layer ignore `layer`.

    signed: whether a channel or pixel can count against the class, so that values below zero are evidence against it.
    inner: whether the layer's output and what follows it are all that it reads. many: whether a map takes many passes
    of the whole network, so that only `evaluation.perturbation_samples` lesions are explained.
    """

    maps: Maps
    signed: bool
    inner: bool = False
    many: bool = False


def of_layer(method: Method) -> bool:
    """Whether a method explains an inner layer: class activation maps and prototypes do."""
    return "_cam" in method or method == "prototypes"


METHODS: dict[Method, Attribution] = {
    "grad_cam": Attribution(cam(GradCAM), signed=True, inner=True),
    "grad_cam_pp": Attribution(cam(GradCAMPlusPlus), signed=False, inner=True),
    "hires_cam": Attribution(cam(HiResCAM), signed=True, inner=True),
    "layer_cam": Attribution(cam(LayerCAM), signed=False, inner=True),
    "eigen_cam": Attribution(cam(AscendingEigenCAM), signed=True, inner=True),
    "score_cam": Attribution(cam(ScoreCAM, one_by_one=True), signed=False, many=True),
    "ablation_cam": Attribution(cam(AblationCAM, ablation_layer=Zeroed), signed=True, inner=True),
    "saliency": Attribution(pixels(saliency, unsigned=True), signed=False),
    "smooth_grad": Attribution(pixels(one_by_one(smooth_grad), unsigned=True), signed=False, many=True),
    "integrated_gradients": Attribution(pixels(integrated_gradients), signed=True, many=True),
    "gradient_shap": Attribution(pixels(one_by_one(gradient_shap)), signed=True, many=True),
    "kernel_shap": Attribution(pixels(removal(kernel_shap)), signed=True, many=True),
    "lime": Attribution(pixels(removal(lime)), signed=True, many=True),
    "occlusion": Attribution(pixels(removal(occlusion)), signed=True, many=True),
    "prototypes": Attribution(case_evidence, signed=True, inner=True),
}

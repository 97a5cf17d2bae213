"""Attribution methods by name: a new one is one line of METHODS."""

from dataclasses import dataclass

from pytorch_grad_cam import AblationCAM, GradCAM, GradCAMPlusPlus, HiResCAM, LayerCAM, ScoreCAM

from lesionlens.attribution.cam import AscendingEigenCAM, Maps, Zeroed, cam
from lesionlens.attribution.pixels import integrated_gradients, pixels, saliency, smooth_grad
from lesionlens.config.evaluation import Method


@dataclass(frozen=True, slots=True)
class Attribution:
    """A method. `maps` gives maps of any resolution and range; methods that look at no inner layer ignore theirs.

    signed: whether a channel or pixel can count against the class, so that values below zero are evidence against it.
    of_layer: whether it explains an inner layer.
    """

    maps: Maps
    signed: bool
    of_layer: bool = True


METHODS: dict[Method, Attribution] = {
    "grad_cam": Attribution(cam(GradCAM), signed=True),
    "grad_cam_pp": Attribution(cam(GradCAMPlusPlus), signed=False),
    "hires_cam": Attribution(cam(HiResCAM), signed=True),
    "layer_cam": Attribution(cam(LayerCAM), signed=False),
    "eigen_cam": Attribution(cam(AscendingEigenCAM), signed=True),
    "score_cam": Attribution(cam(ScoreCAM, one_by_one=True), signed=False),
    "ablation_cam": Attribution(cam(AblationCAM, ablation_layer=Zeroed), signed=True),
    "saliency": Attribution(pixels(saliency, unsigned=True), signed=False, of_layer=False),
    "smooth_grad": Attribution(pixels(smooth_grad, unsigned=True), signed=False, of_layer=False),
    "integrated_gradients": Attribution(pixels(integrated_gradients), signed=True, of_layer=False),
}

"""How close images are to the clean ones, PSNR and SSIM, measured on the denoised images that the gateway returns."""

from __future__ import annotations

import base64
from typing import Any

import numpy as np

from services.core import images as codec
from services.core import metrics
from services.core.noise import Images
from services.evaluator.errors import GatewayError
from services.evaluator.measure.results import Quality

DATA_URI = "data:image/png;base64,"


def compare(noise: str, level: float, clean: Images, noisy: Images, denoised: Images) -> Quality:
    """PSNR and SSIM before and after denoising, over all images."""
    return Quality(
        noise=noise,
        level=level,
        images=len(clean),
        psnr_noisy=_psnr(clean, noisy),
        psnr_denoised=_psnr(clean, denoised),
        ssim_noisy=float(metrics.ssim(clean, noisy).mean()),
        ssim_denoised=float(metrics.ssim(clean, denoised).mean()),
    )


def returned_images(answer: dict[str, Any]) -> Images:
    """The denoised pictures in a JSON answer, as the float batch they were made from (to 8 bits)."""
    pictures = []
    for result in answer["results"]:
        if not str(result.get("denoised", "")).startswith(DATA_URI):
            raise GatewayError(f"no denoised image in result {result.get('index')}, though it was asked for")
        data = base64.b64decode(result["denoised"].removeprefix(DATA_URI))
        pictures.append(codec.decode(data, max_pixels=1 << 20))
    return (np.stack(pictures)[..., None] / np.float32(255)).astype(np.float32)


def _psnr(clean: Images, other: Images) -> float:
    """Of the mean squared error over all images: an average of decibels is infinite once one image is untouched."""
    squared_errors = 10 ** (-metrics.psnr(clean, other) / 10)
    return float(-10 * np.log10(max(squared_errors.mean(), 1e-12)))

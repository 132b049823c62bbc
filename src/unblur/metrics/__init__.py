"""How near two pictures, or two blur kernels, are."""

from unblur.metrics.kernel import kernel_distance
from unblur.metrics.protocol import PROTOCOLS, Protocol, Scores, score
from unblur.metrics.psnr import mae, mse, psnr, psnr_of_mse
from unblur.metrics.ssim import FLAVOURS, ms_ssim, ssim
from unblur.metrics.stats import TTest, bootstrap_interval, capped_mean, gain, paired_t_test

__all__ = [
    "FLAVOURS",
    "PROTOCOLS",
    "Protocol",
    "Scores",
    "TTest",
    "bootstrap_interval",
    "capped_mean",
    "gain",
    "kernel_distance",
    "mae",
    "ms_ssim",
    "mse",
    "paired_t_test",
    "psnr",
    "psnr_of_mse",
    "score",
    "ssim",
]

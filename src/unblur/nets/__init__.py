"""The networks: one file per family, one table.

    net = create("unet20")                      # torch.nn.Module, freshly initialised
    net = create("unet20", final_activation="sigmoid")
    card, net = load("unet20.safetensors")      # with trained weights, as its card says
    spec("unet20").size_multiple                # 16

`layers.Restorer` is what every restoring network is; `spec.Spec` is what its caller must know.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from types import MappingProxyType
from typing import Any

import numpy as np
import torch
from torch import nn

from unblur.errors import FileError, OptionError
from unblur.models import ModelCard, read_weights
from unblur.nets.eddensenet import EDDenseNet
from unblur.nets.gan import Discriminator, Generator
from unblur.nets.mscnn import MSCNN
from unblur.nets.nafnet import NAFNet
from unblur.nets.plain import LargeKernelCNN, ResNet
from unblur.nets.rednet import CAESSC, RedNet
from unblur.nets.residual_unet import ResidualUNet
from unblur.nets.resunet import ResUNet
from unblur.nets.sigma_cnn import SigmaCNN
from unblur.nets.spec import Spec, apply, nearest
from unblur.nets.srn import srn_cifar, srn_paper, srn_reds
from unblur.nets.unet import UNet

__all__ = ["PRESETS", "Spec", "apply", "create", "load", "names", "spec"]

_CNN_DEBLUR = "https://github.com/nihil21/cnn-deblur"
_DEEP_DEBLURRING = "https://github.com/alessandrodicosola/DeepDeblurring"
_GNR638 = "https://github.com/IITBProjects/GNR-638"
_EE838A = "https://github.com/vndinh/EE838A_HW3"
_CS766 = "https://github.com/apkendall10/cs766project"
_NAH = "Nah et al. 2017, https://arxiv.org/abs/1612.02177"
_TAO = "Tao et al. 2018, https://arxiv.org/abs/1802.01770"
_MAO = "Mao et al. 2016, https://arxiv.org/abs/1603.09056"
_CHEN = "Chen et al. 2022, https://arxiv.org/abs/2204.04676"

_INPUT_SKIP = {
    "widths": (64, 128, 256, 512),
    "down": (2, 2, 2, 3),
    "up": (2, 3, 1),
    "skip_first": False,
    "head": 128,
}


_SPECS = (
    Spec(
        "unet20",
        "unet",
        UNet,
        1_941_139,
        _CNN_DEBLUR,
        arguments={"widths": (16, 32, 64, 128, 256), "final_activation": "relu"},
        report="000",
        size_multiple=16,
        halo=107,
        loss="mae",
    ),
    Spec(
        "unet16",
        "unet",
        UNet,
        482_067,
        _CNN_DEBLUR,
        arguments={"widths": (16, 32, 64, 128), "final_activation": "relu"},
        size_multiple=8,
        halo=51,
        loss="mae",
    ),
    Spec(
        "resunet1",
        "resunet",
        ResUNet,
        1_008_963,
        _DEEP_DEBLURRING,
        arguments={"n_blocks": 1},
        report="001",
        running_stats=2560,
        size_multiple=4,
        halo=42,
    ),
    Spec(
        "resunet3",
        "resunet",
        ResUNet,
        1_969_987,
        _DEEP_DEBLURRING,
        arguments={"n_blocks": 3},
        report="001",
        running_stats=5120,
        size_multiple=4,
        halo=82,
    ),
    Spec(
        "eddensenet",
        "eddensenet",
        EDDenseNet,
        424_927,
        _DEEP_DEBLURRING,
        report="001",
        running_stats=7608,
        size_multiple=4,
        halo=46,
    ),
    Spec(
        "caessc_d30_f64",
        "rednet",
        CAESSC,
        2_881_420,
        _DEEP_DEBLURRING,
        arguments={"depth": 30, "width": 64},
        report="001",
        running_stats=4620,
        halo=60,
    ),
    Spec(
        "caessc_d22_f128_half",
        "rednet",
        CAESSC,
        8_217_868,
        _DEEP_DEBLURRING,
        arguments={"depth": 22, "width": 128, "half": True},
        report="001",
        running_stats=6668,
        size_multiple=2,
        halo=84,
    ),
    Spec(
        "caessc_d22_f128_half_no_sigmoid",
        "rednet",
        CAESSC,
        8_217_868,
        _DEEP_DEBLURRING,
        arguments={"depth": 22, "width": 128, "half": True, "final_activation": "relu"},
        report="001",
        running_stats=6668,
        size_multiple=2,
        halo=84,
    ),
    Spec(
        "srn_cifar",
        "srn",
        srn_cifar,
        13_747_026,
        _DEEP_DEBLURRING,
        report="001",
        running_stats=12044,
        size_multiple=8,
        halo=529,
    ),
    Spec(
        "srn_cifar_lstm",
        "srn",
        srn_cifar,
        15_404_114,
        _DEEP_DEBLURRING,
        arguments={"lstm": True},
        report="001",
        running_stats=12044,
        size_multiple=32,
        fixed_size=(32, 32),
    ),
    Spec(
        "srn_reds",
        "srn",
        srn_reds,
        5_019_894,
        _DEEP_DEBLURRING,
        report="001",
        size_multiple=8,
        halo=573,
    ),
    Spec(
        "srn_paper",
        "srn",
        srn_paper,
        8_061_411,
        _TAO,
        size_multiple=16,
        halo=1315,
    ),
    Spec(
        "srn_paper_no_lstm",
        "srn",
        srn_paper,
        6_881_251,
        _TAO,
        arguments={"lstm": False},
        size_multiple=16,
        halo=1287,
    ),
    Spec(
        "srn_paper_grey",
        "srn",
        srn_paper,
        8_056_609,
        _TAO,
        arguments={"channels": 1},
        channels=1,
        size_multiple=16,
        halo=1315,
    ),
    Spec(
        "unet_inputskip",
        "unet",
        UNet,
        10_577_667,
        _GNR638,
        arguments={**_INPUT_SKIP, "tail_convs": 5, "reinject": True},
        report="002",
        size_multiple=8,
        halo=67,
    ),
    Spec(
        "unet_inputskip_6",
        "unet",
        UNet,
        10_614_595,
        _GNR638,
        arguments={**_INPUT_SKIP, "tail_convs": 6, "reinject": True},
        report="002",
        size_multiple=8,
        halo=68,
    ),
    Spec(
        "unet_no_tail",
        "unet",
        UNet,
        10_389_571,
        _GNR638,
        arguments=_INPUT_SKIP,
        report="002",
        size_multiple=8,
        halo=62,
    ),
    Spec(
        "large_kernel_cnn",
        "plain",
        LargeKernelCNN,
        370_947,
        _GNR638,
        report="002",
        halo=12,
    ),
    Spec(
        "resnet8",
        "plain",
        ResNet,
        594_371,
        _GNR638,
        arguments={"n_blocks": 8},
        report="002",
        halo=18,
    ),
    Spec(
        "resnet16",
        "plain",
        ResNet,
        1_185_219,
        _GNR638,
        arguments={"n_blocks": 16},
        report="002",
        halo=34,
    ),
    Spec(
        "mscnn_ps",
        "mscnn",
        MSCNN,
        2_034_537,
        _EE838A,
        report="003",
        inner_range=(-0.5, 0.5),
        size_multiple=4,
        halo=175,
    ),
    Spec(
        "mscnn_tc",
        "mscnn",
        MSCNN,
        2_032_881,
        _EE838A,
        arguments={"up": "tc"},
        report="003",
        inner_range=(-0.5, 0.5),
        size_multiple=4,
        halo=166,
    ),
    Spec(
        "mscnn_paper",
        "mscnn",
        MSCNN,
        11_721_321,
        _NAH,
        arguments={"n_blocks": 19, "block_kernel": 5, "first_relu": False},
        inner_range=(-0.5, 0.5),
        size_multiple=4,
        halo=581,
    ),
    Spec(
        "sigma_cnn_160x240",
        "sigma_cnn",
        SigmaCNN,
        698_191,
        _CS766,
        arguments={"size": (160, 240)},
        report="004",
        role="estimator",
        running_stats=120,
        inner_range=(0.0, 255.0),
        fixed_size=(160, 240),
    ),
    Spec(
        "sigma_cnn_144x256",
        "sigma_cnn",
        SigmaCNN,
        669_391,
        _CS766,
        arguments={"size": (144, 256)},
        report="004",
        role="estimator",
        running_stats=120,
        inner_range=(0.0, 255.0),
        fixed_size=(144, 256),
    ),
    Spec(
        "sigma_cnn_pool",
        "sigma_cnn",
        SigmaCNN,
        8_191,
        _CS766,
        arguments={"size": None},
        report="004",
        role="estimator",
        running_stats=120,
        inner_range=(0.0, 255.0),
    ),
    Spec(
        "unet_d3",
        "unet",
        UNet,
        7_697_475,
        _CS766,
        arguments={"widths": (64, 128, 256, 512), "skip_first": False, "dropout": 0.5, "init": "he"},
        report="004",
        size_multiple=8,
        halo=51,
    ),
    Spec(
        "gan_generator",
        "gan",
        Generator,
        1_734_947,
        _CS766,
        report="004",
        running_stats=2816,
        inner_range=(-1.0, 1.0),
        size_multiple=8,
        halo=51,
        loss="adversarial",
    ),
    Spec(
        "gan_discriminator",
        "gan",
        Discriminator,
        4_377_793,
        _CS766,
        report="004",
        role="discriminator",
        running_stats=1920,
        inner_range=(-1.0, 1.0),
        fixed_size=(144, 256),
        loss="adversarial",
    ),
    Spec(
        "red30",
        "rednet",
        RedNet,
        4_139_395,
        _MAO,
        arguments={"depth": 30, "width": 128},
        halo=30,
    ),
    Spec(
        "nafnet32",
        "nafnet",
        NAFNet,
        17_111_907,
        _CHEN,
        arguments={"width": 32},
        size_multiple=16,
        loss="psnr",
    ),
    Spec(
        "nafnet16",
        "nafnet",
        NAFNet,
        4_347_827,
        _CHEN,
        arguments={"width": 16},
        size_multiple=16,
        loss="psnr",
    ),
    Spec(
        "unblur_unet_1m",
        "residual_unet",
        ResidualUNet,
        1_151_308,
        "unblur",
        arguments={"widths": (32, 64, 128), "blocks": (2, 2, 2)},
        size_multiple=8,
        halo=109,
        loss="mae",
    ),
    Spec(
        "unblur_unet_7m",
        "residual_unet",
        ResidualUNet,
        6_948_492,
        "unblur",
        arguments={"widths": (64, 128, 256), "blocks": (2, 2, 4)},
        size_multiple=8,
        halo=141,
        loss="mae",
    ),
    Spec(
        "unblur-m",
        "residual_unet",
        ResidualUNet,
        218_320,
        "unblur",
        arguments={"widths": (24, 48), "blocks": (1, 4), "guided": True},
        role="guided",
        channels=8,
        size_multiple=4,
        halo=53,
        loss="psnr",
    ),
    Spec(
        "unblur-thumbnail",
        "residual_unet",
        ResidualUNet,
        783_952,
        "unblur",
        arguments={"widths": (48, 96), "blocks": (2, 3), "guided": True, "shown": 17},
        role="guided",
        channels=17,
        size_multiple=4,
        halo=53,
        loss="psnr",
    ),
    Spec(
        "unblur-reds",
        "residual_unet",
        ResidualUNet,
        420_240,
        "unblur",
        arguments={"widths": (32, 64), "blocks": (2, 4), "guided": True},
        role="guided",
        channels=8,
        size_multiple=4,
        halo=61,
        loss="psnr",
    ),
    Spec(
        "unblur-s",
        "residual_unet",
        ResidualUNet,
        62_480,
        "unblur",
        arguments={"widths": (16, 32), "blocks": (1, 2), "guided": True},
        role="guided",
        channels=8,
        size_multiple=4,
        halo=37,
        iterations=3,
        loss="psnr",
    ),
)

PRESETS: Mapping[str, Spec] = MappingProxyType({spec.name: spec for spec in _SPECS})
"""Every network by its name."""


def names(**having: Any) -> tuple[str, ...]:
    """The names of the presets whose fields have these values: names(role="restorer", family="srn")."""
    return tuple(
        name
        for name, row in PRESETS.items()
        if all(getattr(row, key) == value for key, value in having.items())
    )


def spec(name: str) -> Spec:
    """The description of the preset `name`. Raises OptionError for an unknown name."""
    if name not in PRESETS:
        raise OptionError(f"no network is called {name!r}{nearest(name, PRESETS)}")
    return PRESETS[name]


def create(name: str, **overrides: Any) -> nn.Module:
    """The network called `name`, freshly initialised from torch's global generator; `overrides` replace its arguments.

    Raises OptionError for an unknown name or argument.
    """
    return spec(name).build(**overrides)


def load(weights: str | os.PathLike[str]) -> tuple[ModelCard, nn.Module]:
    """The card of a safetensors file and its network, built as the card says, float32, in evaluation mode.

    Raises FileError for a damaged file, one without a card, or weights that do not fit the network.
    """
    about, tensors = read_weights(weights)
    try:
        net = create(about.name, **about.arguments)
        net.load_state_dict(
            {
                # Half precision is for storing only; counters of batches stay integers.
                name: torch.from_numpy(value.astype(np.float32) if value.dtype == np.float16 else value)
                for name, value in tensors.items()
            }
        )
    except (OptionError, RuntimeError, TypeError) as error:
        raise FileError(
            f"{weights}: not the weights of {about.name} ({str(error).splitlines()[0].strip(' :')})"
        ) from error
    return about, net.eval()

"""What makes each family itself: stage widths, skips, activations, flags."""

from __future__ import annotations

import inspect

import pytest
import torch
from torch import Tensor, nn

from unblur.nets import create, names, spec
from unblur.nets.cost import count


@pytest.fixture(autouse=True)
def _seed():
    torch.manual_seed(0)


def random_norms(net: nn.Module) -> nn.Module:
    """Statistics that are not at their start, in eval mode."""
    for module in net.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.running_mean.uniform_(-0.2, 0.2)
            module.running_var.uniform_(0.5, 2)
    return net.eval()


def with_same_weights(name: str, both: dict, **overrides) -> tuple[nn.Module, nn.Module]:
    """A preset with the options `both`, and its twin with other flags and the same state."""
    one = random_norms(create(name, **both))
    two = create(name, **both, **overrides).eval()
    two.load_state_dict(one.state_dict())
    return one, two


@torch.no_grad()
def differ(name: str, both: dict, **overrides) -> float:
    one, two = with_same_weights(name, both, **overrides)
    x = torch.rand(1, 3, 32, 32)
    return float((one(x) - two(x)).abs().max())


def test_eddensenet_stage_widths():
    net = create("eddensenet").eval()
    seen = []
    for stage in net.stages:
        stage.register_forward_hook(lambda _m, _i, out: seen.append(tuple(out.shape[1:3])))
    net(torch.rand(1, 3, 32, 32))
    assert seen == [
        (16, 32), (112, 32), (56, 16), (152, 16), (76, 8), (124, 8),
        (16, 8), (16, 16), (64, 16), (64, 32), (160, 32),
    ]  # fmt: skip


def test_eddensenet_carries_the_rectified_features():
    layer = random_norms(create("eddensenet")).stages[1][0]
    x = torch.randn(1, 16, 4, 4)
    assert torch.equal(layer(x)[:, :16], layer.enter(x))
    layer = random_norms(create("eddensenet", carry="raw")).stages[1][0]
    assert torch.equal(layer(x)[:, :16], x)


@pytest.mark.parametrize(
    ("name", "skips"),
    [
        ("caessc_d30_f64", (2, 4, 6, 8, 10, 12, 14)),
        ("caessc_d22_f128_half", (2, 4, 6, 8, 10)),
        ("red30", (2, 4, 6, 8, 10, 12, 14)),
    ],
)
def test_autoencoder_skips_arrive_behind_their_mirror_image(name, skips):
    """Cut the decoder above layer i by zeroing it: what is left comes from skips at or below i."""
    net = random_norms(create(name, width=4))
    assert net.skips == skips
    x = torch.rand(1, 3, 16, 16)
    reached = []
    for i in range(len(net.decoder), 1, -1):
        marked = []
        handles = [
            net.decoder[i - 1].register_forward_hook(lambda _m, _i, out: torch.zeros_like(out)),
            net.decoder[i - 2].register_forward_pre_hook(
                lambda _m, args, marked=marked: marked.append(args[0])
            ),
        ]
        with torch.no_grad():
            net(x)
        for handle in handles:
            handle.remove()
        flat = marked[0].flatten(2)
        if not torch.equal(flat.amax(2), flat.amin(2)):
            reached.append(i)
    assert tuple(reversed(reached)) == skips


def test_caessc_halves_inside():
    net = create("caessc_d22_f128_half", width=4).eval()
    assert net.encoder[0](torch.rand(1, 3, 16, 16)).shape == (1, 4, 8, 8)


#: Lowest and highest value that a network can give; those without are linear, or add to the picture.
BOUNDS = {
    **dict.fromkeys(("unet20", "unet16", "caessc_d22_f128_half_no_sigmoid"), (0, None)),
    **dict.fromkeys(names(family="resunet") + names(family="eddensenet"), (0, 1)),
    **dict.fromkeys(("caessc_d30_f64", "caessc_d22_f128_half", "srn_cifar", "srn_cifar_lstm"), (0, 1)),
}


@torch.no_grad()
@pytest.mark.parametrize("name", [*names(role="restorer"), "sigma_cnn_pool", "gan_discriminator"])
def test_output_activation(name):
    """Far-off biases of the last layer drive the output out of bounds, unless an activation holds it."""
    row = spec(name)
    options = {"width": 8} if "width" in inspect.signature(row.factory).parameters else {}
    if name.startswith("srn_paper"):
        options["share_weights"] = False  # so that the coarser scales keep their bias
    net = create(name, **options).eval()
    ran = []
    for module in net.modules():
        if isinstance(module, nn.Conv2d | nn.BatchNorm2d | nn.Linear):
            module.register_forward_hook(lambda module, _in, _out: ran.append(module))
    x = torch.rand(1, row.channels, *(row.fixed_size or (16, 16)))
    net(x)
    for bias in (-1e4, 1e4):
        if ran[-1].bias is None:
            ran[-1].bias = nn.Parameter(torch.empty(ran[-1].out_channels))
        ran[-1].bias.fill_(bias)
        low, high = BOUNDS.get(name, (None, None))
        y = net(x)
        if bias < 0:
            assert (
                float(y.max()) < -1 if low is None else low <= float(y.min()) <= float(y.max()) < low + 0.01
            )
        else:
            assert (
                float(y.min()) > 2 if high is None else high - 0.01 < float(y.min()) <= float(y.max()) <= high
            )


def test_final_activation_is_an_option():
    x = torch.rand(1, 3, 32, 32)
    with torch.no_grad():
        linear, sigmoid = with_same_weights("unet20", {"widths": (8, 8)}, final_activation="sigmoid")
        linear.out[1] = nn.Identity()
        torch.testing.assert_close(sigmoid(x), torch.sigmoid(linear(x)))


def test_srn_up_act_changes_only_the_two_enlarging_layers():
    leaky, sigmoid = create("srn_cifar", width=4), create("srn_cifar", width=4, up_act="sigmoid")
    kinds = lambda net: [type(m).__name__ for m in net.modules()]  # noqa: E731
    changed = [(a, b) for a, b in zip(kinds(leaky), kinds(sigmoid), strict=True) if a != b]
    assert changed == [("LeakyReLU", "Sigmoid")] * 4
    assert differ("srn_cifar", {"width": 4}, up_act="sigmoid") > 1e-4


def states(net: nn.Module, x: Tensor) -> list[tuple]:
    """(state that arrived, state that left) of each recurrent step, coarse to fine."""
    seen: list[tuple] = []
    for scale in net.scales:
        scale.memory.cell.register_forward_hook(lambda _m, args, out: seen.append((args[1], out)))
    with torch.no_grad():
        net(x)
    return seen


def test_lstm_state_passes_from_scale_to_scale():
    x = torch.rand(2, 3, 32, 32)
    coarse, fine = states(create("srn_cifar_lstm", width=4).eval(), x)
    assert coarse[0] is None
    assert coarse[1][0].shape == (2, 32)
    assert torch.equal(fine[0][0], coarse[1][0])
    assert torch.equal(fine[0][1], coarse[1][1])
    coarse, fine = states(create("srn_cifar_lstm", width=4, carry_state=False).eval(), x)
    assert coarse[0] is None
    assert fine[0] is None


def test_conv_lstm_state_is_enlarged_where_carried():
    x = torch.rand(1, 3, 32, 64)
    assert [state for state, _ in states(create("srn_reds").eval(), x)] == [None, None]
    coarse, fine = states(create("srn_reds", carry_state=True).eval(), x)
    assert coarse[0] is None
    for arrived, left in zip(fine[0], coarse[1], strict=True):
        assert arrived.shape == (1, 64, 8, 16)
        torch.testing.assert_close(arrived.mean(), left.mean(), rtol=0, atol=1e-6)
    three = states(create("srn_paper", width=4).eval(), x)
    assert [state is None for state, _ in three] == [True, False, False]


@pytest.mark.parametrize(("name", "copies"), [("srn_cifar", 2), ("srn_reds", 2), ("srn_paper", 3)])
def test_weight_sharing(name, copies):
    shared, own = (create(name, width=4, share_weights=flag) for flag in (True, False))
    assert copies * count(shared).total == count(own).total
    assert (len(shared.scales), len(own.scales)) == (1, copies)
    assert len(shared.eval().levels(torch.rand(1, 3, 32, 32))) == copies


def test_srn_merges():
    """The finer scale sees picture + enlarged result, or picture and enlarged result, without its gradient."""
    for name, channels in (("srn_reds", 3), ("srn_paper_no_lstm", 6)):
        net = create(name).eval()
        seen: list[Tensor] = []
        for scale in net.scales:
            scale.register_forward_pre_hook(lambda _m, args, seen=seen: seen.append(args[0]))
        x = torch.rand(1, 3, 32, 32)
        levels, pyramid = net.levels(x), net.pyramid(x)
        assert {t.shape[1] for t in seen} == {channels}
        up = nn.functional.interpolate(levels[0], scale_factor=2, mode="bilinear")
        if channels == 3:
            assert torch.equal(seen[0], pyramid[0])
            torch.testing.assert_close(seen[1], pyramid[1] + up)
            assert seen[1].requires_grad
        else:
            assert torch.equal(seen[0], torch.cat((pyramid[0], pyramid[0]), 1))
            torch.testing.assert_close(seen[1], torch.cat((pyramid[1], up), 1))
            assert not seen[1].requires_grad


@pytest.mark.parametrize("name", ["resunet1", "srn_cifar", "srn_reds", "caessc_d22_f128_half"])
def test_tf_same_keeps_parameters_and_shape(name):
    net = create(name, width=8, tf_same=True)
    assert count(net) == count(create(name, width=8))
    assert net.eval()(torch.rand(1, 3, 32, 32)).shape == (1, 3, 32, 32)


def test_unet_flags():
    with torch.device("meta"):
        tail = [count(create("unet_inputskip", tail_convs=k)).total for k in (4, 5, 6)]
    assert tail[2] - tail[1] == tail[1] - tail[0] == 36_928
    # As many weights either way round, but not the same function of them.
    assert differ("unet_d3", {"widths": (8, 8, 8)}, skip_first=True) > 1e-4


def test_unet_reinjects_the_picture_itself():
    net = create("unet_inputskip").eval()
    seen = []
    net.head.register_forward_pre_hook(lambda _m, args: seen.append(args[0]))
    x = torch.rand(1, 3, 16, 8)
    net(x)
    assert seen[0].shape[1] == 67
    assert torch.equal(seen[0][:, 64:], x)


def test_dropout_only_in_training_and_behind_the_skip():
    x = torch.rand(1, 3, 16, 16)
    net = create("unet_d3")
    assert torch.equal(net.eval()(x), net(x))
    seen, dropped = [], []
    net.decoder[0].register_forward_pre_hook(lambda _m, args: seen.append(args[0][:, 256:]))
    net.encoder[2].register_forward_hook(lambda _m, _i, out: seen.append(out))
    net.dropout.register_forward_hook(lambda _m, args, out: dropped.append((args[0], out)))
    net.train()(x)
    assert torch.equal(seen[0], seen[1])
    assert [a.shape[1] for a, _ in dropped] == [256, 512]
    for before, after in dropped:
        gone = float((after[before > 0] == 0).float().mean())
        assert gone == pytest.approx(0.5, abs=0.06)
    net = create("unet_d3", dropout=0.0).train()
    assert torch.equal(net(x), net(x))


def test_unet_d3_starts_as_he_says():
    net = create("unet_d3")
    conv = net.encoder[3][2].weight.detach()  # 512 to 512
    assert conv.std() == pytest.approx((2 / (9 * 512)) ** 0.5, rel=0.01)
    assert conv.abs().max() > 4 * conv.std()  # normal, not uniform
    up = net.enlarge[0][0].weight.detach()
    assert up.std() == pytest.approx((2 / (4 * 512)) ** 0.5, rel=0.01)


@pytest.mark.parametrize(
    "name",
    ["unet20", "resunet1", "eddensenet", "caessc_d30_f64", "srn_cifar", "srn_reds", "mscnn_ps", "large_kernel_cnn",
     "resnet8", "red30", "gan_generator", "gan_discriminator", "sigma_cnn_160x240", "sigma_cnn_pool"],
)  # fmt: skip
def test_others_start_as_glorot_says(name):
    for key, module in create(name).named_modules():
        if isinstance(module, nn.Conv2d | nn.ConvTranspose2d | nn.Linear) and "recurrent" not in key:
            weight = module.weight.detach()
            a, b = weight.shape[:2]
            limit = (6 / (weight[0, 0].numel() * (a + b))) ** 0.5
            assert weight.abs().max() <= limit, key
            if weight.numel() > 1000:
                assert weight.abs().max() > 0.97 * limit, key
                assert weight.std() == pytest.approx(limit / 3**0.5, rel=0.1), key
            assert module.bias is None or "cell" in key or not module.bias.any(), key


@pytest.mark.parametrize("name", ["srn_cifar_lstm", "srn_reds", "srn_paper"])
def test_recurrent_cells_start_orthogonal_and_remembering(name):
    for scale in create(name).scales:
        cell = scale.memory.cell
        i, forget, c, o = cell.kernel.bias.chunk(4)
        assert (forget == 1).all()
        assert not torch.cat((i, c, o)).any()
        rows = cell.recurrent.weight.flatten(1)
        gram = rows @ rows.T if rows.shape[0] <= rows.shape[1] else rows.T @ rows
        torch.testing.assert_close(gram, torch.eye(len(gram)), rtol=0, atol=1e-5)


def test_mscnn_options():
    net = create("mscnn_ps", n_blocks=2, block_kernel=5, first_relu=False)
    blocks = [m for m in net.scales[0] if type(m).__name__ == "ResidualBlock"]
    assert len(blocks) == 2
    assert blocks[0].body[0].kernel_size == (5, 5)
    assert not isinstance(net.scales[0][1], nn.ReLU)
    assert isinstance(create("mscnn_ps").scales[0][1], nn.ReLU)


def test_the_paper_s_mscnn_has_40_convolutions_a_level():
    with torch.device("meta"):
        net = create("mscnn_paper")
    for level in net.scales:
        convs = [module for module in level.modules() if isinstance(module, nn.Conv2d)]
        assert len(convs) == 40
        assert {module.kernel_size for module in convs} == {(5, 5)}
        assert not isinstance(level[1], nn.ReLU)


@pytest.mark.parametrize("width", [16, 32])
def test_nafnet_stages(width):
    with torch.device("meta"):
        net = create(f"nafnet{width}")
    assert [len(stage) for stage in net.encoder] == [1, 1, 1, 28]
    assert [len(stage) for stage in net.decoder] == [1, 1, 1, 1]
    assert len(net.middle) == 1
    reduced = [module.out_channels for module in net.reduce]
    assert reduced == [2 * width, 4 * width, 8 * width, 16 * width]


@pytest.mark.parametrize("name", ["unet20", "unet16", "unet_inputskip", "unet_inputskip_6", "unet_d3"])
def test_unet_stages(name):
    """Convolutions of each stage, down to the bottom and up again, and behind them."""
    published = {
        "unet20": ([16, 32, 64, 128, 256], [2] * 5, [2] * 4, 0, 0),
        "unet16": ([16, 32, 64, 128], [2] * 4, [2] * 3, 0, 0),
        "unet_inputskip": ([64, 128, 256, 512], [2, 2, 2, 3], [2, 3, 1], 5, 2),
        "unet_inputskip_6": ([64, 128, 256, 512], [2, 2, 2, 3], [2, 3, 1], 6, 2),
        "unet_d3": ([64, 128, 256, 512], [2] * 4, [2] * 3, 0, 0),
    }
    widths, down, up, tail, head = published[name]
    with torch.device("meta"):
        net = create(name)

    def convs(stage: nn.Module) -> list[int]:
        return [module.out_channels for module in stage.modules() if isinstance(module, nn.Conv2d)]

    assert [convs(stage) for stage in net.encoder] == [[w] * n for w, n in zip(widths, down, strict=True)]
    rising = widths[-2::-1]
    assert [convs(stage) for stage in net.decoder] == [[w] * n for w, n in zip(rising, up, strict=True)]
    assert convs(net.tail) == [widths[0]] * tail
    assert convs(net.head) == [128] * head
    assert net.skip_first == (name in ("unet20", "unet16"))
    assert net.reinject == name.startswith("unet_inputskip")


def test_mscnn_gradient_flows_through_the_enlargement():
    net = create("mscnn_tc")
    net(torch.rand(1, 3, 16, 16)).sum().backward()
    assert net.scales[0][0].weight.grad.any()


def test_ranges_are_converted_inside():
    """mid-grey is 0 to the multi-scale CNN, and black is -1 to the GAN's networks."""
    seen = []
    net = create("mscnn_ps").eval()
    net.scales[0].register_forward_pre_hook(lambda _m, args: seen.append(args[0]))
    net(torch.full((1, 3, 8, 8), 0.5))
    torch.testing.assert_close(seen[0], torch.zeros(1, 3, 2, 2), rtol=0, atol=1e-6)
    for name, size in (("gan_generator", (8, 8)), ("gan_discriminator", (144, 256))):
        net = create(name).eval()
        first = net.encoder[0] if name == "gan_generator" else net.body
        first.register_forward_pre_hook(lambda _m, args: seen.append(args[0]))
        net(torch.zeros(1, 3, *size))
        assert (seen[-1] == -1).all()


def test_generator_adds_the_picture():
    net = create("gan_generator").eval()
    nn.init.zeros_(net.out.weight)
    nn.init.constant_(net.out.bias, 0.5)
    x = torch.rand(1, 3, 8, 8)
    torch.testing.assert_close(net(x), x + 0.25)


def test_discriminator_sizes():
    net = create("gan_discriminator").eval()
    seen = []
    for module in net.body:
        if isinstance(module, nn.Conv2d):
            module.register_forward_hook(lambda _m, _i, out: seen.append(tuple(out.shape[2:])))
    net(torch.rand(2, 3, 144, 256))
    assert seen == [(72, 128), (36, 64), (18, 32), (9, 16), (5, 8), (1, 1)]


@pytest.mark.parametrize(
    ("name", "size"),
    [("sigma_cnn_160x240", (39, 59)), ("sigma_cnn_144x256", (35, 63)), ("sigma_cnn_pool", (1, 1))],
)
def test_sigma_cnn_stages(name, size):
    """Two poolings of 3x3 by 2 without padding, then three dense layers of ten and the scalar."""
    net = create(name).eval()
    features = net.features(torch.rand(1, 3, *(spec(name).fixed_size or (50, 60))))
    assert features.shape == (1, 30, *size)
    dense = [module.weight.shape for module in net.head if isinstance(module, nn.Linear)]
    assert dense == [(10, 30 * size[0] * size[1]), (10, 10), (10, 10), (1, 10)]
    widths = [module.out_channels for module in net.features if isinstance(module, nn.Conv2d)]
    assert widths == [10, 20, 30]


def test_sigma_cnn_normalises_inside():
    net = create("sigma_cnn_pool", mean=(255.0, 0.0, 51.0), std=(1.0, 255.0, 51.0)).eval()
    seen = []
    net.features.register_forward_pre_hook(lambda _m, args: seen.append(args[0]))
    net(torch.ones(1, 3, 7, 9))
    torch.testing.assert_close(seen[0][0, :, 0, 0], torch.tensor([0.0, 1.0, 4.0]))
    assert net(torch.rand(3, 3, 50, 31)).shape == (3,)


@pytest.mark.parametrize("name", ["nafnet16", "unblur_unet_1m", "unblur_unet_7m"])
def test_ours_and_nafnet_start_near_the_identity(name):
    net, x = create(name).eval(), torch.rand(1, 3, 32, 32)
    if name == "nafnet16":
        assert not any(p.any() for key, p in net.named_parameters() if key.endswith(("beta", "gamma")))
    else:
        assert torch.equal(net(x), x)


def test_nafnet_norm_is_over_channels():
    from unblur.nets.nafnet import LayerNorm2d

    y = LayerNorm2d(8, eps=1e-6)(torch.randn(2, 8, 3, 4))
    torch.testing.assert_close(y.mean(1), torch.zeros(2, 3, 4), rtol=0, atol=1e-5)
    torch.testing.assert_close(y.var(1, correction=0), torch.ones(2, 3, 4), rtol=0, atol=1e-4)

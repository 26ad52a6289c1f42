"""The work that is counted, against torch's own counter of kernels and against closed forms."""

import pytest
import timm
import torch
from torch import nn
from torch.func import functional_call, grad, stack_module_state, vmap
from torch.nn import functional as F
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils.checkpoint import checkpoint
from torch.utils.flop_counter import FlopCounterMode

from harness import Data, Recipe, predict, train
from harness.training.flops import FlopCounter, forward_flops


def counted(work):
    with FlopCounter() as counter:
        work()
    return counter.flops


def reference(work):
    """What torch counts kernel by kernel; it knows attention only as two products."""
    with sdpa_kernel(SDPBackend.MATH), FlopCounterMode(display=False) as kernels:
        work()
    return kernels.get_total_flops()


def leaf(*shape):
    return torch.rand(shape, requires_grad=True)


class Attention(nn.Module):
    """Multi-head attention of a sequence to itself."""

    def __init__(self, *, need_weights):
        super().__init__()
        self.inner = nn.MultiheadAttention(8, 2, batch_first=True)
        self.need_weights = need_weights

    def forward(self, words):
        return self.inner(words, words, words, need_weights=self.need_weights)[0]


IMAGES, ROWS, WORDS = (2, 4, 16, 16), (3, 5), (3, 6, 8)

NETWORKS = {
    "convolution": (lambda: nn.Conv2d(4, 6, 3), IMAGES),
    "strided convolution": (lambda: nn.Conv2d(4, 6, 3, stride=2, bias=False), IMAGES),
    "dilated convolution": (lambda: nn.Conv2d(4, 6, 3, dilation=2, padding="same"), IMAGES),
    "mirrored border": (lambda: nn.Conv2d(4, 6, 3, padding=1, padding_mode="reflect"), IMAGES),
    "transposed convolution": (lambda: nn.ConvTranspose2d(4, 6, 3, stride=2), IMAGES),
    "convolution of sequences": (lambda: nn.Conv1d(6, 4, 3), WORDS),
    "linear": (lambda: nn.Linear(5, 7), ROWS),
    "linear of one row": (lambda: nn.Linear(5, 7), (5,)),
    "linear of sequences": (lambda: nn.Linear(8, 7), WORDS),
    "linear without bias": (lambda: nn.Linear(8, 7, bias=False), WORDS),
    "attention with its weights": (lambda: Attention(need_weights=True), WORDS),
    "attention without": (lambda: Attention(need_weights=False), WORDS),
    "transformer": (lambda: nn.TransformerEncoderLayer(8, 2, 16, batch_first=True), WORDS),
    "residual network": (lambda: timm.create_model("test_resnet", in_chans=4), IMAGES),
    "vision transformer": (
        lambda: timm.create_model("test_vit", in_chans=4, img_size=16, patch_size=4),
        IMAGES,
    ),
}


@pytest.mark.parametrize("to_the_input", [False, True], ids=["weights", "weights and input"])
@pytest.mark.parametrize("name", NETWORKS)
def test_forward_and_backward_of_a_network_are_counted(name, to_the_input):
    make, shape = NETWORKS[name]
    network, inputs = make(), torch.rand(shape, requires_grad=to_the_input)

    def work():
        network(inputs).square().sum().backward()

    assert counted(work) == reference(work) > 0


a, b, batch_a, batch_b = leaf(4, 5), leaf(5, 6), leaf(2, 4, 5), leaf(2, 5, 6)
query, key, value = leaf(2, 3, 5, 8), leaf(2, 3, 7, 8), leaf(2, 3, 7, 8)

PRODUCTS = {
    "@": lambda: a @ b,
    "matmul": lambda: torch.matmul(a, b),
    "matmul of batches": lambda: batch_a.matmul(batch_b),
    "a batch with a matrix": lambda: batch_a @ b,
    "a matrix with a batch": lambda: a @ batch_b,
    "linalg": lambda: torch.linalg.matmul(a, b),
    "mm": lambda: a.mm(b),
    "bmm": lambda: torch.bmm(batch_a, batch_b),
    "addmm": lambda: torch.addmm(torch.zeros(6), a, b),
    "addmm to a bias that learns": lambda: leaf(6).addmm(a, b),
    "baddbmm": lambda: torch.baddbmm(leaf(2, 4, 6), batch_a, batch_b),
    "einsum": lambda: torch.einsum("ij,jk->ki", a, b),
    "einsum of batches": lambda: torch.einsum("bij,bjk->bik", batch_a, batch_b),
    "einsum of three": lambda: torch.einsum("ij,jk,lk->il", a, b, b),
    "tensordot": lambda: torch.tensordot(batch_a, batch_b, dims=([2], [1])),
    "inner": lambda: torch.inner(a, leaf(3, 5)),
    "chain": lambda: torch.linalg.multi_dot([a, b, leaf(6, 2)]),
    "a view of a product": lambda: (a @ b).T.reshape(2, 12),
    "attention": lambda: F.scaled_dot_product_attention(query, key, value),
    "masked attention": lambda: F.scaled_dot_product_attention(
        query, key, value, attn_mask=torch.zeros(5, 7)
    ),
    "one factor learns": lambda: a.detach() @ b,
    "the other learns": lambda: a @ b.detach(),
    "by name": lambda: F.linear(weight=leaf(7, 5), input=a),
    "by name, the second first": lambda: torch.mm(mat2=b, input=a),
    "half by name": lambda: torch.addmm(torch.zeros(6), mat2=b, mat1=a),
    "by NumPy's name": lambda: torch.matmul(x1=a, x2=b),
    "a convolution by name": lambda: F.conv2d(leaf(1, 2, 5, 5), stride=2, weight=leaf(3, 2, 3, 3)),
    "attention by name": lambda: F.scaled_dot_product_attention(value=value, key=key, query=query),
}


@pytest.mark.parametrize("name", PRODUCTS)
def test_every_way_to_write_a_product_is_counted(name):
    def work():
        PRODUCTS[name]().sum().backward()

    assert counted(work) == reference(work) > 0


@pytest.mark.parametrize("groups", [2, 4])
@pytest.mark.parametrize(
    "kind", [nn.Conv2d, nn.ConvTranspose2d], ids=["convolution", "transposed convolution"]
)
def test_a_grouped_convolution_costs_its_share_forward_and_for_each_gradient(groups, kind):
    # torch's counter takes the weights' gradient of g groups for g times what it is
    network, images = kind(4, 8, 3, groups=groups, padding=1), leaf(2, 4, 6, 6)
    forward = 2 * (2 * 6 * 6) * (4 * 8 // groups) * 9  # places × pairs of channels × filter

    assert counted(lambda: network(images.detach())) == forward
    assert counted(lambda: network(images).sum().backward()) == 3 * forward


def test_products_with_vectors_are_counted_though_torch_leaves_them_out():
    vector = leaf(5)

    assert counted(lambda: a @ vector) == 2 * 4 * 5
    assert counted(lambda: a.mv(vector).sum().backward()) == 3 * 2 * 4 * 5
    assert counted(lambda: (batch_a @ vector).sum().backward()) == 3 * 2 * 2 * 4 * 5


def test_element_wise_work_and_the_optimizer_are_free():
    weight = leaf(5, 5)
    optimizer = torch.optim.SGD([weight], lr=0.1, momentum=0.9)

    def work():
        (weight.sin() + weight).softmax(1).sum().backward()
        optimizer.step()

    assert counted(work) == 0


def network():
    torch.manual_seed(0)
    layers = (nn.Conv2d(3, 4, 3, padding=1, bias=False), nn.ReLU(), nn.Flatten())
    return nn.Sequential(*layers, nn.Linear(4 * 6 * 6, 5))


def images(n=8):
    pixels = torch.rand(n, 3, 6, 6, generator=torch.Generator().manual_seed(0))
    return Data.of(pixels, torch.arange(n) % 5)


CONVOLUTION, LINEAR = 2 * 36 * 3 * 4 * 9, 2 * 4 * 36 * 5
UNIT = CONVOLUTION + LINEAR


def test_the_unit_is_one_forward_of_one_image():
    with FlopCounter() as counter:
        predict(network(), images(20))
    predict(network(), images(20))  # no longer counted

    assert forward_flops(network(), images().images[:1]) == UNIT
    assert counter.flops == 20 * UNIT


def test_a_gradient_to_the_input_alone_costs_about_one_more_forward():
    model, pixels = network().requires_grad_(False), images().images.requires_grad_()

    def work():
        torch.autograd.grad(model(pixels).sum(), pixels)

    assert counted(work) == 2 * 8 * UNIT


def test_training_costs_three_forwards_but_for_the_first_layers_input():
    def work():
        train(network(), images(), Recipe(5, 0.1, batch=3), generator=torch.Generator())

    assert counted(work) == 5 * 8 * (3 * UNIT - CONVOLUTION)


def test_a_plugins_own_loop_is_counted_like_ours():
    model, data = network(), images()
    optimizer = torch.optim.Adam(model.parameters())

    def work():
        for rows in torch.arange(8).split(2):
            optimizer.zero_grad()
            F.cross_entropy(model(data.images[rows]), data.labels[rows]).backward()
            optimizer.step()

    assert counted(work) == 8 * (3 * UNIT - CONVOLUTION)


def test_each_backward_through_one_graph_is_counted():
    def work():
        loss = network()(images().images).sum()
        loss.backward(retain_graph=True)
        loss.backward()

    assert counted(work) == 8 * (UNIT + 2 * (2 * UNIT - CONVOLUTION))


def test_gradients_of_each_sample_by_torch_func_are_counted():
    model, data = network(), images()
    weights = {name: weight.detach() for name, weight in model.named_parameters()}

    def loss(weights, image, label):
        return F.cross_entropy(functional_call(model, weights, (image[None],)), label[None])

    def work():
        vmap(grad(loss), (None, 0, 0))(weights, data.images, data.labels)

    assert counted(work) == 8 * (3 * UNIT - CONVOLUTION)


def test_a_backward_through_a_stack_of_networks_is_counted():
    model, pixels = network(), images().images
    stacked, _ = stack_module_state([network() for _ in range(3)])

    def work():
        logits = vmap(lambda weights: functional_call(model, weights, (pixels,)))(stacked)
        logits.sum().backward()

    assert counted(work) == 3 * 8 * (3 * UNIT - CONVOLUTION)


@pytest.mark.parametrize("reentrant", [False, True])
def test_the_second_forward_of_a_checkpoint_is_counted(reentrant):
    model = nn.Sequential(nn.Linear(6, 6), nn.Tanh(), nn.Linear(6, 6), nn.Tanh())
    inputs = leaf(3, 6)

    def work():
        checkpoint(model, inputs, use_reentrant=reentrant).sum().backward()

    assert counted(work) == reference(work) == 2 * 2 * 3 * 6 * 6 * (1 + 1 + 2)


class Product(torch.autograd.Function):
    """A stranger's product with a backward of its own."""

    @staticmethod
    def forward(ctx, left, right):
        ctx.save_for_backward(left, right)
        return left @ right

    @staticmethod
    def backward(ctx, gradient):
        left, right = ctx.saved_tensors
        return gradient @ right.T, left.T @ gradient


@pytest.mark.parametrize(
    "by",
    [torch.Tensor.backward, torch.autograd.backward, lambda x: torch.autograd.grad(x, [a, b])],
)
def test_a_backward_that_a_plugin_wrote_itself_is_counted(by):
    assert counted(lambda: by(Product.apply(a, b).sum())) == 3 * 2 * 4 * 5 * 6


def test_the_counter_changes_no_number():
    def trained():
        order = torch.Generator().manual_seed(0)
        return train(network(), images(), Recipe(2, 0.1, batch=3), generator=order)

    plain = trained()
    with FlopCounter():
        watched = trained()

    for name, weight in plain.state_dict().items():
        assert torch.equal(watched.state_dict()[name], weight)


def test_weighing_a_model_leaves_its_modes_also_when_it_fails():
    model = nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.Dropout())
    model.train()[1].eval()

    forward_flops(model, torch.zeros(1, 3, 5, 5))
    with pytest.raises(RuntimeError, match="channels"):
        forward_flops(model, torch.zeros(1, 1, 5, 5))

    assert [module.training for module in model.modules()] == [True, True, False, True]
    assert model[1].num_batches_tracked == 0

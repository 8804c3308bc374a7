import copy

import pytest
import torch
from mmseg.registry import MODELS
from torch.testing import assert_close

from tests.toco_network import HEAD, build_parts, normalize


@pytest.mark.parametrize('name', ['64x64', '75x107', '80x144'])
def test_outputs_equal_the_reference(golden, name):
    data = golden(f'toco/forward_{name}')
    backbone, head = build_parts()
    maps = backbone(normalize(data['x_u8']))
    assert_close(head.image_logits(maps), data['cls'], rtol=0, atol=2e-5)
    assert_close(head.aux_image_logits(maps), data['cls_aux'], rtol=0, atol=2e-5)
    assert_close(head(maps), data['seg'], rtol=0, atol=2e-5)
    cam, aux_cam = head.cam_logits(maps).chunk(2, dim=1)
    assert_close(cam, data['cam'], rtol=0, atol=2e-5)
    assert_close(aux_cam, data['cam_aux'], rtol=0, atol=2e-5)


def test_large_fov_equals_the_reference(golden):
    data = golden('toco/largefov')
    head = MODELS.build(dict(type='ToCoHead', in_channels=(12, 12), channels=16, num_classes=5))
    with torch.no_grad():
        for own, name in ((head.conv6, 'conv6'), (head.conv7, 'conv7'), (head.conv_seg, 'conv8')):
            own.weight.copy_(data[name])
    x = data['x'].requires_grad_()
    out = head((None, x))
    (out * data['cotangent']).sum().backward()
    assert_close(out, data['out'], rtol=0, atol=1e-6)
    assert_close(x.grad, data['grad_x'], rtol=0, atol=1e-6)
    assert_close(head.conv6.weight.grad, data['grad_conv6'], rtol=0, atol=1e-5)


def test_projected_tokens_and_the_average_equal_the_reference(golden):
    data = golden('toco/forward_proj')
    backbone, head = build_parts()
    student = {k.removeprefix('student/').replace('weight_v', 'weight'): v for k, v in data.items() if 'student/' in k}
    magnitude = student.pop('last_layer.weight_g')
    assert (magnitude == 1).all()
    head.projector.load_state_dict(student)
    views = [backbone.forward_with_tokens(normalize(x)).class_token for x in (*data['global_u8'], *data['local_u8'])]
    tokens = torch.cat(views)  # view by view
    for update in (1, 2):
        head.update_average()
        averaged = head.averaged_projector(tokens[:4])
        assert_close(averaged, data[f'out_t_{update}'], rtol=0, atol=2e-5)
        assert_close(head.projector(tokens), data[f'out_s_{update}'], rtol=0, atol=2e-5)
        state = head.averaged_projector.state_dict()
        for name in ('mlp.0.bias', 'mlp.4.weight', 'last_layer.weight_v'):
            own = state[name.replace('weight_v', 'weight')]
            assert_close(own, data[f'teacher_{update}/{name}'], rtol=0, atol=1e-6)
    (head.projector(tokens) * data['cotangent']).sum().backward()
    gradients = {
        'proj_head.last_layer.weight_v': head.projector.last_layer.weight,
        'proj_head.mlp.0.weight': head.projector.mlp[0].weight,
        'encoder.cls_token': backbone.cls_token,
        'encoder.norm.weight': backbone.norm1.weight,
    }
    for name, parameter in gradients.items():
        assert_close(parameter.grad, data[f'grad/{name}'], rtol=1e-5, atol=1e-5)
    assert all(parameter.grad is None for parameter in head.averaged_projector.parameters())


def test_zero_losses_reach_the_parameters_of_their_losses_only():
    head = MODELS.build(HEAD)
    losses = head.zero_losses('loss_seg', 'loss_energy', 'loss_ctc', 'loss_ptc')
    assert list(losses) == ['loss_seg', 'loss_ctc', 'loss_ptc']
    losses['loss_seg'].backward()
    losses['loss_ctc'].backward()
    reached = {name.split('.')[0] for name, parameter in head.named_parameters() if parameter.grad is not None}
    assert reached == {'conv6', 'conv7', 'conv_seg', 'projector'}
    assert losses['loss_ptc'] == 0


@pytest.mark.parametrize(('loss', 'part'), [('loss_aux', 'aux_classifier'), ('loss_ctc', 'projector')])
def test_a_loss_left_out_leaves_its_layers_out(loss, part):
    head = MODELS.build({**HEAD, loss: None})
    assert not any(part in name for name, _ in head.named_parameters())
    channels = 20 if loss == 'loss_aux' else 40
    assert head.cam_logits((torch.rand(1, 64, 4, 4),) * 2).shape == (1, channels, 4, 4)


def test_momentum_is_checked():
    with pytest.raises(ValueError, match='momentum=1.5'):
        MODELS.build({**copy.deepcopy(HEAD), 'momentum': 1.5})

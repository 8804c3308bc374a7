"""ToCo through inference, video, export, panels, the hook, the page, ONNX, mixed precision and the stop at NaN."""

import pytest
import torch
from mmengine.runner import Runner
from torch.testing import assert_close

from afa_mmseg.apis import export_onnx, run_onnx
from afa_mmseg.engine.options import enable_amp
from tests.any_method import AnyMethod
from tests.engine.test_finite import Sabotage
from tests.toco_network import shapes_config


class TestToCo(AnyMethod):
    config, has_attention = staticmethod(shapes_config), True

    @pytest.fixture
    def runner(self, files, tmp_path):
        """Build a Runner that starts from the checkpoint and keeps none."""

        def build(change=lambda config: None):
            config, checkpoint = files
            config = config.copy()
            config.work_dir, config.load_from = str(tmp_path), str(checkpoint)
            config.visualizer.name = config.experiment_name = str(tmp_path.name)
            config.default_hooks.checkpoint = None
            change(config)
            return Runner.from_cfg(config)

        return build

    def test_training_draws_panels_and_validates(self, runner, tmp_path):
        figures = runner().val()
        assert {'mIoU', 'cam/mIoU', 'aux_cam/mIoU', 'cls/f1'} <= figures.keys()
        (image,) = tmp_path.rglob('vis_image/*.png')
        assert image.name == 'val_val_000000_0.png'

    def test_mixed_precision_and_accumulation_train_to_the_end(self, runner):
        def change(config):
            config.custom_hooks = []
            config.optim_wrapper.accumulative_counts = 2
            enable_amp(config)

        run = runner(change)
        before = {name: value.clone() for name, value in run.model.state_dict().items()}
        run.train()
        after = run.model.state_dict()
        assert run.iter == 6
        assert all(value.dtype == before[name].dtype and value.isfinite().all() for name, value in after.items())
        for name in ('conv6.weight', 'aux_classifier.weight', 'averaged_projector.last_layer.weight'):
            assert not torch.equal(after[f'decode_head.{name}'], before[f'decode_head.{name}'])

    def test_a_loss_that_is_not_finite_stops_training(self, runner):
        def change(config):
            config.custom_hooks = [dict(type=Sabotage.__name__, what='classifier', at=4)]

        with pytest.raises(FloatingPointError, match=r'iteration 5[\s\S]*loss'):
            runner(change).train()

    @pytest.mark.slow
    @pytest.mark.parametrize('size', [(2, 3, 64, 64), (1, 3, 75, 110)])
    def test_onnx_computes_what_prediction_computes(self, inferencer, tmp_path, size):
        model = inferencer.model
        export_onnx(model, tmp_path / 'model.onnx')
        image = torch.rand(size, generator=torch.Generator().manual_seed(1)) * 255
        normalised = (image - model.data_preprocessor.mean) / model.data_preprocessor.std
        with torch.no_grad():
            expected = model.encode_decode(normalised, [dict(img_shape=size[2:])] * size[0])
        assert_close(torch.from_numpy(run_onnx(tmp_path / 'model.onnx', image.numpy())), expected, rtol=0, atol=1e-4)

"""Prediction beside that of a plain mmseg SegFormer of the same size, and through onnxruntime."""

from pathlib import Path
from tempfile import TemporaryDirectory

import torch
from _bench import Bench, make_parser, parse_args
from _inputs import ROOT, build_segmentor, make_scene
from mmengine.config import Config, ConfigDict
from mmengine.model import revert_sync_batchnorm
from mmseg.registry import MODELS
from mmseg.structures import SegDataSample
from torch import nn

from afa_mmseg.apis import export_onnx
from afa_mmseg.apis.onnx import open_onnx


def build_plain(config_file: str, device: torch.device) -> nn.Module:
    """Build mmseg's own SegFormer with the widths, depths and strides of a config's network."""
    model = Config.fromfile(ROOT / config_file).model
    ours = MODELS.build(dict(model.backbone, init_cfg=None))
    backbone = dict(
        type='MixVisionTransformer',
        embed_dims=ours.embed_dims,
        num_heads=ours.num_heads,
        num_layers=ours.num_layers,
        strides=ours.strides,
        sr_ratios=ours.sr_ratios,
    )
    settings = ('in_channels', 'channels', 'num_classes', 'dropout_ratio', 'norm_cfg')
    head = dict(type='SegformerHead', in_index=[0, 1, 2, 3], **{name: model.decode_head[name] for name in settings})
    segmentor = dict(
        type='EncoderDecoder',
        backbone=backbone,
        decode_head=head,
        data_preprocessor=model.data_preprocessor,
        train_cfg=ConfigDict(),
        test_cfg=ConfigDict(mode='whole'),
    )
    return revert_sync_batchnorm(MODELS.build(segmentor)).to(device)


def main() -> None:
    """Time `predict` of both, and the exported file where its packages are installed."""
    parser = make_parser(__doc__, repeats=15)
    parser.add_argument('--config', default='configs/afa/afa_mit-b1_voc.py', help='of the segmentor')
    parser.add_argument('--size', type=int, default=512, help='side of the image in pixels')
    parser.add_argument('--onnx', action='store_true', help='also export the network and run it through onnxruntime')
    args = parse_args(parser)
    model = build_segmentor(args.config, args.device).eval()
    plain = build_plain(args.config, args.device).eval()
    image = make_scene(1, (args.size, args.size))[0].to(args.device)
    inputs = (image - model.data_preprocessor.mean) / model.data_preprocessor.std
    meta = dict(ori_shape=(args.size, args.size), img_shape=(args.size, args.size))

    @torch.no_grad()
    def predict(segmentor: nn.Module) -> object:
        return segmentor.predict(inputs, [SegDataSample(metainfo=meta)])

    bench = Bench(f'Prediction of one image of {args.size} x {args.size}', args)
    cases = {'ours': lambda: predict(model), "mmseg's SegFormer": lambda: predict(plain)}
    with TemporaryDirectory() as folder:
        if args.onnx:
            file = Path(folder) / 'model.onnx'
            export_onnx(model, file)
            session, image = open_onnx(file), image.cpu().numpy()
            cases['onnxruntime'] = lambda: session.run(None, dict(image=image))
        bench.compare(f'{args.size} x {args.size}', cases, baseline="mmseg's SegFormer")
    if not bench.is_child:
        for row in bench.results:
            bench.fact(f'{row["name"]}, images/s', 1 / row['median'])
    bench.finish()


if __name__ == '__main__':
    main()

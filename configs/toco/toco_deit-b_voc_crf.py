_base_ = './toco_deit-b_voc.py'

# Predictions through a CRF with the published settings; for tools/test.py.
model = dict(
    test_cfg=dict(
        crf=dict(
            num_iters=10,
            gaussian_sxy=1.0,
            gaussian_weight=1.0,
            bilateral_sxy=121.0,
            bilateral_srgb=5.0,
            bilateral_weight=4.0,
        )
    )
)

# Three views of each image for ToCo (Ru et al., CVPR 2023), beside a data set of image-level labels. The input is
# view 1: CAMs, labels and losses are its own. Local crops are cut from view 3.
mirror = dict(type='RandomFlip', prob=0.5)
jitter = dict(
    type='RandomApply',
    prob=0.8,
    transforms=[
        dict(
            type='mmpretrain.ColorJitter',
            brightness=0.4,
            contrast=0.4,
            saturation=0.2,
            hue=0.1,
            backend='cv2',
        )
    ],
)
grey = dict(type='RandomGrayscale', prob=0.2, keep_channels=True, channel_weights=(0.114, 0.587, 0.299))
blur = dict(type='mmpretrain.GaussianBlur', magnitude_range=(0.1, 2.0), magnitude_std='inf')

three_view_pipeline = [
    dict(type='LoadImage'),
    dict(
        type='AddView',
        key='view2',
        transforms=[
            dict(
                type='mmpretrain.RandomResizedCrop',
                scale=448,
                crop_ratio_range=(0.4, 1.0),
                interpolation='bicubic',
                backend='pillow',
            ),
            mirror,
            jitter,
            grey,
            dict(**blur, prob=0.1),
            dict(type='mmpretrain.Solarize', thr=128, prob=0.2),
        ],
    ),
    dict(type='RandomScale', ratio_range=(0.5, 2.0)),
    dict(type='RandomFlip', prob=0.5),
    dict(type='RandomCropWithBox', crop_size=448),
    # As published, views 1 and 3 are mirrored once more, each by itself: the box stays where it was, and local crops
    # are chosen on the CAM of an image that is mirrored half of the time. Without these two: configs/toco/*_aligned.py
    dict(type='AddView', key='view3', transforms=[mirror, jitter, grey, dict(**blur, prob=0.5)]),
    mirror,
    jitter,
    grey,
    dict(**blur, prob=1.0),
    dict(type='PackViews', views=('view2', 'view3')),
]

_base_ = './afa_mit-b1_voc.py'

# Ablation: CAMs from the image as it is, without scales.
model = dict(pseudo_labeler=dict(cam_scales=(1.0,)))

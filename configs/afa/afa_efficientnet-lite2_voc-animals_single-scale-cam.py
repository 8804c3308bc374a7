_base_ = './afa_efficientnet-lite2_voc-animals.py'

# Ablation: CAMs from the image as it is, without scales.
model = dict(pseudo_labeler=dict(cam_scales=(1.0,)))
